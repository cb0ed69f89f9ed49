import json

import numpy as np
import pytest

from geoindex.calibration import (
    GRID_KM,
    PRIOR_PHOTOS,
    Calibration,
    Odds,
    Spread,
    fit_calibration,
    likeness,
    reach_of,
)
from geoindex.estimate import Posterior
from geoindex.geo import destination

AS_IT_IS = Odds(0.0, [1.0, 1.0, 1.0])


def ring(distance_km, probability):
    """A posterior whose points lie so far north of (0, 0)."""
    lat, lon = destination(0.0, 0.0, 0.0, np.array(distance_km, float))
    return Posterior(lat, lon, np.array(probability, float), np.array(probability, float))


def spread_of(posterior, reach_km):
    """How a posterior lies around (0, 0)."""
    return Spread.of(posterior.mass_around(0.0, 0.0), reach_km)


def calibration(**lines):
    within = {"25": AS_IT_IS, "200": AS_IT_IS, "750": AS_IT_IS} | lines
    return Calibration("score", 100, 10, [0.0], within, {"50": 0.5, "90": 0.9})


THREE = ring([10, 100, 5000], [0.2, 0.5, 0.3])


def test_the_mass_inside_a_radius_is_that_of_the_points_there():
    spread = spread_of(THREE, [0.0])
    assert spread.within(5, 50, 1000, 9000) == pytest.approx([0.0, 0.2, 0.7, 1.0])
    assert spread.radius_km(0.6, 0.9) == pytest.approx([100, 5000], rel=0.05)


def test_reach_spreads_points_crosswise():
    certain = spread_of(ring([0.0], [1.0]), [3.0, 40.0])
    assert certain.within(1, 20, 100) == pytest.approx([0.0, 0.5, 1.0])
    beside = spread_of(ring([30.0], [1.0]), [40.0])
    assert beside.within(47, 53) == [0.0, 1.0]  # 3, 4, 5


def test_the_whole_earth_holds_everything():
    spread = spread_of(ring([20_000.0], [1.0]), [3000.0])
    assert spread.within(GRID_KM[-1]) == [1.0]
    assert np.all(np.diff(spread.held) >= 0)


def draws(count, seed=0):
    """Spreads of random width, and the distance of a truth that is drawn as each says."""
    rng = np.random.default_rng(seed)
    width = rng.uniform(20, 3000, count)
    points_km = width[:, None] * np.sqrt(rng.exponential(size=(count, 60)))
    spreads = [spread_of(ring(km, np.full(60, 1 / 60)), [0.0]) for km in points_km]
    return spreads, width * np.sqrt(rng.exponential(size=count))


def test_masses_that_are_right_stay_as_they_are():
    found = fit_calibration("score", *draws(1000), [0.0], np.arange(1000))
    assert found.shares["50"] == pytest.approx(0.5, abs=0.05)
    assert found.shares["90"] == pytest.approx(0.9, abs=0.03)
    mass = np.linspace(0.05, 0.95, 2000)
    odds = Odds.fit(mass, np.random.default_rng(0).random(2000) < mass, np.ones(2000))
    assert [odds.intercept, *odds.slopes] == pytest.approx([0.0, 1.0, 1.0, 1.0], abs=0.2)


def test_posteriors_that_are_too_sure_are_told_so():
    spreads, distance_km = draws(1000)
    found = fit_calibration("score", spreads, 3 * distance_km, [0.0], np.arange(1000))
    fresh, fresh_km = draws(500, seed=1)
    held = [np.mean(3 * fresh_km < [s.radius_km(share)[0] for s in fresh]) for share in (0.9, found.shares["90"])]
    assert held[0] < 0.5 < 0.85 < held[1]
    odds, mass = found.within["200"], np.clip([spread.within(200.0)[0] for spread in fresh], 1e-6, 1 - 1e-6)
    told = np.array([odds.chance(each) for each in mass])
    right = np.mean(3 * fresh_km < 200)
    assert abs(told.mean() - right) < 0.03 < abs(mass.mean() - right)


def test_photos_count_by_their_weight():
    mass, hit = np.full(400, 0.5), np.arange(400) < 380
    assert Odds.fit(mass, hit, np.ones(400)).intercept > 2
    assert 0 < Odds.fit(mass, hit, np.full(400, 1 / 400)).intercept < 0.1


