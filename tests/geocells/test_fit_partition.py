"""What every method promises, through `fit_partition`."""

import json
import sys
from importlib.util import find_spec

import numba
import numpy as np
import pytest
from earths import EVERYWHERE, columns, labelled, lattice, some_labels, towns, uniform
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

from geoindex import geo
from geoindex.errors import ConfigError, CoordinateError, EmptyDatasetError, MissingExtraError
from geoindex.geocells import optics, positions, selection
from geoindex.geocells.fitting import apportion, fit_partition, read_partition
from geoindex.geocells.partition import BorderedPartition
from geoindex.geocells.positions import checked_positions, distinct_positions
from geoindex.recipe import GeocellRecipe


def param(method):
    library = {"hdbscan": "fast_hdbscan", "grid": "h3"}.get(method, "numpy")
    return pytest.param(method, marks=pytest.mark.skipif(find_spec(library) is None, reason=f"{library} is missing"))


every_method = pytest.mark.parametrize(
    "method", [param(name) for name in ("optics", "hdbscan", "quadtree", "balanced", "grid")]
)
every_exact_method = pytest.mark.parametrize("method", [param(name) for name in ("optics", "hdbscan", "balanced")])
with_and_without_borders = pytest.mark.parametrize("within", ["", "country"])


def recipe(method, within="", **keys):
    return GeocellRecipe(**{"method": method, "within": within, "min_samples": (2, 5), "xi": (0.05,)} | keys)


def fit(method, within, lat, lon, labels, seed=0, **keys):
    return fit_partition(lat, lon, recipe(method, within, **keys), seed, labels if within else None)


def check_whole(partition, lat, lon, labels):
    """See that cells cover the Earth, that each holds a position, and that JSON brings all of it back."""
    cell = partition.assign(lat, lon, labels)
    assert cell.dtype == np.int64
    assert set(cell) == set(range(len(partition)))
    assert np.isfinite(partition.site_lat).all()
    assert np.isfinite(partition.site_lon).all()
    assert len(partition.site_lat) == len(partition.site_lon) == len(partition)
    anywhere = partition.assign(*EVERYWHERE)
    assert anywhere.shape == EVERYWHERE[0].shape
    assert 0 <= anywhere.min() <= anywhere.max() < len(partition)
    again = read_partition(json.loads(json.dumps(partition.to_dict(), allow_nan=False)))
    assert again.to_dict() == partition.to_dict()
    np.testing.assert_array_equal(again.assign(*EVERYWHERE), anywhere)
    np.testing.assert_array_equal(again.assign(lat, lon, labels), cell)
    np.testing.assert_array_equal(again.site_lat, partition.site_lat)
    np.testing.assert_array_equal(again.site_lon, partition.site_lon)
    assert len(again) == len(partition)
    assert again.method == partition.method


@every_method
@with_and_without_borders
@settings(max_examples=12, deadline=None)
@given(rows=st.lists(labelled, min_size=1, max_size=30), low=st.integers(1, 6), more=st.integers(0, 6))
def test_any_positions_give_a_whole_partition(method, within, rows, low, more):
    rows = [*rows, (1.0, 2.0, "A")]  # somebody has a label
    lat, lon = columns(rows)
    labels = [row[2] for row in rows]
    fitted = fit(method, within, lat, lon, labels, min_cells=low, max_cells=low + more)
    check_whole(fitted.partition, lat, lon, labels)
    assert fitted.chosen["n_cells"] == len(fitted.partition)
    assert np.isfinite(fitted.chosen["error_floor_km"])
    json.dumps([fitted.chosen, fitted.scores], allow_nan=False)
    occupied = fitted.occupied_by(lat[::2], lon[::2], labels[::2])
    check_whole(occupied.partition, lat[::2], lon[::2], labels[::2])
    assert occupied.chosen["n_cells"] == len(occupied.partition)


@every_method
@with_and_without_borders
def test_many_positions_give_a_whole_partition(method, within):
    lat, lon = towns(600)
    labels = some_labels(600)
    check_whole(fit(method, within, lat, lon, labels).partition, lat, lon, labels)


