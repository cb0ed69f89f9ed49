import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date

import numpy as np
import pytest

from geoindex.errors import ConfigError, UnreadableImageError
from geoindex.geo import haversine_km, valid_positions
from geoindex.places import named_places
from geoindex.sources.earth.camera import Light
from geoindex.sources.earth.climate import CLIMATES, climate_at, climate_names
from geoindex.sources.earth.culture import LEFT_DRIVING
from geoindex.sources.earth.noise import FIELD_KM, sphere_fields
from geoindex.sources.earth.painter import paint
from geoindex.sources.earth.road import Road
from geoindex.sources.source import Source
from geoindex.sources.synthetic import SyntheticEarth


def _digest(earth, index):
    return earth.read(f"synthetic/3/{index}").tobytes()


def test_scan_lists_what_was_asked_for():
    earth: Source = SyntheticEarth(50, seed=3)
    samples = earth.scan().samples
    assert earth.uri == "synthetic:50?seed=3"
    assert len(samples) == len(set(samples.ids)) == 50
    assert samples[7].id == "synthetic-3-000007"
    assert samples[7].image == "synthetic/3/7"
    assert {"country", "city", "captured_at", "climate", "drive_side"} <= set(samples[7].labels)
    assert 0.0 <= samples[7].heading_deg < 360.0


def test_size_of_pictures_is_part_of_the_uri_only_when_it_differs():
    assert SyntheticEarth(2, image_size=96).uri == "synthetic:2?seed=0&size=96"


@pytest.mark.parametrize("size", [64, 224, 101])
def test_pictures_are_square_rgb(size):
    image = SyntheticEarth(1, image_size=size).read("synthetic/0/0")
    assert image.mode == "RGB"
    assert image.size == (size, size)
    assert np.asarray(image).std() > 10.0


def test_photographs_do_not_depend_on_how_many_there_are():
    few, many = SyntheticEarth(5, seed=3), SyntheticEarth(4000, seed=3)
    assert few.scan().samples.table.equals(many.scan().samples.take(np.arange(5)).table)
    assert _digest(few, 4) == _digest(many, 4)


def test_causes_are_where_the_scan_says():
    earth = SyntheticEarth(30, seed=2)
    samples = earth.scan().samples
    scenes = [earth.causes(image) for image in samples.images]
    assert [s.lat for s in scenes] == samples.lat.tolist()
    assert [s.lon for s in scenes] == samples.lon.tolist()


def test_labels_are_what_the_pictures_show():
    earth = SyntheticEarth(300, seed=2)
    for sample in earth.scan().samples:
        scene = earth.causes(sample.image)
        assert sample.labels["drive_side"] == ("left" if scene.culture.drives_left else "right")
        assert sample.labels["climate"] == climate_by_rule(scene.climate)
        day = date.fromisoformat(sample.labels["captured_at"]).timetuple().tm_yday
        assert day == 1 + int(scene.nuisance.day)


def climate_by_rule(climate):
    coldest, warmest = climate.temperature_c - climate.swing_c, climate.temperature_c + climate.swing_c
    if warmest < 10.0:
        return "polar"
    if climate.rain < 0.28:
        return "arid"
    return "tropical" if coldest >= 18.0 else "cold" if coldest < 0.0 else "temperate"


def test_climates_are_where_people_expect_them():
    where = {
        "polar": (80.0, 20.0), "arid": (23.0, 10.0), "tropical": (-3.0, -60.0), "cold": (55.7, 37.6),
        "temperate": (45.0, 0.0),
    }  # fmt: skip
    lat, lon = np.array(list(where.values())).T
    assert climate_names(lat, lon) == list(where)
    assert set(where) == set(CLIMATES)
    assert climate_names(lat[:0], lon[:0]) == []


def test_many_climates_are_those_of_single_positions(monkeypatch):
    monkeypatch.setattr("geoindex.sources.earth.climate._BLOCK", 64)
    samples = SyntheticEarth(200, seed=5).scan().samples
    single = [climate_by_rule(climate_at(lat, lon)) for lat, lon in zip(samples.lat, samples.lon, strict=True)]
    assert climate_names(samples.lat, samples.lon) == single


def test_another_seed_takes_other_photographs():
    first, second = (SyntheticEarth(20, seed=s).scan().samples for s in (0, 1))
    assert not np.isclose(first.lat, second.lat).any()


def test_threads_and_pickles_draw_the_same():
    earth = pickle.loads(pickle.dumps(SyntheticEarth(9, seed=3, image_size=64)))
    alone = [_digest(earth, i) for i in range(8)]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda i: _digest(earth, i), range(8))) == alone


def test_another_process_draws_the_same():
    code = (
        "import sys, hashlib; from geoindex.sources.synthetic import SyntheticEarth;"
        "image = SyntheticEarth(1, image_size=64).read('synthetic/3/5');"
        "sys.stdout.write(hashlib.sha256(image.tobytes()).hexdigest())"
    )
    import hashlib

    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert other == hashlib.sha256(_digest(SyntheticEarth(1, image_size=64), 5)).hexdigest()