def test_photos_of_one_author_count_as_one_if_they_are_alike():
    spreads, distance_km = draws(20)
    twenty = fit_calibration("score", spreads, 3 * distance_km, [0.0], np.arange(20))
    copies = fit_calibration("score", spreads * 10, np.tile(3 * distance_km, 10), [0.0], np.tile(np.arange(20), 10))
    assert copies.groups == 20
    assert copies.shares == twenty.shares
    assert copies.within["200"].intercept == pytest.approx(twenty.within["200"].intercept, rel=1e-3)
    assert copies.within["200"].slopes == pytest.approx(twenty.within["200"].slopes, rel=1e-3)


def test_photos_of_one_author_count_as_many_if_they_are_not():
    spreads, distance_km = draws(400)
    alone, together = (
        fit_calibration("score", spreads, 3 * distance_km, [0.0], group)
        for group in (np.arange(400), np.arange(400) % 8)
    )
    assert together.within["200"].intercept == pytest.approx(alone.within["200"].intercept, rel=0.2)


def test_likeness_is_the_share_of_the_variance_that_groups_have():
    rng = np.random.default_rng(0)
    number, size = np.repeat(np.arange(500), 4), np.full(500, 4)
    values = 2.0 * rng.standard_normal(500)[number] + rng.standard_normal(2000)
    assert likeness(values, number, size) == pytest.approx(0.8, abs=0.03)
    assert likeness(rng.standard_normal(2000), number, size) < 0.05
    assert likeness(np.ones(2000), number, size) == 1.0


def test_few_groups_move_little_from_the_masses():
    mass, hit = np.linspace(0.01, 0.99, 20), np.zeros(20, bool)
    odds = Odds.fit(mass, hit, np.ones(20))
    assert -20 / PRIOR_PHOTOS < odds.intercept < 0
    assert all(0 <= slope < 2 for slope in odds.slopes)


def test_more_mass_never_makes_an_answer_less_sure():
    mass = np.linspace(0.01, 0.99, 400)
    chances = [Odds.fit(mass, mass < 0.5, np.ones(400)).chance(each) for each in mass]
    assert np.all(np.diff(chances) >= 0)
    assert Odds.fit(mass, mass < 0.5, np.ones(400)).slopes[1] == 0.0


def test_masses_that_are_too_sure_of_some_and_too_modest_of_others_are_told_so():
    rng = np.random.default_rng(0)
    mass = rng.uniform(0.01, 0.99, 4000)
    log_odds = np.log(mass / (1 - mass))
    true = 1 / (1 + np.exp(-3 * np.clip(log_odds, -1.1, 1.1) - 0.3 * (log_odds - np.clip(log_odds, -1.1, 1.1))))
    odds = Odds.fit(mass, rng.random(4000) < true, np.ones(4000))
    told = np.array([odds.chance(each) for each in mass])
    assert np.abs(told - true).mean() < 0.03 < np.abs(mass - true).mean()


def test_the_one_slope_of_older_indexes_is_read():
    odds = Odds.from_dict({"intercept": 0.5, "slope": 1.2})
    assert [odds.chance(mass) for mass in (0.1, 0.5, 0.9)] == pytest.approx([0.1056, 0.6225, 0.9584], abs=1e-4)


def test_an_answer_gets_its_chances_and_two_radii():
    sure = calibration().certainty(THREE.mass_around(0.0, 0.0))
    assert sure.within_km == pytest.approx({"25": 0.2, "200": 0.7, "750": 0.7})
    assert (sure.radius50_km, sure.radius90_km) == pytest.approx((100, 5000), rel=0.05)


def test_a_larger_radius_is_never_less_likely():
    lines = {"25": Odds(1.0, [0.0] * 3), "200": Odds(-1.0, [0.0] * 3)}
    within = calibration(**lines).certainty(THREE.mass_around(0.0, 0.0)).within_km
    assert within == pytest.approx({"25": 0.731, "200": 0.731, "750": 0.731}, abs=0.001)


def test_it_is_kept_as_json():
    spreads, distance_km = draws(100)
    found = fit_calibration("score", spreads, distance_km, reach_of(distance_km), np.arange(100) // 5)
    assert found.groups == 20
    assert Calibration.from_dict(json.loads(json.dumps(found.to_dict()))) == found
