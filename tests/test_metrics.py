import math

import numpy as np
import pytest

from geoindex.errors import ConfigError
from geoindex.geo import HALF_CIRCUMFERENCE_KM
from geoindex.metrics import (
    CONVENTIONS,
    GEOSCORE_MAX,
    RADII_KM,
    accuracy,
    convention_of,
    geoscore,
    information_gain_bits,
    measure,
    weighted_medians,
)

SCORES = {
    0: 5000, 1: 4996.65, 25: 4916.96, 100: 4676.01, 200: 4373.01, 750: 3025.25, 1492.7: 1839.40, 2500: 936.71,
    20015.1: 0.01,
}  # fmt: skip


@pytest.mark.parametrize(("distance_km", "score"), SCORES.items())
def test_geoscore(distance_km, score):
    assert geoscore(distance_km) == pytest.approx(score, abs=0.005)


def test_geoscore_falls_from_5000_and_is_not_rounded():
    scores = geoscore(np.linspace(0, HALF_CIRCUMFERENCE_KM, 1000))
    assert scores[0] == GEOSCORE_MAX
    assert (np.diff(scores) < 0).all()
    assert scores[1] != np.round(scores[1])


def test_a_distance_of_the_radius_itself_does_not_count():
    assert accuracy([25.0], 25.0) == 0
    assert accuracy([math.nextafter(25.0, 0)], 25.0) == 1
    assert accuracy([24.9, 25, 25.1, 3], 25) == 0.5


def test_measure_sums_up():
    metrics = measure([0, 1, 30, 100, 3000])
    assert (metrics.count, metrics.mean_km, metrics.median_km) == (5, pytest.approx(626.2), 30)
    assert metrics.geoscore == pytest.approx(geoscore([0, 1, 30, 100, 3000]).mean())
    assert metrics.accuracy == {"1": 20, "25": 40, "50": 60, "200": 80, "750": 80, "2500": 80}


def test_shares_rise_with_the_radius():
    distance_km = np.random.default_rng(0).uniform(0, 5000, 300)
    shares = list(measure(distance_km).accuracy.values())
    assert len(shares) == len(RADII_KM)
    assert shares == sorted(shares)


@pytest.mark.parametrize("distances", [[], [1.0, math.nan], [math.inf]])
def test_what_is_no_distance_is_refused(distances):
    with pytest.raises(ValueError, match="at least one distance, all of them finite"):
        measure(distances)


def atan2_km(lat1, lon1, lat2, lon2, radius_km):
    """The haversine as OSV-5M and PLONK write it."""
    phi1, lam1, phi2, lam2 = np.radians([lat1, lon1, lat2, lon2])
    a = np.sin((phi2 - phi1) / 2) ** 2 + np.cos(phi1) * np.cos(phi2) * np.sin((lam2 - lam1) / 2) ** 2
    return 2 * radius_km * np.arctan2(np.sqrt(a), np.sqrt(1 - a))


def arcsin_km(lat1, lon1, lat2, lon2, radius_km):
    """The haversine as PIGEON writes it."""
    phi1, lam1, phi2, lam2 = np.radians([lat1, lon1, lat2, lon2])
    a = np.sin((phi2 - phi1) / 2) ** 2 + np.cos(phi1) * np.cos(phi2) * np.sin((lam2 - lam1) / 2) ** 2
    return 2 * radius_km * np.arcsin(np.sqrt(a))


@pytest.fixture(scope="module")
def pairs():
    """10,000 random pairs on the sphere: lat1, lon1, lat2, lon2."""
    rng = np.random.default_rng(0)
    lat = np.degrees(np.arcsin(rng.uniform(-1, 1, (2, 10_000))))
    lon = rng.uniform(-180, 180, (2, 10_000))
    return lat[0], lon[0], lat[1], lon[1]


