"""Cells of equal count: their numbers, their outlines, and positions that cannot be halved."""

import numpy as np
import pytest
import shapely
from earths import columns, labelled, lattice, towns, uniform
from hypothesis import given, settings
from hypothesis import strategies as st

from geoindex import geo
from geoindex.geocells.bisection import Bisection, fit_bisection
from geoindex.geocells.polygons import convex_polygons, overlap_of
from geoindex.geocells.positions import checked_positions, distinct_positions

seeds = st.integers(0, 10**6)


def sizes(lat, lon, count):
    """Return how many positions each leaf holds."""
    tree = fit_bisection(lat, lon, count)
    return np.bincount(tree.leaf_of(lat, lon), minlength=len(tree.pole) + 1)


def check_equal(lat, lon, count):
    held = sizes(lat, lon, count)
    assert len(held) == count
    assert held.max() - held.min() <= 1


def country(count, seed):
    """Return positions in towns of one half of the globe."""
    rng = np.random.default_rng(seed)
    middle = geo.to_unit(rng.uniform(-90, 90), rng.uniform(-180, 180))
    centres = middle + 10.0 ** rng.uniform(-4, -0.5) * rng.normal(size=(5, 3))
    return geo.from_unit(centres[rng.integers(0, 5, count)] + 10.0 ** rng.uniform(-5, -1) * rng.normal(size=(count, 3)))


@settings(max_examples=60, deadline=None)
@given(seeds, st.integers(1, 120), st.data())
def test_cells_of_one_half_of_the_globe_are_equal(seed, count, data):
    check_equal(*country(count, seed), data.draw(st.integers(1, count)))


@settings(max_examples=60, deadline=None)
@given(seeds, st.integers(32, 150), st.sampled_from([1, 2, 4, 8, 16, 32]))
def test_halves_of_halves_are_equal_all_around_the_globe(seed, count, cells):
    check_equal(*uniform(count, seed), cells)
    check_equal(*towns(count, seed), cells)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 12), st.integers(1, 12), st.sampled_from([1.0, 0.1, 1e-4]), st.integers(-70, 70), st.data())
def test_positions_in_rows_are_halved_too(rows, across, step, south, data):
    lat, lon = lattice(rows, across, step, south, west=175.0)
    check_equal(lat, lon, data.draw(st.integers(1, rows * across)))


def test_an_odd_count_all_around_the_globe_is_as_equal_as_great_circles_allow():
    held = np.sort(sizes(*uniform(1000), 3))
    assert held[2] <= 510  # the first cut halves whatever it does
    assert abs(held[0] - held[1]) <= 1
    held = sizes(*uniform(2000), 101)
    assert held.max() <= 1.05 * held.min() + 1


@settings(max_examples=60, deadline=None)
@given(st.lists(labelled, min_size=1, max_size=40), st.integers(1, 40))
def test_every_leaf_holds_a_position_whatever_the_copies(rows, count):
    lat, lon = checked_positions(*columns(rows))
    held = sizes(lat, lon, count)
    assert held.min() >= 1
    apart = len(np.unique(geo.to_unit(lat, lon).round(9), axis=0))
    if apart == len(distinct_positions(lat, lon)):
        assert len(held) == min(count, apart)


def test_copies_spread_as_evenly_as_they_can():
    lat, lon = np.repeat(np.array([towns(8)]), 5, axis=2)[0]  # each of eight places five times
    assert sizes(lat, lon, 8).tolist() == [5] * 8
    assert sorted(sizes(lat, lon, 4)) == [10] * 4
    crowd = np.append(np.full(1000, 10.0), np.arange(20.0, 25.0)), np.zeros(1005)
    assert sorted(sizes(*crowd, 6)) == [1, 1, 1, 1, 1, 1000]


@pytest.mark.parametrize("count", [1, 2, 7])
def test_equal_positions_are_one_cell_of_the_whole_earth(count):
    lat, lon = np.full(50, 5.0), np.full(50, 6.0)
    tree = fit_bisection(lat, lon, count)
    assert tree.pole.shape == (0, 3)
    assert set(tree.leaf_of(*uniform(20))) == {0}
    regions = tree.regions(np.array([0]))
    assert regions.area_km2 == pytest.approx([geo.EARTH_AREA_KM2])
    assert Bisection.from_dict(tree.to_dict()).leaf_of(lat, lon).tolist() == [0] * 50