@every_method
@with_and_without_borders
def test_cells_that_are_kept_are_renumbered_and_lose_nobody(method, within):
    lat, lon = towns(600)
    lat, lon = np.append(lat, EVERYWHERE[0]), np.append(lon, EVERYWHERE[1])
    labels = some_labels(len(lat))
    partition = fit(method, within, *towns(600), labels[:600]).partition
    kept = np.flatnonzero(np.random.default_rng(1).random(len(partition)) < 0.5)
    fewer = partition.keep(kept)
    assert len(fewer) == len(kept) > 3
    np.testing.assert_array_equal(fewer.site_lat, partition.site_lat[kept])
    np.testing.assert_array_equal(fewer.site_lon, partition.site_lon[kept])
    before, after = partition.assign(lat, lon, labels), fewer.assign(lat, lon, labels)
    stays = np.isin(before, kept)
    assert stays.any()
    assert not stays.all()
    np.testing.assert_array_equal(kept[after[stays]], before[stays])
    assert fewer.method == partition.method == method


@pytest.mark.parametrize("method", [param("quadtree"), param("grid")])
def test_land_of_leaves_that_are_no_cells_belongs_to_the_nearest_site(method):
    lat, lon = towns(600)
    partition = fit(method, "", lat, lon, None).partition
    partition = partition.keep(np.arange(0, len(partition), 2))
    elsewhere = uniform(1000)
    leaf = partition.rule.leaf_of(*elsewhere)
    km = geo.haversine_km(*(axis[:, None] for axis in elsewhere), partition.site_lat, partition.site_lon)
    own = np.isin(leaf, partition.leaves)
    assert 0 < own.sum() < 1000
    wanted = np.where(own, np.searchsorted(partition.leaves, leaf), km.argmin(axis=1))
    np.testing.assert_array_equal(partition.assign(*elsewhere), wanted)


@every_method
@with_and_without_borders
def test_a_gallery_elsewhere_occupies_every_cell_that_is_left(method, within):
    lat, lon = towns(600)
    labels = some_labels(600)
    fitted = fit(method, within, lat, lon, labels)
    gallery, own = towns(8, seed=5), some_labels(8, seed=5)
    occupied = fitted.occupied_by(*gallery, own)
    check_whole(occupied.partition, *gallery, own)
    assert len(occupied.partition) == occupied.chosen["n_cells"] < len(fitted.partition)
    before, after = fitted.partition.assign(*gallery, own), occupied.partition.assign(*gallery, own)
    np.testing.assert_array_equal(occupied.partition.site_lat[after], fitted.partition.site_lat[before])
    with pytest.raises(EmptyDatasetError):
        fitted.occupied_by([], [], [])


@every_exact_method
@pytest.mark.parametrize("count", [1, 2, 7, 60, 199, 200, 500])
def test_a_number_of_cells_is_met_exactly(method, count):
    lat, lon = towns(200)
    fitted = fit_partition(lat, lon, recipe(method, n_cells=count), 0)
    assert len(fitted.partition) == min(count, 200)
    assert (fitted.chosen["min_cells"], fitted.chosen["max_cells"]) == (min(count, 200),) * 2


@every_exact_method
@settings(max_examples=15, deadline=None)
@given(rows=st.lists(labelled, min_size=1, max_size=30), count=st.integers(1, 30))
def test_a_number_of_cells_is_met_as_far_as_there_are_places(method, rows, count):
    lat, lon = checked_positions(*columns(rows))
    apart = len(np.unique(geo.to_unit(lat, lon).round(9), axis=0))
    if apart == len(distinct_positions(lat, lon)):
        assert len(fit_partition(lat, lon, recipe(method, n_cells=count), 0).partition) == min(count, apart)


@pytest.mark.parametrize("method", [param("quadtree"), param("grid")])
@pytest.mark.parametrize("count", [1, 2, 7, 60, 300])
def test_a_number_of_cells_is_never_exceeded(method, count):
    lat, lon = towns(300)
    lat, lon = lat / 9.0, lon / 18.0  # where even the coarsest hexagons are few
    if method == "grid" and count < 7:
        lat, lon = lat / 40.0 + 60.0, lon / 40.0 + 20.0
    assert len(fit_partition(lat, lon, recipe(method, n_cells=count), 0).partition) <= count


