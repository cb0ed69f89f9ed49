"""Intervals: their width against theory, and how often they hold the truth."""

import numpy as np
import pytest

from geoindex.evaluation.intervals import estimate_mean, resampled, spread_of
from geoindex.metrics import measure

COUNTRIES = np.array(["US"] * 80 + ["FJ"] * 20)


@pytest.fixture
def distance_km():
    return np.random.default_rng(0).exponential(500.0, 100)


def test_the_interval_of_a_mean_is_that_of_theory(distance_km):
    spread = spread_of(distance_km, COUNTRIES, seed=0, draws=4000)
    width = spread.high.mean_km - spread.low.mean_km
    assert width == pytest.approx(2 * 1.96 * distance_km.std() / 10, rel=0.1)


def test_metrics_lie_inside_their_intervals(distance_km):
    spread, metrics = spread_of(distance_km, COUNTRIES, seed=0), measure(distance_km)
    for name in ("mean_km", "median_km", "geoscore"):
        assert getattr(spread.low, name) < getattr(metrics, name) < getattr(spread.high, name)
        low, high = getattr(spread.balanced_low, name), getattr(spread.balanced_high, name)
        assert low < getattr(spread.balanced, name) < high
    for radius, share in metrics.accuracy.items():
        assert spread.low.accuracy[radius] <= share <= spread.high.accuracy[radius]
    assert spread.balanced == measure(distance_km, groups=COUNTRIES)


def test_nineteen_of_twenty_intervals_hold_the_truth():
    rng = np.random.default_rng(0)
    held = 0
    for seed in range(200):
        found = estimate_mean(rng.normal(7.0, 2.0, 60), np.zeros(60), seed, draws=300)
        held += found.low <= 7.0 <= found.high
    assert 0.89 < held / 200 < 0.99


def test_answers_to_one_query_are_resampled_together(distance_km):
    once = spread_of(distance_km, COUNTRIES, seed=0)
    thrice = spread_of(np.tile(distance_km, 3), COUNTRIES, seed=0)
    assert thrice.low.mean_km == pytest.approx(once.low.mean_km)
    assert thrice.balanced.mean_km == pytest.approx(once.balanced.mean_km)
    assert thrice.low.count == 300


def test_chunks_do_not_change_the_draws(monkeypatch):
    whole = np.concatenate(list(resampled(10, 3, 20)))
    monkeypatch.setattr("geoindex.evaluation.intervals.CHUNK_COUNTS", 35)
    np.testing.assert_array_equal(np.concatenate(list(resampled(10, 3, 20))), whole)
    assert (whole.sum(axis=1) == 10).all()


def test_a_figure_that_some_queries_lack_is_the_mean_of_the_others():
    found = estimate_mean(np.array([100.0, 0, 100, np.nan]), np.array(["US", "US", "FJ", "FJ"]), seed=0)
    assert (found.value, found.count, found.balanced) == (pytest.approx(200 / 3), 3, pytest.approx(75))
    assert estimate_mean(np.full(3, np.nan), np.array(list("abc")), seed=0) is None
