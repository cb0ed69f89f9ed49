"""Hexagons of H3: which resolution, which outlines."""

import json
import sys

import numpy as np
import pytest
import shapely
from earths import EVERYWHERE, towns, uniform
from hypothesis import given, settings
from hypothesis import strategies as st

from geoindex import geo
from geoindex.errors import MissingExtraError
from geoindex.geocells.fitting import fit_partition, read_partition
from geoindex.geocells.grid import FINEST, Grid, fit_grid
from geoindex.recipe import GeocellRecipe

h3 = pytest.importorskip("h3")


def occupied(resolution, lat, lon):
    return len({h3.latlng_to_cell(*place, resolution) for place in zip(lat, lon, strict=True)})


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 60), st.sampled_from([1.0, 0.1, 1e-3]))
def test_the_finest_grid_within_a_number_of_cells(seed, max_cells, scale):
    lat, lon = towns(60, seed)
    lat, lon = 20.0 + scale * lat, scale * lon
    chosen = fit_grid(lat, lon, max_cells).resolution
    assert chosen == 0 or occupied(chosen, lat, lon) <= max_cells
    assert chosen == FINEST or occupied(chosen + 1, lat, lon) > max_cells


def test_too_many_cells_even_so_are_the_coarsest_ones():
    lat, lon = uniform(2000)
    assert fit_grid(lat, lon, 5) == Grid(0)
    partition = fit_partition(lat, lon, GeocellRecipe(method="grid", n_cells=5), 0).partition
    assert len(partition) == 122


def test_one_place_is_one_hexagon_of_the_finest():
    lat, lon = np.full(10, 48.85), np.full(10, 2.35)
    partition = fit_partition(lat, lon, GeocellRecipe(method="grid"), 0).partition
    assert (len(partition), partition.rule) == (1, Grid(FINEST))
    ((ring,),) = partition.regions().pieces
    assert shapely.Polygon(ring).distance(shapely.Point(2.35, 48.85)) < 1e-7


def test_members_lie_in_their_outlines():
    lat, lon = towns(400)
    partition = fit_partition(lat, lon, GeocellRecipe(method="grid", max_cells=120), 0).partition
    cell = partition.assign(lat, lon)
    outlines = np.array([shapely.MultiPolygon(list(map(shapely.Polygon, r))) for r in partition.regions().pieces])
    off = shapely.distance(outlines[cell], shapely.points(lon, lat))
    assert (off < 0.02).all()  # outlines follow great circles with a point each degree
    assert np.mean(off == 0) > 0.99


def test_areas_are_those_of_h3():
    lat, lon = uniform(500)
    grid = Grid(1)
    leaves = np.unique(grid.leaf_of(np.append(lat, EVERYWHERE[0]), np.append(lon, EVERYWHERE[1])))
    theirs = [h3.cell_area(h3.int_to_str(leaf), "rads^2") * geo.EARTH_RADIUS_KM**2 for leaf in leaves.tolist()]
    found = grid.regions(leaves)
    np.testing.assert_allclose(found.area_km2, theirs, rtol=1e-6)
    assert all(np.abs(np.diff(ring[:, 0])).max() <= 180.0 for rings in found.pieces for ring in rings)


def test_every_hexagon_of_the_earth_is_found_once():
    leaves = np.array(sorted(h3.str_to_int(cell) for cell in h3.get_res0_cells()), np.int64)
    regions = Grid(0).regions(leaves)
    assert regions.area_km2.sum() == pytest.approx(geo.EARTH_AREA_KM2, rel=1e-9)
    flat = shapely.union_all([shapely.Polygon(ring) for rings in regions.pieces for ring in rings])
    assert flat.area == pytest.approx(360.0 * 180.0, rel=1e-3)


def test_numbers_of_hexagons_survive_json():
    partition = fit_partition(*towns(100), GeocellRecipe(method="grid"), 0).partition
    assert partition.leaves.min() > 2**53  # more than a float holds
    again = read_partition(json.loads(json.dumps(partition.to_dict())))
    np.testing.assert_array_equal(again.leaves, partition.leaves)
    np.testing.assert_array_equal(again.assign(*EVERYWHERE), partition.assign(*EVERYWHERE))


def test_a_missing_library_is_named_when_a_partition_is_read_too(monkeypatch):
    partition = fit_partition(*towns(50), GeocellRecipe(method="grid"), 0).partition
    written = partition.to_dict()
    for name in ("h3", "h3.api", "h3.api.numpy_int"):
        monkeypatch.setitem(sys.modules, name, None)
    again = read_partition(written)
    for use in (lambda: again.assign([1.0], [1.0]), again.regions, lambda: fit_grid(*towns(5), 3)):
        with pytest.raises(MissingExtraError, match=r"need H3; install it with: pip install 'geoindex\[grid\]'"):
            use()
