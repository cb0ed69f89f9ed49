"""The quadtree against one that is written as it is told: boxes, cut in the middle, one after another."""

import numpy as np
import pytest
from earths import towns
from hypothesis import given, settings
from hypothesis import strategies as st

from geoindex import geo
from geoindex.geocells.fitting import fit_partition
from geoindex.geocells.positions import checked_positions
from geoindex.geocells.quadtree import DEEPEST, Quadtree, fit_quadtree, fit_quadtree_of
from geoindex.recipe import GeocellRecipe

whole_degrees = st.lists(st.tuples(st.integers(-89, 89), st.integers(-179, 180)), min_size=1, max_size=60)
copied = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=60)


def columns(rows):
    return tuple(np.array(rows, float).T)


def told(lat, lon, split_above, max_depth):
    """Return (rows, south, north, west, east, depth) of every leaf that holds a position."""
    leaves = []
    stack = [(np.arange(len(lat)), lat.min(), lat.max(), lon.min(), lon.max(), 0)]
    while stack:
        rows, south, north, west, east, depth = stack.pop()
        if len(rows) <= split_above or depth == max_depth:
            leaves.append((rows, south, north, west, east, depth))
            continue
        middle_lat, middle_lon = (south + north) / 2.0, (west + east) / 2.0
        # a box without height or width has all of its positions in the lower half
        upper = (lat[rows] >= middle_lat) & (north > south)
        right = (lon[rows] >= middle_lon) & (east > west)
        for is_upper in (False, True):
            for is_right in (False, True):
                part = rows[(upper == is_upper) & (right == is_right)]
                lats = (middle_lat, north) if is_upper else (south, middle_lat)
                lons = (middle_lon, east) if is_right else (west, middle_lon)
                stack += [(part, *lats, *lons, depth + 1)] if len(part) else []
    return leaves


def groups_of(tree, lat, lon):
    """Return leaf by the rows that it holds."""
    leaf = tree.leaf_of(lat, lon)
    return {tuple(np.flatnonzero(leaf == number)): number for number in np.unique(leaf).tolist()}


@settings(max_examples=100, deadline=None)
@given(whole_degrees | copied, st.integers(1, 6), st.integers(0, 8))
def test_leaves_are_those_of_a_recursion(rows, split_above, max_depth):
    lat, lon = columns(rows)
    tree = fit_quadtree(lat, lon, split_above, max_depth)
    found, wanted = groups_of(tree, lat, lon), told(lat, lon, split_above, max_depth)
    assert set(found) == {tuple(leaf[0]) for leaf in wanted}
    for held, south, north, west, east, depth in wanted:
        leaf = found[tuple(held)]
        (ring,) = tree.regions(np.array([leaf])).pieces[0]
        np.testing.assert_allclose([ring.min(axis=0), ring.max(axis=0)], [[west, south], [east, north]], atol=1e-9)
        assert tree.depth[leaf] == depth


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 40), st.integers(0, DEEPEST))
def test_no_leaf_above_the_depth_limit_holds_too_many(seed, split_above, max_depth):
    lat, lon = towns(150, seed=seed)
    tree = fit_quadtree(lat, lon, split_above, max_depth)
    held = np.bincount(tree.leaf_of(lat, lon), minlength=len(tree.code))
    assert (held[tree.depth < max_depth] <= split_above).all()
    assert tree.depth.max() <= max_depth
    # and no cut was made for nothing: four leaves of one parent hold too many together
    parent = tree.code // 4 ** (DEEPEST - tree.depth + 1)
    for depth in range(1, max_depth + 1):
        for number in np.unique(parent[tree.depth == depth]):
            inside = tree.code // 4 ** (DEEPEST - depth + 1) == number
            assert held[inside & (tree.depth >= depth)].sum() > split_above


def test_leaves_tile_the_box_once():
    lat, lon = towns(300)
    tree = fit_quadtree(lat, lon, 10, 12)
    regions = tree.regions(np.arange(len(tree.code)))
    band = np.sin(np.radians([lat.max(), lat.min()]))
    box = np.radians(np.ptp(lon)) * (band[0] - band[1]) * geo.EARTH_RADIUS_KM**2
    assert regions.area_km2.sum() == pytest.approx(box, rel=1e-12)
    assert sum(4.0 ** -tree.depth.astype(float)) == pytest.approx(1.0, rel=1e-12)
    assert (np.diff(tree.code) > 0).all()
    assert tree.code[0] == 0


