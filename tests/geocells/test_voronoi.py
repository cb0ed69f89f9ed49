import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geoindex import geo
from geoindex.errors import CoordinateError
from geoindex.geocells.outlines import flat_pieces, regions_of, to_geojson
from geoindex.geocells.polygons import area_km2
from geoindex.geocells.voronoi import neighbours, voronoi_polygons


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
    assert found.area_km2.sum() == pytest.approx(geo.EARTH_AREA_KM2, rel=1e-9)


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
    assert total == pytest.approx(geo.EARTH_AREA_KM2, rel=1e-9)


@pytest.mark.parametrize("name", list(SITES))
def test_outlines_leave_no_gap_and_do_not_overlap(name):
    import shapely

    rings = [ring for pieces in regions_of(voronoi_polygons(*SITES[name])).pieces for ring in pieces]
    drawn = shapely.union_all([shapely.make_valid(shapely.Polygon(ring)) for ring in rings])
    assert drawn.area == pytest.approx(360.0 * 180.0, rel=1e-9)
    assert sum(shapely.Polygon(ring).area for ring in rings) == pytest.approx(360.0 * 180.0, rel=1e-9)


@pytest.mark.parametrize("name", sorted(SITES.keys() - {"meridian"}))  # there corners are known to decimetres only
def test_outlines_do_not_cross_themselves(name):
    import shapely

    rings = [ring for pieces in regions_of(voronoi_polygons(*SITES[name])).pieces for ring in pieces]
    assert [shapely.is_valid_reason(shapely.Polygon(ring)) for ring in rings] == ["Valid Geometry"] * len(rings)


@pytest.mark.parametrize("off_deg", [0.0, 1e-7, 1e-3, 1.0])
def test_outlines_near_a_pole_keep_their_area(off_deg):
    lat, lon = np.array([90.0 - off_deg, 89.0, 88.0, 88.5]), np.array([20.0, 10.0, 130.0, -110.0])
    found = voronoi_polygons(lat, lon)
    flat = [sum(flat_area_km2(piece) for piece in pieces) for pieces in regions_of(found).pieces]
    np.testing.assert_allclose(flat, found.area_km2, rtol=1e-3)


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
        assert area_km2(one, xyz[site]) == pytest.approx(area_km2(other, xyz[site]), rel=1e-9)


def test_regions_of_close_sites_are_exact():
    from geoindex.geocells import voronoi

    apart = 1e-9  # radians, 6 mm, in the middle of nowhere
    corners = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0], [0.0, 0.0]])
    lat, lon = np.degrees(apart * corners.T)
    found = voronoi_polygons(lat, lon)
    square = (apart * geo.EARTH_RADIUS_KM) ** 2
    assert found.area_km2[4] == pytest.approx(square, rel=1e-5)
    assert voronoi._scipy_corners(geo.to_unit(lat, lon)) is None


def test_the_fast_construction_is_not_believed_with_a_wrong_corner():
    from geoindex.geocells import voronoi

    xyz = geo.to_unit(*uniform(50))
    corners = voronoi._scipy_corners(xyz)
    assert voronoi._is_diagram(corners, xyz)
    moved = [ring + 1e-8 for ring in corners]
    assert not voronoi._is_diagram([ring / np.linalg.norm(ring, axis=1)[:, None] for ring in moved], xyz)
    assert not voronoi._is_diagram([np.empty((0, 3)), *corners[1:]], xyz)


def edge_lengths(xyz: np.ndarray) -> np.ndarray:
    """Length in radians of the edge that each two regions share, by the definition, (C, C); negative: none.

    Along their bisector circle each other site is farther on a half-turn; the edge is what all half-turns share.
    """
    length = np.full((len(xyz), len(xyz)), -1.0)
    for i, j in np.argwhere(~np.eye(len(xyz), dtype=bool)):
        u, v = np.linalg.svd((xyz[i] - xyz[j])[None])[2][1:]
        others = np.delete(xyz, [i, j], axis=0)
        away = np.sort(np.arctan2((xyz[i] - others) @ v, (xyz[i] - others) @ u))
        if np.any(np.all(np.abs(xyz[i] - others) < 1e-12, axis=1)):
            continue  # on top of another site
        gaps = np.diff(np.append(away, away[:1] + 2.0 * np.pi))
        length[i, j] = gaps.max(initial=0.0) - np.pi if len(others) else 2.0 * np.pi
    return length


