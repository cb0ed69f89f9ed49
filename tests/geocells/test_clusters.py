import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geoindex import geo
from geoindex.errors import ConfigError, CoordinateError
from geoindex.geocells import clusters as clusters_module
from geoindex.geocells.clusters import Clusters, fit_clusters
from geoindex.geocells.fitting import fit_partition
from geoindex.recipe import ClusterRecipe, GeocellRecipe

points = st.lists(
    st.tuples(st.floats(-90, 90) | st.sampled_from([-90.0, 90.0]), st.floats(-180, 180), st.integers(0, 5)),
    min_size=1,
    max_size=40,
)


def columns(rows):
    lat, lon, cell = np.array(rows, float).reshape(-1, 3).T
    return lat, lon, cell.astype(np.int64)


def world(count: int, seed: int = 0):
    rng = np.random.default_rng(seed)
    spread = 10.0 ** rng.uniform(-3, -1, size=(count, 1))
    towns = rng.normal(size=(20, 3))[rng.integers(0, 20, count)]
    lat, lon = geo.from_unit(towns + spread * rng.normal(size=(count, 3)))
    partition = fit_partition(lat, lon, GeocellRecipe(min_samples=(10,), xi=(0.1,)), 0).partition
    return lat, lon, partition.assign(lat, lon), len(partition)


@settings(deadline=None)
@given(points, points)
def test_assign_is_the_nearest_cluster_of_the_own_cell(sites, samples):
    site_lat, site_lon, site_cell = columns(sorted(sites, key=lambda row: row[2]))
    lat, lon, cell = columns(samples)
    found = Clusters(site_lat, site_lon, site_cell).assign(lat, lon, cell)
    km = geo.haversine_km(lat[:, None], lon[:, None], site_lat, site_lon)
    km[cell[:, None] != site_cell] = np.inf
    assert ((found == -1) == np.isinf(km.min(axis=1))).all()
    held = found >= 0
    assert (site_cell[found[held]] == cell[held]).all()
    np.testing.assert_allclose(km[np.arange(len(lat)), found][held], km.min(axis=1)[held], atol=1e-3)


@settings(max_examples=30, deadline=None)
@given(points)
def test_any_positions_give_valid_clusters(rows):
    lat, lon, cell = columns(rows)
    clusters = fit_clusters(lat, lon, cell, 6, ClusterRecipe(images_per_cluster=1), 0)
    found = clusters.assign(lat, lon, cell)
    assert set(found) == set(range(len(clusters)))  # everybody has one, and no cluster is empty
    assert (clusters.cell[found] == cell).all()
    assert (np.diff(clusters.cell) >= 0).all()
    assert np.isfinite(clusters.site_lat).all()
    assert np.isfinite(clusters.site_lon).all()


def test_counts_stay_in_range_and_no_cluster_is_empty():
    lat, lon, cell, n_cells = world(1500)
    recipe = ClusterRecipe(min_clusters=4, max_clusters=12, images_per_cluster=3)
    clusters = fit_clusters(lat, lon, cell, n_cells, recipe, 0)
    room = np.bincount(cell, minlength=n_cells) // 3
    count = np.bincount(clusters.cell, minlength=n_cells)
    assert (count >= np.maximum(1, np.minimum(4, room))).all()
    assert (count <= np.maximum(1, np.minimum(12, room))).all()
    assert np.bincount(clusters.assign(lat, lon, cell), minlength=len(clusters)).min() >= 1
    assert clusters.cell.dtype == np.int64


def test_clusters_are_the_same_each_time():
    lat, lon, cell, n_cells = world(600)
    first, again = (fit_clusters(lat, lon, cell, n_cells, ClusterRecipe(), 3) for _ in range(2))
    np.testing.assert_array_equal(first.site_lat, again.site_lat)
    np.testing.assert_array_equal(first.cell, again.cell)


def test_clusters_come_nearer_than_cells():
    lat, lon, cell, n_cells = world(1500)
    clusters = fit_clusters(lat, lon, cell, n_cells, ClusterRecipe(), 0)
    at = clusters.assign(lat, lon, cell)
    to_cluster = geo.haversine_km(lat, lon, clusters.site_lat[at], clusters.site_lon[at])
    cell_lat, cell_lon = geo.group_means(lat, lon, cell, n_cells)
    assert np.median(to_cluster) < 0.5 * np.median(geo.haversine_km(lat, lon, cell_lat[cell], cell_lon[cell]))


