import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geoindex.errors import ConfigError, CoordinateError
from geoindex.geo import (
    EARTH_AREA_KM2,
    EARTH_RADIUS_KM,
    HALF_CIRCUMFERENCE_KM,
    check_position,
    chord_to_km,
    coarsen,
    destination,
    distance_km,
    from_unit,
    group_means,
    haversine_km,
    km_to_chord,
    nearest,
    pairwise_km,
    to_unit,
    unit_of,
    valid_positions,
    wrap_lon,
)

METRE = 1e-3
PARIS, NEW_YORK = (48.8566, 2.3522), (40.7128, -74.0060)

lats = st.one_of(st.floats(-90, 90), st.sampled_from([-90.0, 90.0, 0.0, math.nextafter(90, 0), 89.9999999]))
lons = st.one_of(st.floats(-180, 180), st.sampled_from([-180.0, 180.0, 0.0, math.nextafter(180, 0), -179.9999999]))
points = st.tuples(lats, lons)
moderate = settings(max_examples=60, deadline=None)


def everywhere(count, seed=0):
    """Points all over the sphere, with both poles and both sides of the antimeridian among them."""
    rng = np.random.default_rng(seed)
    lat = np.degrees(np.arcsin(rng.uniform(-1, 1, count)))
    lon = rng.uniform(-180, 180, count)
    lat[:4], lon[:4] = [90, -90, 0, 0], [12, -170, 180, -180]
    return lat, lon


@moderate
@given(points)
def test_degrees_survive_unit_vectors(point):
    xyz = to_unit(*point)
    assert np.linalg.norm(xyz) == pytest.approx(1, abs=1e-15)
    lat, lon = from_unit(xyz)
    assert lat == pytest.approx(point[0], abs=1e-6)
    assert haversine_km(lat, lon, *point) < METRE


def test_unit_vectors_of_the_axes():
    axes = [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, -1]]
    np.testing.assert_allclose(to_unit([0, 0, 90, -90], [0, 90, 33, 33]), axes, atol=1e-15)


@moderate
@given(points, st.floats(1e-3, 1e6))
def test_the_length_of_a_vector_does_not_matter(point, length):
    lat, lon = from_unit(length * to_unit(*point))
    assert haversine_km(lat, lon, *point) < METRE


def test_arrays_of_any_shape_become_vectors():
    xyz = to_unit(np.zeros((2, 3)), np.zeros((2, 3)))
    assert xyz.shape == (2, 3, 3)
    assert from_unit(xyz)[0].shape == (2, 3)


def test_paris_to_new_york():
    assert haversine_km(*PARIS, *NEW_YORK) == pytest.approx(5837.249, abs=0.0005)


@moderate
@given(points, points, points)
def test_distance_is_a_metric(a, b, c):
    ab, bc, ac = (float(haversine_km(*p, *q)) for p, q in ((a, b), (b, c), (a, c)))
    assert ab == haversine_km(*b, *a)
    assert haversine_km(*a, *a) == 0
    assert 0 <= ab <= HALF_CIRCUMFERENCE_KM
    assert ac <= ab + bc + METRE


@moderate
@given(points)
def test_antipodes_are_half_a_circumference_apart(point):
    lat, lon = point
    distance_km = haversine_km(lat, lon, -lat, lon - 180 if lon > 0 else lon + 180)
    assert distance_km == pytest.approx(HALF_CIRCUMFERENCE_KM, abs=METRE)


def test_rounding_at_antipodes_gives_no_nan():
    # the haversine of about one pair of antipodes in 25 is a hair above 1
    lat, lon = everywhere(20_000)
    distance_km = haversine_km(lat, lon, -lat, lon + 180)
    np.testing.assert_allclose(distance_km, HALF_CIRCUMFERENCE_KM, atol=METRE)


@moderate
@given(lats, lats, lons, lons)
def test_full_turns_and_poles_make_no_difference(lat1, lat2, lon1, lon2):
    assert haversine_km(lat1, lon1, lat2, lon2) == pytest.approx(haversine_km(lat1, lon1 + 360, lat2, lon2), abs=METRE)
    assert haversine_km(90, lon1, 90, lon2) < METRE
    assert haversine_km(lat1, 180, lat1, -180) < METRE


def test_distances_agree_with_pyproj():
    pyproj = pytest.importorskip("pyproj")
    lat1, lon1 = everywhere(3000, 1)
    lat2, lon2 = everywhere(3000, 2)
    lat2[::3], lon2[::3] = lat1[::3] + np.where(lat1[::3] > 0, -1e-3, 1e-3), lon1[::3]
    geod = pyproj.Geod(a=EARTH_RADIUS_KM * 1000, b=EARTH_RADIUS_KM * 1000)
    _, _, metres = geod.inv(lon1, lat1, lon2, lat2)
    np.testing.assert_allclose(haversine_km(lat1, lon1, lat2, lon2), metres / 1000, rtol=1e-6, atol=1e-6)