@pytest.mark.parametrize(("name", "formula", "radius_km"), [("osv5m", atan2_km, 6371), ("pigeon", arcsin_km, 6378.137)])
def test_spheres_of_others(pairs, name, formula, radius_km):
    np.testing.assert_allclose(CONVENTIONS[name].distance_km(*pairs), formula(*pairs, radius_km), rtol=1e-12)


def test_geodesics_are_those_of_geopy(pairs):
    """Against what geopy 2.5.0 gives for these pairs."""
    distance_km = CONVENTIONS["geoclip"].distance_km(*pairs)
    assert distance_km.mean() == pytest.approx(9948.775375646524, rel=1e-14)
    assert distance_km.std() == pytest.approx(4353.31773136946, rel=1e-13)
    first = [15657.533146959982, 11015.382867984683, 11846.413484607525, 13519.362757792373, 14444.87894880103]
    np.testing.assert_allclose(distance_km[:5], first, rtol=1e-15)
    assert distance_km.max() == pytest.approx(19986.19625328, abs=1e-7)


PARIS_NEW_YORK = {"osv5m": 5837.241, "geoindex": 5837.249, "pigeon": 5843.780}


@pytest.mark.parametrize(("name", "distance_km"), PARIS_NEW_YORK.items())
def test_paris_to_new_york(name, distance_km):
    found = CONVENTIONS[name].distance_km(48.8566, 2.3522, 40.7128, -74.0060)
    assert found == pytest.approx(distance_km, abs=5e-4)


def test_metrics_of_others(pairs):
    """OSV-5M: strict, unrounded. PIGEON: strict, every score rounded. GeoCLIP: the radius itself counts."""
    for name, convention in CONVENTIONS.items():
        km = convention.distance_km(*pairs)
        km[:3] = 25.0, 200.0, 2500.0
        metrics = measure(km, convention)
        score = 5000 * np.exp(-km / 1492.7)
        score = np.round(score) if name == "pigeon" else score
        assert metrics.geoscore == pytest.approx(score.mean(), rel=1e-13)
        for radius, share in metrics.accuracy.items():
            hits = km <= float(radius) if name == "geoclip" else km < float(radius)
            assert share == pytest.approx(100 * hits.mean(), rel=1e-13)
        assert (metrics.mean_km, metrics.median_km) == (pytest.approx(km.mean(), rel=1e-13), np.median(km))


def test_a_convention_must_be_one():
    with pytest.raises(ConfigError, match="No convention 'im2gps'; choose one of geoindex, osv5m, pigeon, geoclip"):
        convention_of("im2gps")


def test_every_country_counts_alike():
    km, country = np.array([10.0, 10, 10, 10, 1000]), np.array(["US", "US", "US", "US", "FJ"])
    metrics = measure(km, groups=country)
    assert (metrics.count, metrics.mean_km, metrics.accuracy["25"]) == (5, pytest.approx(505), pytest.approx(50))
    assert metrics.median_km == pytest.approx(505)  # half of the weight lies at either
    assert measure(km, groups=np.array(list("abcde"))).mean_km == pytest.approx(measure(km).mean_km)


@pytest.mark.parametrize("count", [1, 2, 3, 10, 101])
def test_medians_of_equal_weights_are_the_usual_ones(count):
    rng = np.random.default_rng(count)
    values = rng.integers(0, 5, count).astype(float)
    for weight in (1.0, 1 / 3, 1 / count):
        assert weighted_medians(values, np.full((1, count), weight))[0] == np.median(values)


def test_medians_of_counts_are_those_of_repeated_values():
    rng = np.random.default_rng(1)
    values, counts = rng.normal(size=30), rng.integers(0, 4, (50, 30))
    wanted = [np.median(np.repeat(values, row)) for row in counts]
    np.testing.assert_array_equal(weighted_medians(values, counts.astype(float)), wanted)


def test_information_is_counted_in_bits():
    assert information_gain_bits([0.5, 0.125, 0.01], [0.125, 0.125, 0.04]).tolist() == pytest.approx([2, 0, -2])
    assert np.isfinite(information_gain_bits([0.0], [0.1])).all()
