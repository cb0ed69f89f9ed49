import math

import numpy as np
import pytest

from geoindex.geo import HALF_CIRCUMFERENCE_KM
from geoindex.metrics import GEOSCORE_MAX, RADII_KM, accuracy, geoscore, measure

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
