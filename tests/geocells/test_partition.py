import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geoindex import geo
from geoindex.errors import ConfigError, CoordinateError, EmptyDatasetError
from geoindex.geocells.fitting import FittedPartition, fit_partition, read_partition
from geoindex.geocells.partition import VoronoiPartition
from geoindex.recipe import GeocellRecipe

latitudes = st.floats(-90, 90) | st.sampled_from([-90.0, 90.0, 0.0])
longitudes = st.floats(-180, 180) | st.sampled_from([-180.0, 180.0, 0.0])
positions = st.lists(st.tuples(latitudes, longitudes), min_size=1, max_size=12)
quick = GeocellRecipe(min_samples=(2, 5), xi=(0.05, 0.2))


def columns(rows: list[tuple[float, float]]) -> tuple[np.ndarray, np.ndarray]:
    return tuple(np.array(rows, float).reshape(-1, 2).T)


def towns(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    spread = 10.0 ** rng.uniform(-3, -1, size=(count, 1))
    return geo.from_unit(rng.normal(size=(20, 3))[rng.integers(0, 20, count)] + spread * rng.normal(size=(count, 3)))


@given(positions, positions)
def test_assign_is_the_nearest_site(sites, points):
    partition = VoronoiPartition(*columns(sites))
    lat, lon = columns(points)
    km = geo.haversine_km(lat[:, None], lon[:, None], partition.site_lat, partition.site_lon)
    cell = partition.assign(lat, lon)
    assert cell.dtype == np.int64
    np.testing.assert_allclose(km[np.arange(len(lat)), cell], km.min(axis=1), atol=1e-3)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(latitudes, longitudes), min_size=1, max_size=40), st.integers(1, 6), st.integers(0, 6))
def test_any_positions_give_a_valid_partition(rows, low, more):
    lat, lon = columns(rows)
    distinct = len(np.unique(geo.to_unit(lat, lon).round(12), axis=0))
    fitted = fit_partition(
        lat, lon, GeocellRecipe(min_samples=(2, 5), xi=(0.05,), min_cells=low, max_cells=low + more), 0
    )
    partition = fitted.partition
    assert len(partition) <= low + more
    if distinct == len(rows):
        assert len(partition) >= min(low, distinct)
    assert np.isfinite(partition.site_lat).all()
    assert np.isfinite(partition.site_lon).all()
    assert set(partition.assign(lat, lon)) == set(range(len(partition)))


@pytest.mark.parametrize(
    ("lat", "lon", "cells"),
    [([10.0], [20.0], 1), ([10.0] * 500, [20.0] * 500, 1), ([90.0] * 9, list(range(9)), 1)],
)
def test_one_place_is_one_cell_there(lat, lon, cells):
    fitted = fit_partition(lat, lon, quick, 0)
    assert len(fitted.partition) == cells
    assert geo.haversine_km(fitted.partition.site_lat[0], fitted.partition.site_lon[0], lat[0], lon[0]) < 1e-6
    assert fitted.scores == []
    assert fitted.chosen["n_cells"] == 1


def test_two_antipodes_are_a_valid_partition():
    fitted = fit_partition([0.0, 0.0], [0.0, 180.0], GeocellRecipe(min_cells=2, max_cells=2), 0)
    assert sorted(fitted.partition.assign([0.0, 0.0], [0.0, 180.0])) == [0, 1]
    assert len(fit_partition([0.0, 0.0], [0.0, 180.0], GeocellRecipe(min_cells=1, max_cells=1), 0).partition) == 1


def test_default_range_follows_the_number_of_places():
    lat, lon = towns(400)
    fitted = fit_partition(np.tile(lat, 2), np.tile(lon, 2), quick, 0)
    assert (fitted.chosen["min_cells"], fitted.chosen["max_cells"]) == (10, 40)
    assert 10 <= len(fitted.partition) <= 40
    assert len(fitted.scores) == 4
    json.dumps([fitted.scores, fitted.chosen], allow_nan=False)


@pytest.mark.parametrize("count", [1, 7, 150, 600])
def test_any_count_can_be_asked_for(count):
    lat, lon = towns(600)
    fitted = fit_partition(lat, lon, GeocellRecipe(min_samples=(5,), xi=(0.1,), min_cells=count, max_cells=count), 0)
    assert len(fitted.partition) == count
    assert np.bincount(fitted.partition.assign(lat, lon)).min() >= 1
    assert fitted.chosen["repaired"] is (count > 1)