def test_all_pairs_at_once_agree_with_single_distances():
    lat, lon = everywhere(300)
    # near pairs and antipodes are where rounding shows
    lat, lon = np.concatenate([lat, lat[:50], -lat[:50]]), np.concatenate([lon, lon[:50] + 1e-5, lon[:50] + 180])
    distance_km = np.concatenate(list(pairwise_km(to_unit(lat, lon), to_unit(lat, lon))))
    assert distance_km.shape == (400, 400)
    np.testing.assert_allclose(distance_km, haversine_km(lat[:, None], lon[:, None], lat, lon), atol=METRE)


@moderate
@given(points, points)
def test_the_chord_tells_the_distance(a, b):
    chord = np.linalg.norm(to_unit(*a) - to_unit(*b))
    assert chord_to_km(chord) == pytest.approx(haversine_km(*a, *b), abs=METRE)


@moderate
@given(st.floats(0, HALF_CIRCUMFERENCE_KM))
def test_km_survive_the_chord(distance_km):
    assert chord_to_km(km_to_chord(distance_km)) == pytest.approx(distance_km, abs=METRE)


def test_chords_beyond_the_sphere_are_clipped():
    assert chord_to_km(2.0000001) == pytest.approx(HALF_CIRCUMFERENCE_KM)
    assert km_to_chord(1e9) == pytest.approx(2)
    assert pytest.approx(4 * math.pi * EARTH_RADIUS_KM**2) == EARTH_AREA_KM2


@pytest.mark.parametrize(
    ("lat", "lon", "wanted"),
    [
        ([-18, -18], [179, -179], (-18.0026, 180)),
        ([80, 80], [0, 180], (90, None)),
        ([-80, -80, -80, -80], [0, 90, 180, -90], (-90, None)),
        ([10, 10], [20, 20], (10, 20)),
        ([0, 90], [40, -3], (45, 40)),
    ],
)
def test_the_mean_of_one_group(lat, lon, wanted):
    (mean_lat,), (mean_lon,) = group_means(lat, lon, np.zeros(len(lat), int), 1)
    assert mean_lat == pytest.approx(wanted[0], abs=1e-4)
    assert wanted[1] is None or abs(mean_lon) == pytest.approx(wanted[1], abs=1e-9)


def test_group_means_are_the_means_of_the_groups():
    lat, lon = everywhere(200)
    group = np.random.default_rng(0).integers(0, 7, 200)
    group[group == 3] = 4
    mean_lat, mean_lon = group_means(lat, lon, group, 9)
    assert mean_lat.shape == mean_lon.shape == (9,)
    assert np.flatnonzero(np.isnan(mean_lat)).tolist() == [3, 7, 8]
    assert np.isnan(mean_lon).tolist() == np.isnan(mean_lat).tolist()
    for g in set(group.tolist()):
        wanted = from_unit(to_unit(lat[group == g], lon[group == g]).mean(axis=0))
        assert haversine_km(mean_lat[g], mean_lon[g], *wanted) < METRE


def test_a_group_of_antipodes_has_no_mean():
    mean_lat, _ = group_means([10, -10, 5], [20, -160, 5], np.array([0, 0, 1]), 2)
    assert np.isnan(mean_lat).tolist() == [True, False]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 60))
def test_nearest_equals_brute_force(seed, count):
    site_lat, site_lon = everywhere(max(count, 4), seed)
    lat, lon = everywhere(40, seed + 1)
    row, distance_km = nearest(site_lat, site_lon, lat, lon)
    brute_km = haversine_km(lat[:, None], lon[:, None], site_lat, site_lon)
    assert row.shape == distance_km.shape == (40,)
    np.testing.assert_allclose(distance_km, brute_km.min(axis=1), atol=METRE)
    np.testing.assert_allclose(brute_km[np.arange(40), row], brute_km.min(axis=1), atol=METRE)


def test_nearest_sees_across_the_antimeridian():
    row, distance_km = nearest([0, 0], [-179, 170], 0, 179.5)
    assert row.tolist() == [0]
    assert distance_km[0] == pytest.approx(math.radians(1.5) * EARTH_RADIUS_KM)


@moderate
@given(points, st.floats(0, 360), st.floats(0, HALF_CIRCUMFERENCE_KM))
def test_one_arrives_at_the_distance_that_one_went(start, bearing_deg, distance_km):
    lat, lon = destination(*start, bearing_deg, distance_km)
    check_position(float(lat), float(lon))
    assert haversine_km(*start, lat, lon) == pytest.approx(distance_km, abs=METRE)


