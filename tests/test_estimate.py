import numpy as np
import pytest

from geoindex.errors import ConfigError
from geoindex.estimate import MOST_SCORE, Posterior, choose_rule, estimate_point
from geoindex.geo import haversine_km
from geoindex.metrics import geoscore

EUROPE = [(48.0, 2.0), (50.0, 4.0), (52.0, 5.0)]


def posterior(points, probability, score=None):
    lat, lon = np.array(points, float).T
    probability = np.array(probability, float)
    return Posterior(lat, lon, probability, np.array(probability if score is None else score, float))


def test_nearest_takes_the_closest_embedding_and_posterior_the_likeliest():
    p = posterior(EUROPE, [0.2, 0.5, 0.3], score=[0.9, 0.1, 0.2])
    assert estimate_point(p, "nearest") == EUROPE[0]
    assert estimate_point(p, "posterior") == EUROPE[1]


def test_posterior_never_answers_with_an_unprobed_cell():
    p = posterior([*EUROPE, (0.0, 0.0)], [0.1, 0.1, 0.2, 0.6], score=[0.5, 0.4, 0.3])
    assert estimate_point(p, "posterior") == EUROPE[2]


def test_weak_evidence_moves_the_answer_to_where_most_mass_is_near():
    p = posterior([*EUROPE, (-33.0, 151.0)], [0.2, 0.2, 0.2, 0.4])
    assert estimate_point(p, "posterior") == (-33.0, 151.0)
    assert estimate_point(p, "score") == EUROPE[1]
    assert haversine_km(*estimate_point(p, "distance"), *EUROPE[1]) < 300
    assert estimate_point(p, "distance", between=False) == EUROPE[2]


def test_a_certain_posterior_gives_every_rule_the_same_point():
    p = posterior(EUROPE, [0.0, 1.0, 0.0])
    assert {estimate_point(p, rule) for rule in ("nearest", "posterior", "distance", "score")} == {EUROPE[1]}


def test_the_distance_rule_is_at_least_as_good_as_every_point():
    rng = np.random.default_rng(0)
    lat, lon, mass = rng.uniform(-80, 80, 30), rng.uniform(-180, 180, 30), rng.dirichlet(np.ones(30))

    def expected_km(at_lat, at_lon):
        return (haversine_km(at_lat, at_lon, lat, lon) * mass).sum()

    found = expected_km(*estimate_point(posterior(np.stack([lat, lon], 1), mass), "distance"))
    least = min(expected_km(a, b) for a, b in zip(lat, lon, strict=True))
    assert least - 1000 < found < least + 1.0


@pytest.mark.parametrize("between", [True, False])
def test_of_points_as_good_as_the_best_the_one_with_most_near_it_answers(between):
    # a lone point in the middle, and two neighbours 250 km off
    places = [(50.0, 4.0), (50.0, 7.5), (50.1, 7.6), (50.0, 0.5)]

    def answer(lone, pair):
        p = posterior(places, [lone, pair, pair, 1 - lone - 2 * pair])
        worth = [geoscore(haversine_km(*at, p.lat, p.lon)) @ p.probability for at in places]
        return worth[0] - worth[1], estimate_point(p, "score", between=between)

    gap, point = answer(0.25, 0.24)
    assert 0 < gap < MOST_SCORE.least
    assert point == places[1]
    gap, point = answer(0.25, 0.235)
    assert gap > MOST_SCORE.least
    assert point == places[0]


def test_the_radius_holds_half_of_the_mass():
    p = posterior([(0.0, 0.0), (0.0, 1.0), (0.0, 90.0)], [0.4, 0.2, 0.4])
    mass = p.mass_around(0.0, 0.0)
    assert mass.radius_km() == pytest.approx(111.195, abs=0.01)
    assert mass.radius_km(share=0.9) == pytest.approx(10007.5, abs=0.1)


def test_an_unknown_rule_lists_the_known():
    with pytest.raises(ConfigError, match="nearest, posterior, distance, score"):
        estimate_point(posterior(EUROPE, [1, 0, 0]), "best")


def test_the_rule_is_chosen_by_geoscore():
    far = [posterior([*EUROPE, (-33.0, 151.0)], [0.2, 0.2, 0.2, 0.4])] * 3
    rule, scores = choose_rule(far, np.full(3, 50.0), np.full(3, 4.0))
    assert rule in ("distance", "score")
    assert scores[rule] == pytest.approx(5000)
    assert scores["posterior"] < 10


def test_a_better_rule_must_be_better_for_certain():
    sure, unsure = posterior(EUROPE, [0.2, 0.5, 0.3], score=[0.9, 0.1, 0.2]), posterior(EUROPE, [1, 0, 0])
    lat, lon = np.array(EUROPE, float).T
    # nearest is right where score is not, once in twenty and nineteen times in twenty
    once = [sure, *[unsure] * 19]
    mostly = [*[sure] * 19, unsure]
    truth = np.full(20, lat[0]), np.full(20, lon[0])
    rule, scores = choose_rule(once, *truth)
    assert scores["nearest"] > scores["score"]
    assert rule == "score"
    assert choose_rule(mostly, *truth)[0] == "nearest"


def test_photos_of_one_author_choose_as_one():
    sure, unsure = posterior(EUROPE, [0.2, 0.5, 0.3], score=[0.9, 0.1, 0.2]), posterior(EUROPE, [1, 0, 0])
    lat, lon = np.array(EUROPE, float).T
    truth, photos = (np.full(20, lat[0]), np.full(20, lon[0])), [*[sure] * 19, unsure]
    assert choose_rule(photos, *truth, np.arange(20))[0] == "nearest"
    # nineteen photos of one author speak for it, and one of another does not
    assert choose_rule(photos, *truth, np.array([0] * 19 + [1]))[0] == "score"
    # nor do nineteen of one alone, or of nine: how far authors differ is not known
    assert choose_rule(photos[:19], *(each[:19] for each in truth), np.zeros(19, int))[0] == "score"
    assert choose_rule(photos[:18], *(each[:18] for each in truth), np.arange(18) % 9)[0] == "score"
    assert choose_rule(photos[:18], *(each[:18] for each in truth), np.arange(18))[0] == "nearest"