@pytest.mark.parametrize("places", [((0, 0), (0, 180)), ((90, 0), (-90, 0)), ((30, 60), (-30, -120))])
def test_two_antipodes_are_two_halves(places):
    lat, lon = np.array(places, float).T
    tree = fit_bisection(lat, lon, 2)
    assert sorted(tree.leaf_of(lat, lon)) == [0, 1]
    assert tree.regions(np.array([0, 1])).area_km2 == pytest.approx([geo.EARTH_AREA_KM2 / 2] * 2)


SETS = {
    "all around": (uniform(300), 37),
    "towns": (towns(300), 64),
    "many small": (towns(500), 500),
    "a city": (country(200, 3), 40),
    "one column": (lattice(26, 1, 1.0, 32.0, 0.0), 25),
    "two columns": (lattice(22, 2, 1.0, 10.0, -5.0), 43),
    "one row": (lattice(1, 20, 1.0, 50.0, 170.0), 20),
    "street": (lattice(30, 2, 1e-5, 48.0, 2.0), 60),
    "around the pole": ((89.0 + np.arange(12) % 2 / 2, np.arange(-180.0, 180.0, 30.0)), 12),
    "nearly a half": ((np.array([10.0, 10.00001, 10.00002]), np.array([20.0, 20.0, 20.00001])), 3),
}


@pytest.mark.parametrize("name", SETS)
def test_areas_sum_to_the_earth(name):
    (lat, lon), count = SETS[name]
    tree = fit_bisection(lat, lon, count)
    area = tree.regions(np.arange(len(tree.pole) + 1)).area_km2
    assert len(area) == count
    assert area.min() > 0
    assert area.sum() == pytest.approx(geo.EARTH_AREA_KM2, rel=1e-9)


@pytest.mark.parametrize("tilt", [1e-6, 0.004, 0.1, 1.0])
def test_area_between_two_great_circles(tilt):
    # nearly a half of the globe has corners almost opposite to each other and to the sum of the poles
    poles = np.array([[np.cos(tilt), 0.0, np.sin(tilt)], [np.cos(tilt), 0.0, -np.sin(tilt)]])
    found = convex_polygons([overlap_of(poles)], [poles.sum(axis=0)])
    assert found.area_km2 == pytest.approx([(0.5 - tilt / np.pi) * geo.EARTH_AREA_KM2], rel=1e-9)


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 30), st.integers(1, 3), st.booleans(), st.integers(-80, 50), st.data())
def test_areas_of_rows_sum_to_the_earth(long, short, along, south, data):
    lat, lon = lattice(*((long, short) if along else (short, long)), 1.0, south, 170.0)
    tree = fit_bisection(lat, lon, data.draw(st.integers(1, long * short)))
    area = tree.regions(np.arange(len(tree.pole) + 1)).area_km2
    assert area.sum() == pytest.approx(geo.EARTH_AREA_KM2, rel=1e-9)


@pytest.mark.parametrize("name", ["all around", "towns", "around the pole"])
def test_a_point_inside_an_outline_belongs_to_that_cell(name):
    (lat, lon), count = SETS[name]
    tree = fit_bisection(lat, lon, count)
    pieces = tree.regions(np.arange(count)).pieces
    outlines = np.array([shapely.MultiPolygon([shapely.Polygon(ring) for ring in rings]) for rings in pieces])
    assert shapely.is_valid(outlines).all()
    assert shapely.area(outlines).sum() == pytest.approx(360.0 * 180.0, rel=1e-6)
    at_lat, at_lon = uniform(1500, seed=8)
    leaf = tree.leaf_of(at_lat, at_lon)
    points = shapely.points(at_lon, at_lat)
    holder = np.full(len(points), -1)
    for number, outline in enumerate(outlines):
        holder[shapely.contains(outline, points)] = number
    wrong = np.flatnonzero(holder != leaf)
    # outlines follow great circles with a point each degree, so that a point at the border may be on the other side
    assert len(wrong) < 0.01 * len(points)
    assert (shapely.distance(outlines[leaf[wrong]], points[wrong]) < 0.02).all()


def test_the_tree_is_read_back_bit_for_bit():
    tree = fit_bisection(*towns(200), 30)
    again = Bisection.from_dict(tree.to_dict())
    np.testing.assert_array_equal(again.pole, tree.pole)
    np.testing.assert_array_equal(again.leaf_of(*uniform(500)), tree.leaf_of(*uniform(500)))