def test_a_quadtree_reaches_the_range_by_a_leap():
    # one cut makes four cells of one: the middle of the range, three, is out of reach
    lat, lon = lattice(2, 2)
    fitted = fit_partition(lat, lon, recipe("quadtree", min_cells=2, max_cells=5), 0)
    assert len(fitted.partition) == 4
    assert len(fit_partition(lat, lon, recipe("quadtree", min_cells=2, max_cells=3), 0).partition) == 1


def test_a_quadtree_splits_above_what_is_asked():
    lat, lon = towns(400)
    fitted = fit_partition(lat, lon, recipe("quadtree", split_above=25, max_depth=20), 0)
    size = np.bincount(fitted.partition.assign(lat, lon))
    assert size.max() <= 25
    assert len(size) > 400 / 25


@every_method
@with_and_without_borders
def test_the_same_seed_gives_the_same_cells(method, within):
    lat, lon = towns(300)
    labels = some_labels(300)
    first, again = (fit(method, within, lat, lon, labels, seed=3, max_positions=200) for _ in range(2))
    assert first.to_dict() == again.to_dict()
    assert first.partition.to_dict() == again.partition.to_dict()


@every_method
@with_and_without_borders
def test_threads_change_no_bit(method, within, monkeypatch):
    lat, lon = towns(700)
    labels = some_labels(700)

    def fitted(threads):
        monkeypatch.setattr("joblib.cpu_count", lambda: threads)
        for module, name in ((selection, "THREADS_FROM"), (positions, "THREADS_FROM"), (optics, "THREADS_FROM")):
            monkeypatch.setattr(module, name, 1 if threads > 1 else 10**9)
        before = numba.get_num_threads()
        numba.set_num_threads(min(threads, before))
        try:
            with threadpool_limits(threads):
                found = fit(method, within, lat, lon, labels)
                return found.to_dict(), found.partition.to_dict(), found.partition.assign(*EVERYWHERE).tolist()
        finally:
            numba.set_num_threads(before)

    assert fitted(1) == fitted(2)


class TestBorders:
    """Cells within the borders of a label."""

    def test_every_label_has_cells_of_its_own(self):
        lat, lon = towns(300)
        labels = some_labels(300)
        partition = fit("balanced", "country", lat, lon, labels, n_cells=12).partition
        assert isinstance(partition, BorderedPartition)
        assert partition.labels == ("A", "B", "C")
        assert partition.within == "country"
        assert partition.label_of_cell.tolist() == sorted(partition.label_of_cell)
        held = [len(part) for part in partition.parts]
        assert min(held) >= 2
        assert sum(held) <= 12

    @pytest.mark.parametrize("few", [1, 2])
    def test_a_label_of_few_positions_has_one_cell(self, few):
        lat, lon = towns(100)
        labels = ["A"] * (100 - few) + ["Z"] * few
        partition = fit("optics", "country", lat, lon, labels, n_cells=5).partition
        assert partition.label_of_cell.tolist()[-2:] == ["A", "Z"]
        middle = geo.from_unit(geo.to_unit(lat[-few:], lon[-few:]).sum(axis=0))
        assert geo.haversine_km(partition.site_lat[-1], partition.site_lon[-1], *middle) < 1e-6

    def test_the_sweep_names_the_label(self):
        lat, lon = towns(100)
        fitted = fit("optics", "country", lat, lon, ["A", "B"] * 50)
        assert {score["country"] for score in fitted.scores} == {"A", "B"}
        assert fitted.chosen["within"] == "country"

    def test_labels_that_are_missing_are_refused_by_name(self):
        lat, lon = towns(10)
        with pytest.raises(ConfigError, match="within 'country' need that label of every position"):
            fit_partition(lat, lon, recipe("optics", "country"), 0)
        with pytest.raises(EmptyDatasetError, match=r"No position has the label 'country'; leave out geocells\.within"):
            fit_partition(lat, lon, recipe("optics", "country"), 0, [None, ""] * 5)

    @pytest.mark.parametrize("count", [1, 9, 11, 30])
    def test_a_wrong_number_of_labels_is_refused(self, count):
        with pytest.raises(ConfigError, match=f"{count} labels do not match 10 positions"):
            fit_partition(*towns(10), recipe("optics", "country"), 0, ["A"] * count)


