import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geoindex.errors import CoordinateError
from geoindex.geo import haversine_km
from geoindex.places import FAR_KM, named_places, nearest_places, place_names, world_outline


def test_table_is_whole_and_on_earth():
    places = named_places()
    columns = (places.lat, places.lon, places.population, places.city, places.region, places.country)
    assert {len(column) for column in columns} == {len(places)}
    assert len(places) > 100_000
    assert np.abs(places.lat).max() <= 90
    assert np.abs(places.lon).max() <= 180
    assert places.population.min() >= 0
    assert all(places.country)
    assert not any("," in country for country in set(places.country))


def test_table_is_shared_and_cannot_be_changed():
    assert named_places() is named_places()
    with pytest.raises(ValueError, match="read-only"):
        named_places().lat[0] = 1.0


@pytest.mark.parametrize(
    ("lat", "lon", "name"),
    [
        (40.7143, -74.0060, "New York City, New York, United States"),
        (-27.15, -109.43, "Hanga Roa, Valparaíso, Chile"),
        (1.2897, 103.8501, "Singapore"),
        (37.566, 126.9784, "Seoul, South Korea"),
    ],
)
def test_known_places(lat, lon, name):
    assert place_names(lat, lon) == [name]


def test_far_from_everything_says_how_far():
    name = place_names([-48.9], [-123.4])[0]
    distance_km = nearest_places([-48.9], [-123.4])[1][0]
    assert distance_km > FAR_KM
    assert name.startswith(f"{distance_km:,.0f} km from ")


@settings(max_examples=30, deadline=None)
@given(st.floats(-90, 90), st.floats(-180, 180))
def test_nearest_is_nearest_everywhere(lat, lon):
    places = named_places()
    rows, distance_km = nearest_places(lat, lon)
    every_km = haversine_km(lat, lon, places.lat, places.lon)
    assert distance_km[0] == pytest.approx(every_km.min(), abs=1e-3)
    assert every_km[rows[0]] == pytest.approx(every_km.min(), abs=1e-3)


def test_antimeridian_is_no_edge():
    assert place_names([-16.8, -16.8], [180.0, -180.0])[0] == place_names(-16.8, -180.0)[0]
    assert "Fiji" in place_names(-16.8, -179.99)[0]


def test_no_positions_give_no_names():
    assert place_names([], []) == []


@pytest.mark.parametrize(("lat", "lon"), [(91.0, 0.0), (0.0, 181.0), (float("nan"), 0.0)])
def test_positions_off_earth_are_refused(lat, lon):
    with pytest.raises(CoordinateError):
        place_names([0.0, lat], [0.0, lon])


def _holds(rings, lat, lon):
    """Tell by counting crossings whether a position lies in an odd number of rings."""
    crossings = 0
    for ring in rings:
        lat1, lon1, lat2, lon2 = *ring[:-1].T, *ring[1:].T
        across = (lat1 > lat) != (lat2 > lat)
        with np.errstate(divide="ignore", invalid="ignore"):
            at = lon1 + (lat - lat1) * (lon2 - lon1) / (lat2 - lat1)
        crossings += int((across & (lon < at)).sum())
    return crossings % 2 == 1


@pytest.mark.parametrize(
    ("lat", "lon", "dry"),
    [
        (48.0, 2.0, True),
        (-25.0, 134.0, True),
        (67.0, 179.5, True),  # Chukotka, both sides of the antimeridian
        (66.8, -175.0, True),
        (-89.5, 0.0, True),
        (-85.5, -179.5, True),
        (0.0, -150.0, False),
        (30.0, 180.0, False),
        (89.0, 0.0, False),
    ],
)
def test_land_is_where_land_is(lat, lon, dry):
    assert _holds(world_outline().land, lat, lon) is dry


def test_caspian_sea_is_a_lake():
    assert _holds(world_outline().lakes, 41.0, 50.5)


def test_no_line_of_the_outline_crosses_the_map():
    world = world_outline()
    for line in (*world.land, *world.lakes, *world.borders):
        step = np.abs(np.diff(line[:, 1]))
        assert np.abs(line[:, 1]).max() <= 180
        assert step[np.maximum(line[:-1, 0], line[1:, 0]) > -90].max() < 20


def test_borders_name_two_countries():
    world = world_outline()
    assert len(world.borders) == len(world.border_countries) > 300
    assert ("France", "Germany") in world.border_countries