def test_more_cells_than_places_are_not_made():
    lat, lon = np.repeat(towns(8), 20, axis=1)
    fitted = fit_partition(lat, lon, GeocellRecipe(min_cells=50, max_cells=60), 0)
    assert len(fitted.partition) == 8


def test_same_seed_same_cells_and_sample_within_limit():
    lat, lon = towns(900)
    recipe = GeocellRecipe(min_samples=(5,), xi=(0.1,), max_positions=300)
    first, again = fit_partition(lat, lon, recipe, 7), fit_partition(lat, lon, recipe, 7)
    np.testing.assert_array_equal(first.partition.site_lat, again.partition.site_lat)
    np.testing.assert_array_equal(first.partition.site_lon, again.partition.site_lon)
    assert first.chosen == again.chosen
    assert first.chosen["n_positions"] == 300
    other = fit_partition(lat, lon, recipe, 8)
    assert first.partition.to_dict() != other.partition.to_dict()


@pytest.mark.parametrize("turn", [180.0, 77.3])
def test_turning_the_earth_turns_the_cells(turn):
    lat, lon = towns(500)
    here, there = fit_partition(lat, lon, quick, 0), fit_partition(lat, geo.wrap_lon(lon + turn), quick, 0)
    one = here.partition.assign(lat, lon)
    other = there.partition.assign(lat, geo.wrap_lon(lon + turn))
    assert len(here.partition) == len(there.partition)
    assert len(set(zip(one.tolist(), other.tolist(), strict=True))) == len(here.partition)


def test_empty_and_wrong_positions_are_refused():
    with pytest.raises(EmptyDatasetError):
        fit_partition([], [], quick, 0)
    with pytest.raises(CoordinateError):
        fit_partition([1.0, np.nan], [1.0, 1.0], quick, 0)
    with pytest.raises(ConfigError):
        VoronoiPartition(np.empty(0), np.empty(0))


def test_sites_at_one_place_are_merged_in_order():
    partition = VoronoiPartition(np.array([5.0, 90.0, 5.0, 90.0, 0.0]), np.array([180.0, 10.0, -180.0, 50.0, 0.0]))
    assert partition.site_lat.tolist() == [5.0, 90.0, 0.0]


def test_partition_survives_json():
    partition = fit_partition(*towns(200), quick, 0).partition
    again = read_partition(json.loads(json.dumps(partition.to_dict())))
    np.testing.assert_array_equal(again.site_lat, partition.site_lat)
    np.testing.assert_array_equal(again.site_lon, partition.site_lon)
    assert again.method == "optics"


def test_nothing_to_assign():
    assert VoronoiPartition(np.array([1.0]), np.array([1.0])).assign([], []).shape == (0,)


def test_cells_that_a_gallery_does_not_reach_are_dropped():
    fitted = fit_partition(*towns(500), quick, 0)
    lat, lon = (axis[:20] for axis in towns(500, seed=9))
    reached = fitted.occupied_by(lat, lon)
    before, after = fitted.partition.assign(lat, lon), reached.partition.assign(lat, lon)
    np.testing.assert_array_equal(fitted.partition.site_lat[before], reached.partition.site_lat[after])
    assert set(after) == set(range(len(reached.partition)))
    assert reached.chosen["n_cells"] == len(reached.partition) < len(fitted.partition)
    assert reached.to_dict()["scores"] == fitted.scores
    with pytest.raises(EmptyDatasetError):
        fitted.occupied_by([], [])


@pytest.mark.parametrize("seed", range(8))
def test_a_position_between_two_sites_leaves_no_cell_empty(seed):
    rng = np.random.default_rng(seed)
    count, span = int(rng.integers(3, 60)), int(rng.integers(2, 9))
    lat, lon = (rng.integers(-span, span + 1, count) * rng.choice([1, 0.5, 10]) for _ in range(2))
    sites = VoronoiPartition(*(rng.integers(-span, span + 1, count) * 1.0 for _ in range(2)))
    reached = FittedPartition(sites, [], {}).occupied_by(lat, lon)
    assert set(reached.partition.assign(lat, lon)) == set(range(len(reached.partition)))
