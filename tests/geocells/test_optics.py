"""OPTICS against scikit-learn, which is slow and right."""

import numpy as np
import pytest

from geoindex import geo
from geoindex.errors import ConfigError, CoordinateError
from geoindex.geocells.optics import Ordering, optics, xi_labels


def towns(seed: int, count: int = 300) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(8, 3))
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    spread = 10.0 ** rng.uniform(-4, -1, size=(count, 1))
    return geo.from_unit(centres[rng.integers(0, 8, count)] + spread * rng.normal(size=(count, 3)))


def around(lat: float, lon: float, seed: int = 0, count: int = 200) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return geo.from_unit(geo.to_unit(lat, lon) + 0.01 * rng.normal(size=(count, 3)))


def grid() -> tuple[np.ndarray, np.ndarray]:
    lat, lon = np.meshgrid(np.arange(-6.0, 7.0), np.arange(170.0, 182.0))
    return lat.ravel(), geo.wrap_lon(lon.ravel())


SETS = {
    "towns": towns(1),
    "more towns": towns(2),
    "uniform": geo.from_unit(np.random.default_rng(3).normal(size=(250, 3))),
    "duplicates": tuple(np.repeat(axis, 3) for axis in towns(4, 80)),
    "rounded": tuple(axis.round(1) for axis in around(50.0, 10.0)),
    "antimeridian": around(-17.0, 180.0),
    "north pole": around(90.0, 0.0),
    "south pole": around(-90.0, 0.0),
    "grid of ties": grid(),
}


def oracle(lat: np.ndarray, lon: np.ndarray, min_samples: int, max_eps_km: float = np.inf) -> Ordering:
    from sklearn.cluster import compute_optics_graph

    ordering, core, reach, predecessor = compute_optics_graph(
        geo.to_unit(lat, lon),
        min_samples=min_samples,
        max_eps=np.inf if np.isinf(max_eps_km) else float(geo.km_to_chord(max_eps_km)),
        metric="minkowski",
        p=2,
        metric_params=None,
        algorithm="kd_tree",
        leaf_size=30,
        n_jobs=None,
    )
    km = [np.where(np.isinf(chords), np.inf, geo.chord_to_km(chords)) for chords in (reach, core)]
    return Ordering(ordering, km[0], km[1], predecessor, min_samples)


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("min_samples", [2, 5, 20])
def test_walk_is_that_of_scikit_learn(name, min_samples):
    lat, lon = SETS[name]
    lat, lon = lat, np.where(np.abs(lat) == 90.0, 0.0, lon)
    ours, theirs = optics(lat, lon, min_samples), oracle(lat, lon, min_samples)
    np.testing.assert_array_equal(ours.ordering, theirs.ordering)
    np.testing.assert_array_equal(ours.predecessor, theirs.predecessor)
    np.testing.assert_allclose(ours.reachability_km, theirs.reachability_km, rtol=0, atol=1e-9)
    np.testing.assert_allclose(ours.core_distance_km, theirs.core_distance_km, rtol=0, atol=1e-9)


@pytest.mark.parametrize("max_eps_km", [20.0, 300.0])
def test_limit_on_distance_is_that_of_scikit_learn(max_eps_km):
    lat, lon = SETS["towns"]
    ours, theirs = optics(lat, lon, 5, max_eps_km), oracle(lat, lon, 5, max_eps_km)
    assert np.isinf(ours.reachability_km).sum() > 1
    np.testing.assert_array_equal(ours.ordering, theirs.ordering)
    np.testing.assert_array_equal(ours.predecessor, theirs.predecessor)
    np.testing.assert_allclose(ours.reachability_km, theirs.reachability_km, rtol=0, atol=1e-9)


def test_labels_find_two_towns():
    towns = around(48.9, 2.3, count=40), around(-33.9, 151.2, count=40)
    labels = xi_labels(optics(*np.concatenate(towns, axis=1), 10), 0.2, 20)
    first, second = labels[:40], labels[40:]
    assert set(first) <= {0, -1}
    assert set(second) <= {1, -1}
    assert min(np.mean(first == 0), np.mean(second == 1)) > 0.5


def test_labels_are_those_of_scikit_learn_on_distances_in_km():
    from sklearn.cluster import OPTICS

    lat, lon = SETS["more towns"]
    km = geo.chord_to_km(np.linalg.norm(geo.to_unit(lat, lon)[:, None] - geo.to_unit(lat, lon)[None], axis=2))
    theirs = OPTICS(min_samples=8, xi=0.1, metric="precomputed").fit(km).labels_
    np.testing.assert_array_equal(xi_labels(optics(lat, lon, 8), 0.1, 8), theirs)


def test_equal_positions_make_no_warning_and_are_reached_at_zero():
    found = optics(np.full(50, 10.0), np.full(50, 20.0), 5)
    assert found.ordering.tolist() == list(range(50))
    assert (found.reachability_km[1:] == 0).all()
    assert set(xi_labels(found, 0.05, 5)) <= {0, -1}


def test_writings_of_one_place_are_one_place():
    found = optics([90.0, 90.0, 90.0], [0.0, 77.0, -180.0], 2)
    assert (found.core_distance_km == 0).all()
    assert (optics([1.0, 1.0], [180.0, -180.0], 2).core_distance_km == 0).all()


@pytest.mark.parametrize("count", [0, 1, 2, 4])
def test_fewer_positions_than_neighbours_are_all_outliers(count):
    found = optics(np.arange(count, dtype=float), np.zeros(count), 5)
    assert found.ordering.tolist() == list(range(count))
    assert np.isinf(found.core_distance_km).all()
    assert np.isinf(found.reachability_km).all()
    assert (xi_labels(found, 0.05, 5) == -1).all()
    assert len(xi_labels(found, 0.05, 5)) == count


def test_two_positions_reach_each_other():
    found = optics([0, 0], [0, 1], 2)  # integers too
    assert found.reachability_km[1] == pytest.approx(geo.haversine_km(0, 0, 0, 1))


@pytest.mark.parametrize(("lat", "lon"), [(91.0, 0.0), (np.nan, 0.0), (0.0, 540.0)])
def test_positions_off_the_earth_are_refused(lat, lon):
    with pytest.raises(CoordinateError):
        optics([1.0, lat], [1.0, lon], 2)


def test_lengths_must_agree():
    with pytest.raises(CoordinateError, match="one length"):
        optics([1.0, 2.0], [1.0], 2)


@pytest.mark.parametrize(("min_samples", "max_eps_km"), [(1, 10.0), (2, 0.0), (2, np.nan)])
def test_settings_without_meaning_are_refused(min_samples, max_eps_km):
    with pytest.raises(ConfigError):
        optics([1.0, 2.0], [1.0, 2.0], min_samples, max_eps_km)
