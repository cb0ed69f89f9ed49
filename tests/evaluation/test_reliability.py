import numpy as np
import pytest

from geoindex.evaluation.reliability import (
    Bin,
    brier_skill,
    calibration_error,
    kept_error,
    reliability,
    risk_coverage,
    risk_saved,
)


def kept(count=20_000, seed=0):
    rng = np.random.default_rng(seed)
    told = rng.beta(1, 8, count)
    return told, rng.random(count) < told


def test_bins_hold_equally_many_by_rising_chance():
    told, right = np.array([0.9, 0.1, 0.2, 0.8]), np.array([True, False, True, False])
    bins = reliability(told, right, bins=2)
    assert [(b.count, b.told, b.right) for b in bins] == [(2, pytest.approx(0.15), 0.5), (2, pytest.approx(0.85), 0.5)]
    assert calibration_error(told, right, bins=2) == pytest.approx(0.35)
    assert [b.count for b in reliability(told, right)] == [1] * 4


def test_chances_that_are_kept_have_no_error_and_skill():
    told, right = kept()
    assert calibration_error(told, right) < 0.01
    assert brier_skill(told, right) > 0.05
    assert calibration_error(np.minimum(2 * told, 1), right) > 0.08


def test_few_answers_leave_an_error_even_where_chances_are_kept():
    errors = [calibration_error(*kept(300, seed)) for seed in range(60)]
    told, _ = kept(300)
    assert kept_error(told) == pytest.approx(np.mean(errors), rel=0.15)
    assert kept_error(kept()[0]) < kept_error(told) / 4
    assert kept_error(np.array([0.0, 1.0])) == 0.0


def test_the_share_of_a_bin_has_an_interval():
    few, many = Bin(10, 0.3, 0.3), Bin(1000, 0.3, 0.3)
    assert few.interval == pytest.approx((0.108, 0.603), abs=1e-3)
    assert many.interval[1] - many.interval[0] < 0.06
    assert Bin(5, 0.1, 0.0).interval[0] == 0.0


def test_the_base_rate_has_no_skill():
    right = np.arange(10) < 3
    assert brier_skill(np.full(10, 0.3), right) == pytest.approx(0.0)
    assert brier_skill(np.full(10, 0.6), right) < 0
    assert brier_skill(right.astype(float), right) == 1.0
    assert np.isnan(brier_skill(np.full(10, 0.3), np.zeros(10, bool)))


def test_the_curve_is_the_mean_risk_of_the_surest():
    assert risk_coverage(np.array([0.1, 0.9, 0.5]), np.array([8.0, 1.0, 3.0])).tolist() == [1.0, 2.0, 4.0]


def test_equally_sure_answers_have_no_order():
    assert risk_coverage(np.ones(4), np.array([0.0, 0.0, 4.0, 4.0])).tolist() == [2.0] * 4


def test_what_is_saved_lies_between_a_random_and_the_best_order():
    risk = np.array([0.0, 1.0, 2.0, 5.0])
    assert risk_saved(-risk, risk) == 1.0
    assert risk_saved(np.ones(4), risk) == 0.0
    assert risk_saved(risk, risk) < 0
    assert np.isnan(risk_saved(risk, np.ones(4)))
    told, right = kept()
    assert 0.1 < risk_saved(told, 1.0 - right) < 1