def test_cells_are_divided_independently():
    lat, lon, cell, n_cells = world(600)
    clusters = fit_clusters(lat, lon, cell, n_cells, ClusterRecipe(), 0)
    alone = fit_clusters(lat[cell == 2], lon[cell == 2], cell[cell == 2], n_cells, ClusterRecipe(), 0)
    np.testing.assert_array_equal(clusters.site_lat[clusters.cell == 2], alone.site_lat)


def test_equal_positions_are_one_cluster():
    clusters = fit_clusters(np.full(50, 5.0), np.full(50, 6.0), np.zeros(50, int), 1, ClusterRecipe(), 0)
    assert len(clusters) == 1
    assert (clusters.site_lat[0], clusters.site_lon[0]) == pytest.approx((5.0, 6.0))


def test_cells_without_positions_have_no_cluster():
    clusters = fit_clusters([1.0, 2.0], [1.0, 2.0], [3, 3], 5, ClusterRecipe(), 0)
    assert clusters.cell.tolist() == [3, 3]
    elsewhere, *own = clusters.assign([1.0, 1.0, 2.0], [1.0, 1.0, 2.0], [0, 3, 3]).tolist()
    assert elsewhere == -1
    assert sorted(own) == [0, 1]


def test_a_few_far_apart_photos_are_clusters_of_their_own():
    clusters = fit_clusters([48.9, -33.9, 48.9], [2.3, 151.2, 2.3], [0, 0, 0], 1, ClusterRecipe(), 0)
    sites = zip(clusters.site_lat.round(1).tolist(), clusters.site_lon.round(1).tolist(), strict=True)
    assert sorted(sites) == [(-33.9, 151.2), (48.9, 2.3)]


def test_nothing_is_nothing():
    clusters = fit_clusters([], [], [], 4, ClusterRecipe(), 0)
    assert len(clusters) == 0
    assert clusters.assign([1.0], [2.0], [0]).tolist() == [-1]
    assert fit_clusters([1.0], [2.0], [0], 1, ClusterRecipe(), 0).assign([], [], []).shape == (0,)


def test_wrong_cells_and_positions_are_refused():
    with pytest.raises(ConfigError, match="3 of the partition"):
        fit_clusters([1.0], [1.0], [3], 3, ClusterRecipe(), 0)
    with pytest.raises(ConfigError, match="one cell a position"):
        fit_clusters([1.0, 2.0], [1.0, 2.0], [0], 3, ClusterRecipe(), 0)
    with pytest.raises(CoordinateError):
        fit_clusters([95.0], [1.0], [0], 3, ClusterRecipe(), 0)


def test_threads_change_nothing():
    rng = np.random.default_rng(0)
    site_lat, site_lon = geo.from_unit(rng.normal(size=(3000, 3)))
    cells = np.sort(rng.integers(0, 300, 3000))
    lat, lon = geo.from_unit(rng.normal(size=(30_000, 3)))
    own = rng.integers(0, 300, 30_000)
    clusters = Clusters(site_lat, site_lon, cells)
    threaded, plain = clusters.assign(lat, lon, own), clusters.assign(lat[:500], lon[:500], own[:500])
    np.testing.assert_array_equal(threaded[:500], plain)


def check_chain(clusters, lat, lon, cell, levels):
    """See that every position has a cluster, none is empty, and each lies inside its coarser ones in its cell."""
    found = clusters.assign(lat, lon, cell)
    assert set(found) == set(range(len(clusters)))
    assert (clusters.cell[found] == cell).all()
    assert clusters.coarser.shape == (len(clusters), levels - 1)
    assert (np.diff(clusters.group) >= 0).all()
    assert (np.diff(clusters.cell) >= 0).all()
    outer = clusters
    for level in reversed(range(levels - 1)):
        np.testing.assert_array_equal(outer.group, outer.coarser[:, level])
        inside = outer.outer.assign(lat, lon, cell)
        np.testing.assert_array_equal(clusters.coarser[found, level], inside)
        np.testing.assert_array_equal(outer.outer.cell[clusters.coarser[:, level]], clusters.cell)
        assert set(inside) == set(range(len(outer.outer)))
        outer = outer.outer
    assert outer.outer is None
    np.testing.assert_array_equal(outer.group, outer.cell)


@pytest.mark.parametrize("levels", [1, 2, 3])
@settings(max_examples=20, deadline=None)
@given(points)
def test_clusters_lie_inside_coarser_ones(levels, rows):
    lat, lon, cell = columns(rows)
    recipe = ClusterRecipe(images_per_cluster=1, min_clusters=2, max_clusters=3, levels=levels)
    check_chain(fit_clusters(lat, lon, cell, 6, recipe, 0), lat, lon, cell, levels)