@pytest.mark.parametrize(
    ("start", "bearing_deg", "degrees", "wanted"),
    [
        ((0, 0), 0, 10, (10, 0)),
        ((0, 175), 90, 10, (0, -175)),
        ((80, 0), 0, 20, (80, 180)),
        ((-5, 9), 180, 10, (-15, 9)),
    ],
)
def test_destination_by_compass(start, bearing_deg, degrees, wanted):
    lat, lon = destination(*start, bearing_deg, math.radians(degrees) * EARTH_RADIUS_KM)
    assert haversine_km(lat, lon, *wanted) < METRE


@moderate
@given(st.one_of(st.floats(-1e6, 1e6), st.sampled_from([math.nextafter(180, 181), math.nextafter(-180, -181)])))
def test_wrapped_longitudes_name_the_same_meridian(lon):
    wrapped = float(wrap_lon(lon))
    assert -180 < wrapped <= 180
    assert math.remainder(wrapped - lon, 360) == pytest.approx(0, abs=1e-9)


def test_wrapping_keeps_what_is_in_range():
    np.testing.assert_array_equal(wrap_lon([0, 90, 180, -90]), [0, 90, 180, -90])
    np.testing.assert_array_equal(wrap_lon([-180, 181, 540, -540]), [180, -179, 180, 180])
    assert np.isnan(wrap_lon(np.nan))


@moderate
@given(points, st.one_of(st.floats(0.01, 2000), st.floats(2000, 50_000)))
def test_a_coarse_position_is_near_and_tells_no_more(point, precision_km):
    lat, lon = coarsen(*point, precision_km)
    check_position(lat, lon)
    assert coarsen(lat, lon, precision_km) == (lat, lon)
    if precision_km <= HALF_CIRCUMFERENCE_KM:
        # tiles are 1 to 2 times as wide as asked for, so their corners lie within sqrt(2) of their middle
        assert haversine_km(*point, lat, lon) <= 1.5 * precision_km


@pytest.mark.parametrize("precision_km", [1, 25, 100, 1000])
@pytest.mark.parametrize("lat", [-90, -66.6, 0, 48.8, 89.9])
def test_neighbouring_answers_lie_a_tile_apart(lat, precision_km):
    lon = np.linspace(-180, 180, 2000)
    answers = {coarsen(lat, x, precision_km) for x in lon}
    tile_lat = {answer[0] for answer in answers}
    assert len(tile_lat) == 1
    middles = sorted(answer[1] for answer in answers)
    gaps_km = np.diff([*middles, middles[0] + 360]) / 360 * 2 * HALF_CIRCUMFERENCE_KM
    assert gaps_km.min() * math.cos(math.radians(tile_lat.pop())) >= precision_km * (1 - 1e-9)


def test_both_names_of_a_place_give_one_tile():
    for precision_km in (0.5, 30, 777, 9000):
        assert coarsen(12.3, 180, precision_km) == coarsen(12.3, -180, precision_km)
        assert coarsen(90, 0, precision_km)[0] == pytest.approx(-coarsen(-90, 0, precision_km)[0])
        assert coarsen(90, 0, precision_km)[0] < 90


def test_a_huge_precision_tells_nothing():
    for point in ((90, 180), (-48, 2), (12, -179)):
        assert coarsen(*point, 1e9) == (0, 0)
        assert coarsen(*point, math.inf) == (0, 0)


@pytest.mark.parametrize("precision_km", [0, -1, math.nan])
def test_a_precision_that_is_not_positive_is_refused(precision_km):
    with pytest.raises(ConfigError, match="must be above 0"):
        coarsen(0, 0, precision_km)


BAD = [(91, 0, "swapped"), (-90.1, 0, "swapped"), (0, 180.1, "360"), (0, -999, "360")]
BAD += [(math.nan, 0, "not a number"), (0, math.inf, "not a number")]


@pytest.mark.parametrize(("lat", "lon", "cure"), BAD)
def test_positions_off_the_earth_are_refused(lat, lon, cure):
    for refuse in (lambda: check_position(lat, lon), lambda: coarsen(lat, lon, 1)):
        with pytest.raises(CoordinateError, match=cure) as caught:
            refuse()
        assert str(lat if abs(lat) > 90 else lon) in str(caught.value)


def test_valid_positions_agree_with_the_check():
    edges = [(90, 180), (-90, -180), (0, 0), (-math.inf, 0)] + [(lat, lon) for lat, lon, _ in BAD]
    lat, lon = np.array(edges, float).T
    assert valid_positions(lat, lon).tolist() == [True] * 3 + [False] * (1 + len(BAD))


@moderate
@given(points)
def test_every_point_of_the_earth_passes(point):
    check_position(*point)
    assert valid_positions(*point)


@moderate
@given(points, points)
def test_one_position_is_reckoned_as_many_are(one, other):
    np.testing.assert_allclose(unit_of(*one), to_unit(*one), atol=1e-15)
    assert distance_km(*one, *other) == pytest.approx(float(haversine_km(*one, *other)), abs=METRE)