def test_positions_are_valid_and_on_every_inhabited_continent():
    samples = SyntheticEarth(3000).scan().samples
    lat, lon = samples.lat, samples.lon
    assert valid_positions(lat, lon).all()
    cities = {"Denver": (39.7, -105.0), "Brasilia": (-15.8, -47.9), "Berlin": (52.5, 13.4), "Nairobi": (-1.3, 36.8)}
    cities |= {"Delhi": (28.6, 77.2), "Beijing": (39.9, 116.4), "Sydney": (-33.9, 151.2)}
    for city, (city_lat, city_lon) in cities.items():
        assert (haversine_km(lat, lon, city_lat, city_lon) < 2500.0).mean() > 0.01, city
    assert (lat < 0).mean() > 0.08


def test_positions_stay_within_reach_of_their_place():
    samples, places = SyntheticEarth(300).scan().samples, named_places()
    city = samples.label("city")
    for row in range(0, 300, 10):
        same = np.array([i for i, name in enumerate(places.city) if name == city[row]])
        away = haversine_km(samples.lat[row], samples.lon[row], places.lat[same], places.lon[same])
        assert 0.1 < away.min() < 15.1


def test_fields_have_no_seam_at_the_antimeridian_or_the_poles():
    for here, there in (((12.0, 180.0), (12.0, -180.0)), ((90.0, 10.0), (90.0, -170.0))):
        assert sphere_fields(*here) == pytest.approx(sphere_fields(*there), abs=1e-9)
    assert set(sphere_fields(0.0, 0.0)) == set(FIELD_KM)


def test_countries_drive_on_their_side():
    earth = SyntheticEarth(400)
    for image in earth.scan().samples.images:
        scene = earth.causes(image)
        light = Light.of(scene)
        road = Road.of(scene, light, np.random.default_rng(0))
        assert scene.culture.drives_left == (scene.country_code in LEFT_DRIVING)
        assert road.side == (-1 if scene.culture.drives_left else 1)


@pytest.mark.parametrize("index", [0, 4])
def test_driving_on_the_left_mirrors_the_lanes(index):
    """The centre line runs to the right of a camera that drives on the left, and the other way round."""
    earth = SyntheticEarth(50)
    scene = earth.causes(f"synthetic/0/{index}")
    nuisance = replace(scene.nuisance, vanish=0.5, curve=0.0, traffic=0.0, weather="overcast")
    where = {}
    for left in (True, False):
        culture = replace(
            scene.culture, drives_left=left, centre_line="yellow", edge_line=None, double_line=True, paved=2.0
        )
        clear = replace(scene, culture=culture, nuisance=nuisance, urbanity=0.0, snow=0.0, temperature_c=20.0)
        picture = np.asarray(paint(clear, 224, np.random.default_rng(1)), float)
        yellow = (picture[..., 0] - picture[..., 2] > 90) & (np.arange(224)[:, None] > 150)
        assert yellow.sum() > 20
        where[left] = np.nonzero(yellow)[1].mean()
    assert where[True] > 122 > 102 > where[False]


def test_near_pairs_look_more_alike_than_far_pairs():
    earth = SyntheticEarth(400, image_size=64)
    samples = earth.scan().samples
    small = np.stack([np.asarray(earth.read(i).reduce(8), float).ravel() for i in samples.images])
    a, b = np.triu_indices(len(small), 1)
    apart_km = haversine_km(samples.lat[a], samples.lon[a], samples.lat[b], samples.lon[b])
    unlike = np.abs(small[a] - small[b]).mean(axis=1)
    assert unlike[apart_km < 300.0].mean() < 0.92 * unlike[apart_km > 4000.0].mean()


def test_causes_tell_the_place():
    earth = SyntheticEarth(800)
    samples = earth.scan().samples
    features = np.stack([earth.causes(image).place_features() for image in samples.images])
    assert features.dtype == np.float32
    assert np.isfinite(features).all()
    distance = ((features[:80, None] - features[None, 80:]) ** 2).sum(-1)
    found = 80 + distance.argmin(axis=1)
    error_km = haversine_km(samples.lat[:80], samples.lon[:80], samples.lat[found], samples.lon[found])
    assert np.median(error_km) < 300.0


def test_place_features_ignore_nuisance():
    scene = SyntheticEarth(9).causes("synthetic/0/8")
    other = replace(scene, nuisance=replace(scene.nuisance, weather="fog", day=3.0), temperature_c=-5.0, snow=1.0)
    assert np.array_equal(scene.place_features(), other.place_features())


@pytest.mark.parametrize(
    "locator", ["", "synthetic/0", "synthetic/0/-1", "synthetic/0/x", "photo.jpg", "synthetic/0/1/2"]
)
def test_bad_locators_are_refused_by_name(locator):
    earth = SyntheticEarth(3)
    for use in (earth.read, earth.causes):
        with pytest.raises(UnreadableImageError, match="synthetic/SEED/INDEX"):
            use(locator)


@pytest.mark.parametrize(
    "numbers", [{"count": 0}, {"count": -2}, {"count": 1, "seed": -1}, {"count": 1, "image_size": 8}]
)
def test_impossible_numbers_are_refused(numbers):
    with pytest.raises(ConfigError, match=str(list(numbers.values())[-1])):
        SyntheticEarth(**numbers)