@pytest.mark.parametrize("name", sorted(SITES.keys() - {"street", "duplicates"}))
def test_neighbours_by_the_definition(name):
    lat, lon = SITES[name]
    expected = [np.flatnonzero(row > 1e-7) for row in edge_lengths(geo.to_unit(lat, lon))]
    for got, want in zip(neighbours(voronoi_polygons(lat, lon), lat, lon), expected, strict=True):
        np.testing.assert_array_equal(got, want)


def test_neighbours_of_duplicates():
    assert [rows.tolist() for rows in neighbours(voronoi_polygons(*SITES["duplicates"]), *SITES["duplicates"])] == [
        [2, 3],
        [],
        [0, 3],
        [0, 2],
    ]


@pytest.mark.parametrize("name", list(SITES))
def test_neighbours_are_mutual(name):
    found = neighbours(voronoi_polygons(*SITES[name]), *SITES[name])
    assert all(row in found[other] for row, others in enumerate(found) for other in others)
    assert all(row not in others for row, others in enumerate(found))


@pytest.mark.parametrize("sites", [uniform(300, 1), uniform(4, 2), clumped(0.01), clumped(1e-3)])
def test_random_regions_have_as_many_edges_as_euler_says(sites):
    found = neighbours(voronoi_polygons(*sites), *sites)
    assert sum(map(len, found)) == 2 * (3 * len(sites[0]) - 6)


@pytest.mark.parametrize("step_deg", [1e-5, 1e-3, 0.1, 2.0])
def test_a_corner_of_four_regions_makes_no_neighbours(step_deg):
    lat, lon = np.meshgrid(40.0 + step_deg * np.arange(7), 5.0 + step_deg * np.arange(7), indexing="ij")
    found = neighbours(voronoi_polygons(lat.ravel(), lon.ravel()), lat.ravel(), lon.ravel())
    assert found[24].tolist() == [17, 23, 25, 31]


@settings(max_examples=40, deadline=None)
@given(st.integers(3, 30), st.integers(0, 2**32 - 1), st.floats(-5, 0.1))
def test_regions_of_sites_on_a_circle_meet_in_a_row(count, seed, log_radius):
    rng = np.random.default_rng(seed)
    bearing = np.sort(rng.uniform(0, 360, count))
    lat, lon = geo.destination(*geo.from_unit(rng.normal(size=3)), bearing, 10.0**log_radius * geo.EARTH_RADIUS_KM)
    found = neighbours(voronoi_polygons(lat, lon), lat, lon)
    beside = [sorted({(row - 1) % count, (row + 1) % count}) for row in range(count)]
    assert [rows.tolist() for rows in found] == beside


def test_no_polygons_have_no_neighbours():
    assert neighbours(voronoi_polygons([], []), [], []) == []


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
    regions = regions_of(voronoi_polygons(lat, lon))
    document = json.loads(json.dumps(to_geojson(regions, [{"n": i} for i in range(5)])))
    assert document["type"] == "FeatureCollection"
    kinds = [f["geometry"]["type"] for f in document["features"]]
    assert kinds[2] == "MultiPolygon"
    assert kinds[4] == "Polygon"
    assert document["features"][3]["properties"].keys() == {"cell", "area_km2", "n"}


def test_geojson_of_one_site_is_the_world_and_of_none_is_null():
    (world,) = to_geojson(regions_of(voronoi_polygons([5.0], [5.0])))["features"]
    assert flat_area_km2(np.array(world["geometry"]["coordinates"][0])) == pytest.approx(geo.EARTH_AREA_KM2)
    assert to_geojson(regions_of(voronoi_polygons(*SITES["duplicates"])))["features"][1]["geometry"] is None


def test_regions_keep_cells_without_land():
    regions = regions_of(voronoi_polygons(*SITES["duplicates"]))
    assert len(regions) == 4
    assert [len(pieces) for pieces in regions.pieces][1] == 0
    assert regions.area_km2[1] == 0