class TestHardInput:
    """Positions that are hardly any, or none."""

    @every_method
    @with_and_without_borders
    def test_positions_off_the_earth_are_refused(self, method, within):
        for lat, lon in ((91.0, 0.0), (np.nan, 0.0), (0.0, np.nan), (0.0, 540.0), (np.inf, 0.0)):
            with pytest.raises(CoordinateError):
                fit(method, within, [1.0, lat], [1.0, lon], ["A", "A"])
        with pytest.raises(CoordinateError, match="one length"):
            fit(method, within, [1.0, 2.0], [1.0], ["A", "A"])
        with pytest.raises(EmptyDatasetError):
            fit(method, within, [], [], [])

    @every_method
    @with_and_without_borders
    def test_integers_are_positions_too(self, method, within):
        lat, lon = [3, 4, -50, 60], [10, 11, 120, -180]
        whole = fit(method, within, lat, lon, ["A"] * 4).partition.to_dict()
        assert whole == fit(method, within, np.array(lat, np.int32), np.array(lon), ["A"] * 4).partition.to_dict()
        assert whole == fit(method, within, np.array(lat, float), np.array(lon, float), ["A"] * 4).partition.to_dict()

    @every_method
    @with_and_without_borders
    @pytest.mark.parametrize("count", [1, 10_000])
    @pytest.mark.parametrize(("lat", "lon"), [(48.85, 2.35), (-90.0, 77.0), (-17.0, -180.0)])
    def test_one_place_is_one_cell_there(self, method, within, lat, lon, count):
        partition = fit(method, within, [lat] * count, [lon] * count, ["A"] * count).partition
        assert len(partition) == 1
        assert geo.haversine_km(partition.site_lat[0], partition.site_lon[0], lat, lon) < 1e-6
        check_whole(partition, np.array([lat]), np.array([lon]), ["A"])
        assert np.isfinite(partition.regions().area_km2).all()

    @every_method
    def test_fewer_positions_than_neighbours_are_cells_nevertheless(self, method):
        lat, lon = towns(4)
        fitted = fit_partition(lat, lon, recipe(method, min_samples=(5, 20), min_cells=1, max_cells=4), 0)
        check_whole(fitted.partition, lat, lon, None)

    @every_method
    @pytest.mark.parametrize("cells", [1, 2])
    def test_two_antipodes_have_no_middle_between_them(self, method, cells):
        lat, lon = [30.0] * 5 + [-30.0] * 5, [60.0] * 5 + [-120.0] * 5
        partition = fit_partition(lat, lon, recipe(method, n_cells=cells), 0).partition
        near = [
            geo.haversine_km(partition.site_lat, partition.site_lon, *place).min()
            for place in ((30.0, 60.0), (-30.0, -120.0))
        ]
        assert min(near) < 1e-6
        check_whole(partition, np.array(lat), np.array(lon), None)

    @pytest.mark.parametrize(("method", "package"), [("hdbscan", "fast_hdbscan"), ("grid", "h3")])
    def test_a_library_that_is_missing_is_named_with_its_cure(self, method, package, monkeypatch):
        for name in (package, f"{package}.api", f"{package}.api.numpy_int"):
            monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(MissingExtraError, match=rf"pip install 'geoindex\[{method}\]'"):
            fit_partition(*towns(50), recipe(method), 0)


@pytest.mark.parametrize(
    ("total", "sizes", "most", "wanted"),
    [
        (174, [500, 300, 200], [500, 300, 200], [87, 52, 35]),
        (10, [1000, 1, 1], [1000, 1, 1], [8, 1, 1]),
        (2, [5, 4, 3], [5, 4, 3], [1, 1, 1]),  # one each at least
        (100, [5, 4], [3, 2], [3, 2]),  # and no more than there are places
        (7, [100, 100], [2, 100], [2, 5]),
        (1, [4], [4], [1]),
    ],
)
def test_cells_are_shared_out_by_size(total, sizes, most, wanted):
    assert apportion(total, sizes, most) == wanted


def test_a_count_of_cells_within_borders_is_kept():
    lat, lon = towns(700)
    labels = some_labels(700)
    found = fit_partition(lat, lon, GeocellRecipe(n_cells=31, within="country", method="balanced"), 0, labels)
    assert len(found.partition) == 31
