"""OPTICS against scikit-learn, which is slow and right."""

import os
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geoindex import geo
from geoindex.errors import ConfigError, CoordinateError
from geoindex.geocells import optics as optics_module
from geoindex.geocells.optics import Ground, Ordering, optics, xi_labels
from geoindex.geocells.positions import checked_positions

SHARED = Path(os.environ.get("GEOINDEX_SHARED", Path(__file__).parents[2].parent / "shared"))
REAL_POSITIONS = ("streetview_positions_166k.csv", "geoclip_coordinates_100K.csv")


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

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "All reachability values are inf")
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


def check_same(ours: Ordering, theirs: Ordering) -> None:
    np.testing.assert_array_equal(ours.ordering, theirs.ordering)
    np.testing.assert_array_equal(ours.predecessor, theirs.predecessor)
    np.testing.assert_allclose(ours.reachability_km, theirs.reachability_km, rtol=0, atol=1e-9)
    np.testing.assert_allclose(ours.core_distance_km, theirs.core_distance_km, rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("min_samples", [2, 5, 20])
def test_walk_is_that_of_scikit_learn(name, min_samples):
    lat, lon = checked_positions(*SETS[name])
    check_same(optics(lat, lon, min_samples), oracle(lat, lon, min_samples))


def steps(most: int, step: float) -> st.SearchStrategy[float]:
    return st.integers(-most, most).map(lambda n: step * n)


HOSTILE = {
    "a small grid": st.tuples(steps(3, 1.0), steps(3, 1.0)),
    "a grid across the antimeridian": st.tuples(
        steps(3, 1.0), steps(3, 1.0).map(lambda n: float(geo.wrap_lon(180 + n)))
    ),
    "around the poles": st.tuples(st.sampled_from([90.0, 89.5, -90.0, -89.5]), steps(6, 30.0)),
    "eighths of the globe": st.tuples(steps(2, 45.0), steps(4, 45.0)),
    "two far towns": st.tuples(st.sampled_from([48.8, 48.9, -33.9]), st.sampled_from([2.3, 2.4, 151.2])),
    "two places": st.sampled_from([(10.0, 20.0), (10.0, 21.0)]),
    "one place": st.just((-17.0, 180.0)),
    "a hand apart": st.tuples(steps(3, 1e-7), steps(3, 1e-7)),
    "anywhere": st.tuples(st.floats(-90, 90), st.floats(-180, 180)),
}


@pytest.mark.parametrize("name", HOSTILE)
@settings(max_examples=25, deadline=None)
@given(st.data())
def test_walk_over_hostile_positions_is_that_of_scikit_learn(name, data):
    rows = data.draw(st.lists(HOSTILE[name], min_size=2, max_size=40))
    min_samples = data.draw(st.integers(2, len(rows)))
    # no limit, or one that is no distance between two of them
    max_eps_km = data.draw(st.just(np.inf) | st.floats(0.001, 20_000).map(lambda km: km * 1.000123456))
    lat, lon = checked_positions(*np.array(rows).T)
    ours, theirs = optics(lat, lon, min_samples, max_eps_km), oracle(lat, lon, min_samples, max_eps_km)
    check_same(ours, theirs)
    assert ours.ordering.dtype == ours.predecessor.dtype == np.int64


@pytest.mark.parametrize("min_samples", [100, 400, 599, 600])
def test_walk_with_many_neighbours_is_that_of_scikit_learn(min_samples):
    lat, lon = (np.append(axis, axis[:100]) for axis in towns(6, 500))
    check_same(optics(lat, lon, min_samples), oracle(lat, lon, min_samples))


@pytest.mark.parametrize("copies", [1, 2])
def test_a_long_walk_with_many_neighbours_is_a_walk(copies):
    lat, lon = (np.tile(axis, copies) for axis in towns(7, 4000))
    found = optics(lat, lon, 300)
    count = len(lat)
    assert sorted(found.ordering) == list(range(count))
    some = np.random.default_rng(0).choice(count, 50, replace=False)
    km = np.sort(geo.chord_to_km(np.linalg.norm(geo.to_unit(lat, lon)[some, None] - geo.to_unit(lat, lon), axis=2)))
    np.testing.assert_allclose(found.core_distance_km[some], km[:, 299], rtol=1e-9, atol=1e-6)
    turn = np.empty(count, np.int64)
    turn[found.ordering] = np.arange(count)
    reached = np.flatnonzero(found.predecessor >= 0)
    assert set(range(count)) - set(reached) == {0}
    source = found.predecessor[reached]
    assert (turn[source] < turn[reached]).all()
    apart = geo.haversine_km(lat[source], lon[source], lat[reached], lon[reached])
    wanted = np.maximum(found.core_distance_km[source], apart)
    np.testing.assert_allclose(found.reachability_km[reached], wanted, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", ["towns", "duplicates", "grid of ties"])
def test_ground_serves_several_sizes_as_if_alone(name):
    lat, lon = checked_positions(*SETS[name])
    sizes = (20, 2, 5, 1000)
    ground = Ground(lat, lon, sizes)
    for max_eps_km in (np.inf, 150.0):
        for size in (*sizes, 5, 20):  # and a walk leaves it as it was
            together, alone = ground.walk(size, max_eps_km), optics(lat, lon, size, max_eps_km)
            assert together.min_samples == size
            for part in ("ordering", "predecessor", "reachability_km", "core_distance_km"):
                np.testing.assert_array_equal(getattr(together, part), getattr(alone, part))


@pytest.mark.parametrize("name", SETS)
def test_threads_change_no_bit_of_a_walk(name, monkeypatch):
    lat, lon = checked_positions(*SETS[name])
    alone = optics(lat, lon, 5)
    monkeypatch.setattr(optics_module, "THREADS_FROM", 1)
    again = optics(lat, lon, 5)
    for part in ("ordering", "predecessor", "reachability_km", "core_distance_km"):
        np.testing.assert_array_equal(getattr(again, part), getattr(alone, part))


def dbscan_labels(ordering, eps_km):
    """Cut an ordering at one distance: the clusters of DBSCAN at that radius, up to border positions."""
    from sklearn.cluster import cluster_optics_dbscan

    return cluster_optics_dbscan(
        reachability=ordering.reachability_km,
        core_distances=ordering.core_distance_km,
        ordering=ordering.ordering,
        eps=eps_km,
    )


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("eps_km", [3.3, 77.7, 333.3])
def test_a_cut_at_one_distance_is_dbscan_for_core_positions(name, eps_km):
    from sklearn.cluster import DBSCAN

    lat, lon = checked_positions(*SETS[name])
    theirs = DBSCAN(eps=float(geo.km_to_chord(eps_km)), min_samples=5).fit(geo.to_unit(lat, lon))
    for max_eps_km in (np.inf, 2.0 * eps_km):
        ours = dbscan_labels(optics(lat, lon, 5, max_eps_km), eps_km)
        core = theirs.core_sample_indices_
        pairs = set(zip(ours[core].tolist(), theirs.labels_[core].tolist(), strict=True))
        assert len(pairs) == len(set(ours[core].tolist())) == len(set(theirs.labels_[core].tolist()))
        assert -1 not in ours[core]
        assert (ours[theirs.labels_ == -1] == -1).all()
        border = np.setdiff1d(np.flatnonzero(ours >= 0), core)
        same = dict(pairs)
        off = geo.haversine_km(lat[border, None], lon[border, None], lat[core], lon[core])
        for row, distances in zip(border, off, strict=True):  # a border position is near a core one of its cluster
            assert same[ours[row]] in theirs.labels_[core[distances <= eps_km + 1e-6]]


@pytest.mark.slow
@pytest.mark.parametrize("table", REAL_POSITIONS)
@pytest.mark.parametrize(("min_samples", "max_eps_km"), [(5, np.inf), (20, np.inf), (10, 40.0)])
def test_walk_over_real_positions_is_that_of_scikit_learn(table, min_samples, max_eps_km):
    path = SHARED / "data/tables" / table
    if not path.exists():
        pytest.skip(f"{table} is absent (set GEOINDEX_SHARED)")
    every = np.loadtxt(path, delimiter=",", skiprows=1)
    rows = np.sort(np.random.default_rng(min_samples).choice(len(every), 5000, replace=False))
    lat, lon = checked_positions(*every[rows].T)
    check_same(optics(lat, lon, min_samples, max_eps_km), oracle(lat, lon, min_samples, max_eps_km))


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