def test_each_level_divides_again():
    lat, lon, cell, n_cells = world(900)
    keys = {"images_per_cluster": 2, "min_clusters": 2, "max_clusters": 4, "min_samples": (2, 3)}
    found = [fit_clusters(lat, lon, cell, n_cells, ClusterRecipe(**keys, levels=levels), 0) for levels in (1, 2, 3)]
    for levels, clusters in enumerate(found, 1):
        check_chain(clusters, lat, lon, cell, levels)
    assert len(found[0]) < len(found[1]) < len(found[2])
    np.testing.assert_array_equal(found[1].outer.site_lat, found[0].site_lat)
    np.testing.assert_array_equal(found[2].outer.site_lat, found[1].site_lat)
    per_outer = np.bincount(found[1].group)
    assert per_outer.min() == 1  # one that need not fall apart
    assert per_outer.max() <= 4


def test_other_positions_go_down_the_chain():
    lat, lon, cell, n_cells = world(900)
    recipe = ClusterRecipe(images_per_cluster=2, min_clusters=2, max_clusters=4, min_samples=(2, 3), levels=3)
    clusters = fit_clusters(lat, lon, cell, n_cells, recipe, 0)
    lat, lon = geo.from_unit(np.random.default_rng(4).normal(size=(300, 3)))
    own = np.random.default_rng(5).integers(0, n_cells, 300)
    chain = [clusters.outer.outer, clusters.outer, clusters]
    wanted = own
    for level in chain:
        km = geo.haversine_km(lat[:, None], lon[:, None], level.site_lat, level.site_lon)
        km[level.group != wanted[:, None]] = np.inf
        wanted = km.argmin(axis=1)
    np.testing.assert_array_equal(clusters.assign(lat, lon, own), wanted)
    at_once = Clusters(clusters.site_lat, clusters.site_lon, clusters.cell).assign(lat, lon, own)
    assert (at_once != wanted).any()  # the nearest cluster of the cell can lie inside another coarser one


def test_clusters_that_are_kept_lie_inside_the_same_ones():
    lat, lon, cell, n_cells = world(600)
    recipe = ClusterRecipe(images_per_cluster=2, min_clusters=2, max_clusters=4, levels=2)
    clusters = fit_clusters(lat, lon, cell, n_cells, recipe, 0)
    kept = np.arange(0, len(clusters), 2)
    fewer = clusters.keep(kept)
    np.testing.assert_array_equal(fewer.coarser, clusters.coarser[kept])
    np.testing.assert_array_equal(fewer.cell, clusters.cell[kept])
    before, after = clusters.assign(lat, lon, cell), fewer.assign(lat, lon, cell)
    stays = np.isin(before, kept)
    np.testing.assert_array_equal(kept[after[stays]], before[stays])


def test_processes_change_no_bit(monkeypatch):
    lat, lon, cell, n_cells = world(900)
    recipe = ClusterRecipe(images_per_cluster=2)
    alone = fit_clusters(lat, lon, cell, n_cells, recipe, 0)
    monkeypatch.setattr(clusters_module, "PARALLEL_FROM", 1)
    monkeypatch.setattr("joblib.cpu_count", lambda: 2)
    shared = fit_clusters(lat, lon, cell, n_cells, recipe, 0)
    np.testing.assert_array_equal(shared.site_lat, alone.site_lat)
    np.testing.assert_array_equal(shared.site_lon, alone.site_lon)
    np.testing.assert_array_equal(shared.group, alone.group)


def test_one_core_starts_no_process(monkeypatch):
    lat, lon, cell, n_cells = world(200)
    monkeypatch.setattr(clusters_module, "PARALLEL_FROM", 1)
    monkeypatch.setattr("joblib.cpu_count", lambda: 1)
    monkeypatch.setattr("joblib.externals.loky.ProcessPoolExecutor", None)
    assert len(fit_clusters(lat, lon, cell, n_cells, ClusterRecipe(), 0)) >= n_cells


def test_a_crowded_cell_is_divided_by_a_sample(monkeypatch):
    monkeypatch.setattr(clusters_module, "MAX_POSITIONS", 100)
    lat, lon, _, _ = world(900)
    cell = np.zeros(900, np.int64)
    first, again = (fit_clusters(lat, lon, cell, 1, ClusterRecipe(), 3) for _ in range(2))
    np.testing.assert_array_equal(first.site_lat, again.site_lat)
    assert set(first.assign(lat, lon, cell)) == set(range(len(first)))
    assert 5 <= len(first) <= 100
    assert fit_clusters(lat, lon, cell, 1, ClusterRecipe(), 4).site_lat.tolist() != first.site_lat.tolist()
