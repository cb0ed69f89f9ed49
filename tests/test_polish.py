import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoindex.estimate import LEAST_KM, MOST_SCORE
from geoindex.geo import haversine_km, to_unit
from geoindex.polish import polished

CORNERS = np.array([0.0, 0.0, 10.0]), np.array([0.0, 10.0, 5.0])
EVEN = np.full(3, 1 / 3)


def expected(gain, at, lat, lon, mass):
    return float(mass @ gain.worth(haversine_km(*at, lat, lon)))


@pytest.mark.parametrize(("gain", "size"), [(LEAST_KM, 1.0), (MOST_SCORE, 0.4)])
def test_between_three_places_lies_a_better_point(gain, size):
    places, start = (CORNERS[0] * size, CORNERS[1] * size), (10.0 * size, 5.0 * size)
    found = polished(start, to_unit(*places), EVEN, gain)
    assert 0 < found[0] < start[0]
    assert found[1] == pytest.approx(start[1], abs=0.01)
    assert expected(gain, found, *places, EVEN) > expected(gain, start, *places, EVEN) + gain.least


def test_a_place_that_holds_half_is_not_left():
    assert polished((10.0, 5.0), to_unit(*CORNERS), np.array([0.2, 0.25, 0.55]), LEAST_KM) == (10.0, 5.0)


def test_a_move_that_brings_next_to_nothing_is_not_made():
    near = CORNERS[0] / 1000, CORNERS[1] / 1000
    assert polished((0.01, 0.005), to_unit(*near), EVEN, LEAST_KM) == (0.01, 0.005)


def test_it_comes_near_the_geometric_median_across_the_date_line():
    lat, lon = np.array([0.0, 20.0, -20.0, 0.0]), np.array([170.0, -180.0, 180.0, -170.0])
    found = polished((0.0, 170.0), to_unit(lat, lon), np.full(4, 0.25), LEAST_KM)
    assert haversine_km(*found, 0.0, 180.0) < 150


@given(st.integers(0, 10_000), st.sampled_from([LEAST_KM, MOST_SCORE]))
def test_it_is_never_worse_than_the_start(seed, gain):
    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, 20))
    lat, lon = rng.uniform(-90, 90, count), rng.uniform(-180, 180, count)
    mass, start = rng.dirichlet(np.ones(count)), (float(lat[0]), float(lon[0]))
    found = polished(start, to_unit(lat, lon), mass, gain)
    assert np.isfinite(found).all()
    assert expected(gain, found, lat, lon, mass) >= expected(gain, start, lat, lon, mass) - 1e-6
