import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geoindex import geo
from geoindex.errors import CoordinateError
from geoindex.geocells.outlines import flat_pieces, to_geojson
from geoindex.geocells.voronoi import voronoi_polygons


def uniform(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    return geo.from_unit(np.random.default_rng(seed).normal(size=(count, 3)))


def clumped(spread_deg: float) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(5)
    return 48.0 + spread_deg * rng.normal(size=20), 2.0 + spread_deg * rng.normal(size=20)


SITES = {
    "one": uniform(1),
    "two": uniform(2),
    "three": uniform(3),
    "four": uniform(4),
    "many": uniform(150),
    "poles": (np.array([90.0, -90.0]), np.array([0.0, 0.0])),
    "poles and more": (np.array([90.0, -90.0, 0.0, 5.0, 10.0]), np.array([0.0, 0.0, 0.0, 120.0, -120.0])),
    "equator": (np.zeros(5), np.array([0.0, 90.0, 180.0, -90.0, 30.0])),
    "parallel": (np.full(4, 50.0), np.array([0.0, 90.0, 180.0, -90.0])),
    "meridian": (48.0 + 1e-3 * np.arange(12), np.full(12, 2.0)),
    "duplicates": (np.array([50.0, 50.0, 50.0, -10.0]), np.array([0.0, 0.0, 1.0, 180.0])),
    "octahedron": (np.array([90.0, -90.0, 0.0, 0.0, 0.0, 0.0]), np.array([0.0, 0.0, 0.0, 90.0, 180.0, -90.0])),
    "corner at the pole": (np.array([60.0, 60.0, 60.0, 60.0, -60.0, -60.0]), np.array([0, 90, 180, -90, 0, 180.0])),
    "city": clumped(0.01),
    "street": clumped(1e-5),
    "around the antimeridian": (
        np.array([-17.0, -18.0, -16.0, -20.0, 40.0]),
        np.array([179.0, -179.0, 180.0, -178.0, 0.0]),
    ),
}


def flat_area_km2(ring: np.ndarray) -> float:
    """Area on the sphere of a closed (lon, lat) ring whose sides are straight in degrees, exactly."""
    lam, phi = np.radians(ring.T)
    rise = np.diff(phi)
    level = np.abs(rise) < 1e-12
    mean_sin = np.where(level, np.sin(phi[:-1]), -np.diff(np.cos(phi)) / np.where(level, 1.0, rise))
    return float(-np.sum(np.diff(lam) * mean_sin) * geo.EARTH_RADIUS_KM**2)


@pytest.mark.parametrize("name", list(SITES))
def test_areas_sum_to_the_earth(name):
    found = voronoi_polygons(*SITES[name])
    assert len(found) == len(SITES[name][0])
    assert (found.area_km2 >= 0).all()
    assert found.area_km2.sum() == pytest.approx(geo.EARTH_AREA_KM2, rel=1e-6)


@pytest.mark.parametrize("name", list(SITES))
def test_flat_pieces_cover_the_earth_once(name):
    found = voronoi_polygons(*SITES[name])
    total = 0.0
    for ring, area in zip(found.rings, found.area_km2, strict=True):
        pieces = flat_pieces(ring) if area else []
        flat = [flat_area_km2(piece) for piece in pieces]
        assert min(flat, default=1.0) > 0  # anticlockwise, as RFC 7946 wants outer rings
        assert sum(flat) == pytest.approx(area, rel=0.02, abs=1e-4 * geo.EARTH_AREA_KM2)
        total += sum(flat)
    assert total == pytest.approx(geo.EARTH_AREA_KM2, rel=1e-5)


@pytest.mark.parametrize("name", list(SITES))
def test_pieces_stay_on_the_map_and_never_jump(name):
    for ring, area in zip(*(lambda p: (p.rings, p.area_km2))(voronoi_polygons(*SITES[name])), strict=True):
        for piece in flat_pieces(ring) if area else []:
            assert np.abs(piece[:, 0]).max() <= 180.0
            assert np.abs(piece[:, 1]).max() <= 90.0
            assert np.abs(np.diff(piece[:, 0])).max() < 180.0
            np.testing.assert_array_equal(piece[0], piece[-1])


@pytest.mark.parametrize("name", ["two", "three", "four", "many", "equator", "octahedron", "duplicates", "city"])
def test_corners_are_no_nearer_to_another_site(name):
    lat, lon = SITES[name]
    found = voronoi_polygons(lat, lon)
    for site, ring in enumerate(found.rings):
        for corner_lat, corner_lon in ring:
            km = geo.haversine_km(corner_lat, corner_lon, lat, lon)
            assert km[site] == pytest.approx(km.min(), abs=1e-3)


def test_octants_in_closed_form():
    found = voronoi_polygons(*SITES["octahedron"])
    np.testing.assert_allclose(found.area_km2, geo.EARTH_AREA_KM2 / 6, rtol=1e-9)


def test_lunes_in_closed_form():
    found = voronoi_polygons([0.0, 0.0, 0.0], [0.0, 60.0, 180.0])  # borders at 30, 120 and -90
    np.testing.assert_allclose(found.area_km2 / geo.EARTH_AREA_KM2, [120 / 360, 90 / 360, 150 / 360], rtol=1e-9)


def test_fast_and_exact_construction_agree():
    from geoindex.geocells import voronoi

    xyz = geo.to_unit(*uniform(40, 3))
    fast, exact = voronoi._scipy_corners(xyz), voronoi._cut_corners(xyz)
    assert fast is not None
    for site, (one, other) in enumerate(zip(fast, exact, strict=True)):
        assert voronoi._area_km2(one, xyz[site]) == pytest.approx(voronoi._area_km2(other, xyz[site]), rel=1e-9)


def test_duplicate_sites_have_no_region():
    found = voronoi_polygons(*SITES["duplicates"])
    assert (len(found.rings[1]), found.area_km2[1]) == (0, 0.0)


def test_no_sites_no_polygons():
    assert len(voronoi_polygons([], [])) == 0


def test_sites_off_the_earth_are_refused():
    with pytest.raises(CoordinateError):
        voronoi_polygons([91.0], [0.0])


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 12), st.integers(0, 2**32 - 1), st.floats(-6, 0))
def test_any_clump_of_sites_covers_the_earth(count, seed, log_spread):
    rng = np.random.default_rng(seed)
    lat, lon = geo.from_unit(rng.normal(size=3) / 2 + 10.0**log_spread * rng.normal(size=(count, 3)))
    found = voronoi_polygons(lat, lon)
    assert found.area_km2.sum() == pytest.approx(geo.EARTH_AREA_KM2, rel=1e-6)
    flat = sum(flat_area_km2(piece) for ring in found.rings for piece in flat_pieces(ring))
    assert flat == pytest.approx(geo.EARTH_AREA_KM2, rel=1e-4)


def test_geojson_cuts_at_the_antimeridian_and_names_cells():
    lat, lon = SITES["around the antimeridian"]
    document = json.loads(json.dumps(to_geojson(voronoi_polygons(lat, lon), [{"n": i} for i in range(5)])))
    assert document["type"] == "FeatureCollection"
    kinds = [f["geometry"]["type"] for f in document["features"]]
    assert kinds[2] == "MultiPolygon"
    assert kinds[4] == "Polygon"
    assert document["features"][3]["properties"].keys() == {"cell", "area_km2", "n"}


def test_geojson_of_one_site_is_the_world_and_of_none_is_null():
    (world,) = to_geojson(voronoi_polygons([5.0], [5.0]))["features"]
    assert flat_area_km2(np.array(world["geometry"]["coordinates"][0])) == pytest.approx(geo.EARTH_AREA_KM2)
    assert to_geojson(voronoi_polygons(*SITES["duplicates"]))["features"][1]["geometry"] is None