def test_area_of_a_box_is_that_of_the_sphere():
    half = Quadtree(-90.0, 90.0, -180.0, 180.0, np.array([0, 2 * 4 ** (DEEPEST - 1)]), np.array([1, 1]))
    # the south-west and the north-west quarter of the map: a quarter of the Earth each
    regions = half.regions(np.array([0, 1]))
    np.testing.assert_allclose(regions.area_km2, geo.EARTH_AREA_KM2 / 4)
    assert regions.pieces[0][0].tolist() == [[-180, -90], [0, -90], [0, 0], [-180, 0], [-180, -90]]
    assert regions.pieces[1][0].tolist() == [[-180, 0], [0, 0], [0, 90], [-180, 90], [-180, 0]]


def test_members_lie_in_their_boxes():
    lat, lon = towns(400)
    partition = fit_partition(lat, lon, GeocellRecipe(method="quadtree"), 0).partition
    boxes = [ring for (ring,) in partition.regions().pieces]
    cell = partition.assign(lat, lon)
    low, high = (np.array([turn(ring, axis=0) for ring in boxes])[cell] for turn in (np.min, np.max))
    here = np.column_stack([lon, lat])
    assert (here >= low - 1e-9).all()
    assert (here <= high + 1e-9).all()


def test_positions_outside_belong_to_the_edge():
    lat, lon = towns(200)
    lat, lon = 40.0 + lat / 9.0, lon / 18.0
    tree = fit_quadtree(lat, lon, 10, 10)
    outside = checked_positions([90.0, -90.0, 0.0, 45.0, 45.0, 80.0], [0.0, 0.0, 180.0, -180.0, 170.0, -170.0])
    clamped = np.clip(outside[0], lat.min(), lat.max()), np.clip(outside[1], lon.min(), lon.max())
    assert tree.leaf_of(*outside).tolist() == tree.leaf_of(*clamped).tolist()
    corner = tree.leaf_of(np.array([-90.0, 90.0]), np.array([-180.0, 180.0]))
    assert corner.tolist() == [0, len(tree.code) - 1]


def occupied(tree, lat, lon):
    return len(np.unique(tree.leaf_of(lat, lon)))


@settings(max_examples=60, deadline=None)
@given(whole_degrees | copied, st.integers(1, 30), st.integers(0, 8))
def test_the_finest_tree_within_a_number_of_cells(rows, max_cells, max_depth):
    lat, lon = columns(rows)
    trees = [fit_quadtree(lat, lon, split_above, max_depth) for split_above in range(1, len(lat) + 1)]
    finest = next(tree for tree in trees if occupied(tree, lat, lon) <= max_cells)
    found = fit_quadtree_of(lat, lon, max_cells, max_depth)
    assert found.code.tolist() == finest.code.tolist()
    assert found.depth.tolist() == finest.depth.tolist()


def test_places_a_hand_apart_are_told_apart_at_the_deepest():
    lat, lon = np.array([-60.0, 60.0, 10.0, 10.000001]), np.array([-170.0, 170.0, 20.0, 20.000001])
    tree = fit_quadtree(lat, lon, 1, DEEPEST)
    assert len(np.unique(tree.leaf_of(lat, lon))) == 4
    assert len(np.unique(fit_quadtree(lat, lon, 1, 99).leaf_of(lat, lon))) == 4  # no deeper than codes go
    assert len(np.unique(fit_quadtree(lat, lon, 1, 20).leaf_of(lat, lon))) == 3


@pytest.mark.parametrize("max_depth", [0, 10, DEEPEST])
def test_one_place_is_a_box_without_area(max_depth):
    lat, lon = np.full(50, 12.5), np.full(50, -7.25)
    tree = fit_quadtree(lat, lon, 1, max_depth)
    assert set(tree.leaf_of(lat, lon)) == {0}
    regions = tree.regions(np.array([0]))
    assert regions.area_km2.tolist() == [0.0]
    np.testing.assert_allclose(regions.pieces[0][0], [[-7.25, 12.5]] * 5)


def test_positions_on_one_line_are_cut_along_it():
    lat, lon = np.full(16, 50.0), np.arange(16.0)
    tree = fit_quadtree(lat, lon, 1, 10)
    assert occupied(tree, lat, lon) == 16
    assert np.isfinite(tree.regions(np.arange(len(tree.code))).area_km2).all()
