"""Candidates -> one point and a radius: rules of estimation, and the choice among them.

* nearest: centroid of the cluster with the closest geo-embedding (the paper, section 3.5).
* posterior: centroid of the most probable cluster, argmax p(m).
* distance: the point, out of all that carry probability, with the least expected km.
* score: the same with the largest expected GeoScore.

The last two do not tell points apart whose worth differs by less than a km, or 10 points of GeoScore. They leave a
point of the posterior for one between its points only where that brings as much, for no photo was taken there. And of
its points that are as good as the best they take the one with most of the probability near it: there more answers are
exactly right.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from geoindex.errors import ConfigError
from geoindex.geo import chord_to_km, haversine_km, pairwise_km, to_unit, unit_of
from geoindex.mass import MassAround
from geoindex.metrics import geoscore
from geoindex.polish import Gain, polished

Floats = NDArray[np.float64]

MAX_ANSWERS = 16
"""Points that may be the answer of `distance` and `score`: the most probable ones. More of them gain no expected
GeoScore (`benchmarks/README.md`)."""

MAX_WITNESSES = 2048
"""Points that they are weighed by; those beyond carry the least probability."""

MIN_GROUPS = 10
"""Authors, sequences or blocks of validation photos below which nothing is learned from how they spread."""

NEAR_KM = 100.0
"""Distance over which a point stops being near another."""


@dataclass(frozen=True)
class Posterior:
    """Where a photo may have been taken: points with probabilities that sum to 1.

    Clusters of the probed cells come first, by falling probability; then the centroids of the other cells.

    Attributes:
        lat, lon: the points in degrees, (P,).
        probability: of each point, (P,).
        score: cosine with the cluster's geo-embedding, (K,), K <= P: only the clusters have one.
    """

    lat: Floats
    lon: Floats
    probability: Floats
    score: Floats

    @cached_property
    def units(self) -> Floats:
        """The points as unit vectors, (P, 3)."""
        return to_unit(self.lat, self.lon)

    def distance_km(self, lat: float, lon: float) -> Floats:
        """Return how far each point is from a position in degrees, (P,)."""
        away = self.units - unit_of(lat, lon)
        return chord_to_km(np.sqrt((away * away).sum(axis=1)))

    def mass_around(self, lat: float, lon: float) -> MassAround:
        """Return how the probability lies around a position in degrees."""
        return MassAround.of(self.distance_km(lat, lon), self.probability)

    def heaviest(self, count: int) -> NDArray[np.int64]:
        """Return the `count` most probable points, the likeliest first."""
        return np.argsort(-self.probability, kind="stable")[:count]


Rule = Callable[[Posterior, bool], tuple[float, float]]
"""Takes a posterior, and whether a point between its points may answer."""


def nearest_point(posterior: Posterior, between: bool) -> tuple[float, float]:
    """Return the centroid of the cluster with the closest geo-embedding."""
    return _position(posterior, int(np.argmax(posterior.score)))


def posterior_point(posterior: Posterior, between: bool) -> tuple[float, float]:
    """Return the centroid of the most probable cluster."""
    return _position(posterior, int(np.argmax(posterior.probability[: len(posterior.score)])))


def distance_point(posterior: Posterior, between: bool) -> tuple[float, float]:
    """Return the point with the least expected distance."""
    return _best_point(posterior, LEAST_KM, between)


def score_point(posterior: Posterior, between: bool) -> tuple[float, float]:
    """Return the point with the largest expected GeoScore."""
    return _best_point(posterior, MOST_SCORE, between)


LEAST_KM = Gain(np.negative, np.ones_like, 1.0)
MOST_SCORE = Gain(geoscore, np.positive, 10.0)


def _best_point(posterior: Posterior, gain: Gain, between: bool) -> tuple[float, float]:
    heaviest = posterior.heaviest(MAX_WITNESSES)
    answers = heaviest[:MAX_ANSWERS]
    # all of them in any order: their sums are the same
    seen = heaviest if len(heaviest) < len(posterior.lat) else slice(None)
    witnesses, probability = posterior.units[seen], posterior.probability[seen]
    expected = _expected(gain.worth, posterior.units[answers], witnesses, probability)
    best = int(np.argmax(expected))
    start = _position(posterior, int(answers[best]))
    point = polished(start, witnesses, probability, gain) if between else start
    if point != start:
        return point
    good = np.flatnonzero(expected > expected[best] - gain.least)
    if len(good) == 1:
        return start
    near = _expected(_nearness, posterior.units[answers[good]], witnesses, probability)
    return _position(posterior, int(answers[good[np.argmax(near)]]))


def _position(posterior: Posterior, point: int) -> tuple[float, float]:
    return float(posterior.lat[point]), float(posterior.lon[point])


def _expected(worth: Callable[[Floats], Floats], answers: Floats, witnesses: Floats, probability: Floats) -> Floats:
    """Return what each answer is worth in expectation, (A,).

    Args:
        worth: of distances in km.
        answers: unit vectors, (A, 3).
        witnesses: unit vectors, (W, 3).
        probability: that the truth is at each, (W,).
    """
    # not with BLAS, for the reason that pairwise_km gives
    blocks = (np.einsum("aw,w->a", worth(km), probability) for km in pairwise_km(answers, witnesses))
    return np.concatenate(list(blocks))


def _nearness(distance_km: Floats) -> Floats:
    """Return how near distances are, (A, W), from 0 to 1."""
    return np.asarray(np.exp(distance_km / -NEAR_KM))


RULES: Mapping[str, Rule] = {
    "nearest": nearest_point,
    "posterior": posterior_point,
    "distance": distance_point,
    "score": score_point,
}


DEFAULT_RULE = "score"
"""Answers where validation has not chosen: it loses little on strong evidence and least on weak."""


def estimate_point(posterior: Posterior, rule: str, between: bool = True) -> tuple[float, float]:
    """Return the point that a rule chooses; `between` the points of the posterior, if that may be.

    Raises:
        ConfigError: if there is no such rule.
    """
    check_rule(rule)
    return RULES[rule](posterior, between)


def check_rule(rule: str) -> None:
    """Refuse a rule that there is not.

    Raises:
        ConfigError: if there is no such rule.
    """
    if rule not in RULES:
        raise ConfigError(f"No rule of estimation '{rule}'; choose one of {', '.join(RULES)}.")


def choose_rule(
    posteriors: Iterable[Posterior], lat: Floats, lon: Floats, group: NDArray[np.int64] | None = None
) -> tuple[str, dict[str, float]]:
    """Choose a rule by GeoScore on validation positions.

    `score` is made for that measure, so another rule must beat it by two standard errors of the paired difference:
    validation photos are few and come in series, and the best of four rules by chance does worse on new photos. Fewer
    than `MIN_GROUPS` series cannot tell.

    Args:
        posteriors: of the photos, (V,).
        lat: true latitudes in degrees, (V,).
        lon: likewise.
        group: number of the author, sequence or block of each, (V,), whose photos count as one; None: each for itself.

    Returns:
        The rule, and the mean GeoScore of each over the photos.
    """
    points = rule_points(posteriors)
    scores = {name: geoscore(haversine_km(each[:, 0], each[:, 1], lat, lon)) for name, each in points.items()}
    _, number, size = np.unique(
        np.arange(len(lat)) if group is None else group, return_inverse=True, return_counts=True
    )
    gains = {name: np.bincount(number, values - scores[DEFAULT_RULE]) / size for name, values in scores.items()}
    best = max(gains, key=lambda name: float(gains[name].mean()))
    certain = len(size) >= MIN_GROUPS and gains[best].mean() > 2.0 * gains[best].std(ddof=1) / np.sqrt(len(size))
    return best if certain else DEFAULT_RULE, {name: float(values.mean()) for name, values in scores.items()}


def rule_points(posteriors: Iterable[Posterior]) -> dict[str, Floats]:
    """Return the answers of every rule, (Q, 2) degrees each; each posterior is let go before the next is taken."""
    points = [[rule(posterior, True) for rule in RULES.values()] for posterior in posteriors]
    return dict(zip(RULES, np.array(points, np.float64).reshape(-1, len(RULES), 2).transpose(1, 0, 2), strict=True))
