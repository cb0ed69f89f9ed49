"""How sure is an answer? The chance that it is within some km and the radii that hold the truth, learned on photos.

A posterior says how its probability lies around an answer, and with it how far off the answer should be. Photos with
known positions tell how far off answers are. Few numbers make the one into the other:

* reach: a photo of a cluster is not at its centroid, so points are spread by how far photos were from theirs.
* within: for each radius a logistic of the log-odds of the mass inside (Platt, 1999), whose slope may change at odds of
  one to three and of three to one: masses of clusters are too sure of some answers and too modest about others. No
  slope is negative: more mass inside makes no answer less sure.
* shares: the radius that holds 90 % of the truths is that of the share of mass within which 90 % of them lay (split
  conformal prediction with the mass as the score; Vovk et al., 2005).

Photos of one author, sequence or block are taken near each other, so n of them count as n / (1 + (n - 1) r), where r
is how far their truths lie alike in the mass: as one if r is 1 (Kish, 1965). What they say is weighed against the
posterior's own masses, which count as `PRIOR_PHOTOS` photos: twenty authors cannot tell a chance of 15 % from one of
5 %, and what they tell without it does worse on others than the masses as they are.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoindex.geo import HALF_CIRCUMFERENCE_KM
from geoindex.mass import MassAround

Floats = NDArray[np.float64]

WITHIN_KM = (25.0, 200.0, 750.0)
"""City, region and country: the radii whose probability is told."""

CONFIDENCE_KM = "200"
"""The radius whose probability is the confidence of an answer: it names the right region."""

SHARES = (0.5, 0.9)
"""Shares of the truths that the two radii of an answer hold."""

RADII = tuple(f"{radius:g}" for radius in WITHIN_KM)
PERCENTS = tuple(f"{100 * share:g}" for share in SHARES)
"""What radii and shares are called in files and answers."""

MIN_PHOTOS = 100
"""Photos below which nothing is learned: 100 know 10 % to 6 points."""

PRIOR_PHOTOS = 10.0
"""Independent photos that the posterior's own masses count as; by them intercept and slope are known to 0.3."""

REACH_SHARES = (np.arange(20) + 0.5) / 20
MAX_INTERCEPT, MAX_SLOPE = 20.0, 5.0
BENDS = np.log([1 / 3, 3.0])
"""Log-odds of the masses, 25 and 75 %, where the slope may change, (B,)."""
LEAST_MASS, LEVELS = 1e-6, 10_001
TAILS = np.logspace(-4.0, -9.0, 51)[1:]
"""Masses beyond a radius, below the last step of `LEVELS`."""

GRID_KM = np.concatenate([[0.0], np.geomspace(0.01, HALF_CIRCUMFERENCE_KM, 300)])
"""Radii between which the mass inside is interpolated, 5 % apart, (G,)."""


@dataclass(frozen=True, slots=True)
class Spread:
    """How the probability of a posterior lies around an answer.

    Attributes:
        held: mass inside each radius of `GRID_KM`, (G,), from 0 to 1.
    """

    held: Floats

    @classmethod
    def of(cls, mass: MassAround, reach_km: Sequence[float]) -> "Spread":
        """Spread the mass around an answer.

        Args:
            mass: as the points of the posterior hold it.
            reach_km: how far off crosswise each point lies as well, (K,).
        """
        inside = mass.held.take(np.searchsorted(mass.distance_km**2, _squares(tuple(reach_km)), side="right"))
        held = inside @ np.full(len(reach_km), 1.0 / (len(reach_km) * mass.held[-1]))
        held[-1] = 1.0
        return cls(held)

    def within(self, *radius_km: float) -> list[float]:
        """Return the mass inside each radius."""
        return [float(mass) for mass in np.interp(radius_km, GRID_KM, self.held)]

    def radius_km(self, *share: float) -> list[float]:
        """Return the radius that holds each share of the mass."""
        return [float(km) for km in np.interp(share, self.held, GRID_KM)]


@lru_cache(maxsize=8)
def _squares(reach_km: tuple[float, ...]) -> Floats:
    """Return the squared distance up to which a point that is off by each reach is inside each radius, (G, K)."""
    return np.asarray(GRID_KM[:, None] ** 2 - np.square(reach_km))


@dataclass(frozen=True, slots=True)
class Certainty:
    """How sure an answer is.

    Attributes:
        within_km: probability that the truth is closer than each of `WITHIN_KM`, by radius in km.
        radius50_km, radius90_km: radii that hold the truth of half, and of nine in ten, of the answers.
    """

    within_km: dict[str, float]
    radius50_km: float
    radius90_km: float


@dataclass(frozen=True, slots=True)
class Odds:
    """How the mass inside a radius becomes the chance that the truth is there.

    Attributes:
        intercept: log-odds of the chance at a mass of 50 %.
        slopes: of its log-odds over those of the mass, below, between and above `BENDS`, (B + 1,).
    """

    intercept: float
    slopes: list[float]

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Odds":
        """Read back what `asdict` gives, or the one slope that older indexes have."""
        return cls(values["intercept"], values.get("slopes") or [values["slope"]] * (len(BENDS) + 1))

    @classmethod
    def fit(cls, mass: Floats, hit: NDArray[np.bool_], weight: Floats) -> "Odds":
        """Learn from the mass inside a radius, whether the truth was there, and weights, each (V,)."""
        from scipy.optimize import minimize
        from scipy.special import expit

        columns = np.column_stack([np.ones(len(mass)), _between_bends(_log_odds(mass))])
        start = np.array([0.0] + [1.0] * (len(BENDS) + 1))  # the mass as it is
        prior = PRIOR_PHOTOS / np.array([1.0] + [len(BENDS) + 1.0] * (len(BENDS) + 1))

        def loss(values: Floats) -> tuple[float, Floats]:
            z, off = columns @ values, values - start
            nats = weight @ (np.logaddexp(0.0, z) - hit * z) + (prior * off) @ off / 2
            return float(nats), columns.T @ (weight * (expit(z) - hit)) + prior * off

        bounds = [(-MAX_INTERCEPT, MAX_INTERCEPT)] + [(0.0, MAX_SLOPE)] * (len(BENDS) + 1)
        found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds).x
        return cls(float(found[0]), [float(slope) for slope in found[1:]])

    def chance(self, mass: float) -> float:
        """Return the chance that the truth is where this mass is."""
        # number by number: with arrays of one it takes five times as long
        held = min(max(mass, LEAST_MASS), 1.0 - LEAST_MASS)
        log_odds, low, z = math.log(held / (1.0 - held)), -math.inf, self.intercept
        for high, slope in zip((*BENDS.tolist(), math.inf), self.slopes, strict=True):
            z += slope * (min(max(log_odds, low), high) - min(max(0.0, low), high))
            low = high
        return 1.0 / (1.0 + math.exp(-z)) if z >= 0.0 else math.exp(z) / (1.0 + math.exp(z))


@dataclass(frozen=True, slots=True)
class Calibration:
    """What was learned of how sure answers are.

    Attributes:
        rule: the rule of estimation whose answers were looked at.
        photos, groups: how many photos, and how many authors, sequences or blocks they are of.
        reach_km: how far off photos were from the centroids of their clusters, at `REACH_SHARES`.
        within: what makes a chance of the mass, by radius in km.
        shares: of the mass, by the percentage of truths that lay within it.
    """

    rule: str
    photos: int
    groups: int
    reach_km: list[float]
    within: dict[str, Odds]
    shares: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON types."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Calibration":
        """Read back what `to_dict` gives; `check_parts` has looked at it."""
        within = {radius: Odds.from_dict(odds) for radius, odds in values["within"].items()}
        return cls(**{name: values[name] for name in cls.__dataclass_fields__} | {"within": within})

    def certainty(self, mass: MassAround) -> Certainty:
        """Return how sure an answer is, from the probability around it."""
        spread = Spread.of(mass, self.reach_km)
        inside = zip(RADII, spread.within(*WITHIN_KM), strict=True)
        chances = (self.within[radius].chance(mass) for radius, mass in inside)
        rising = accumulate(chances, max)  # each was fitted for itself
        radius50_km, radius90_km = spread.radius_km(*map(self.shares.__getitem__, PERCENTS))
        return Certainty(dict(zip(RADII, rising, strict=True)), radius50_km, radius90_km)


def fit_calibration(
    rule: str, spreads: Sequence[Spread], distance_km: Floats, reach_km: Sequence[float], group: NDArray[np.int64]
) -> Calibration:
    """Learn from photos with known positions that nothing behind their posteriors was fitted on.

    Args:
        rule: the rule of estimation.
        spreads: how the probability lies around the answer to each, (V,).
        distance_km: how far off that answer was, (V,).
        reach_km: what the spreads were made with.
        group: number of the author, sequence or block of each, (V,).
    """
    _, number, size = np.unique(group, return_inverse=True, return_counts=True)
    inside = np.array([spread.within(km)[0] for spread, km in zip(spreads, distance_km, strict=True)])
    weight = np.asarray(1.0 / (1.0 + (size[number] - 1) * likeness(inside, number, size)), np.float64)
    within = {}
    for key, radius in zip(RADII, WITHIN_KM, strict=True):
        mass = np.array([spread.within(radius)[0] for spread in spreads])
        within[key] = Odds.fit(mass, distance_km < radius, weight)
    shares = {key: _upper_quantile(inside, weight, share) for key, share in zip(PERCENTS, SHARES, strict=True)}
    return Calibration(rule, len(spreads), len(size), list(reach_km), within, shares)


def likeness(values: Floats, number: NDArray[np.int64], size: NDArray[np.int64]) -> float:
    """Return the intraclass correlation of values, (V,), by analysis of variance (Donner, 1986), from 0 to 1.

    Args:
        values: of the photos.
        number: group of each, (V,).
        size: photos of each group, (G,).
    """
    count, groups = len(values), len(size)
    if groups < 2 or groups == count:
        return 1.0
    mean = np.bincount(number, values) / size
    between = float(size @ (mean - values.mean()) ** 2) / (groups - 1)
    inside = float(((values - mean[number]) ** 2).sum()) / (count - groups)
    typical = (count - float(size @ size) / count) / (groups - 1)
    total = between + (typical - 1.0) * inside
    return min(max((between - inside) / total, 0.0), 1.0) if total > 0 else 1.0


def reach_of(distance_km: Floats) -> list[float]:
    """Return the reach of clusters from the distances between photos and the centroids of theirs, (V,)."""
    return [float(km) for km in np.quantile(distance_km, REACH_SHARES)]


def _between_bends(x: Floats) -> Floats:
    """Return how much of the way from 0 to log-odds, (V,), lies below, between and above `BENDS`, (V, B + 1)."""
    low, high = np.append(-np.inf, BENDS), np.append(BENDS, np.inf)
    return np.asarray(np.clip(x[:, None], low, high) - np.clip(0.0, low, high))


def _log_odds(mass: Floats) -> Floats:
    from scipy.special import logit

    return np.asarray(logit(np.clip(mass, LEAST_MASS, 1.0 - LEAST_MASS)))


def _upper_quantile(inside: Floats, weight: Floats, share: float) -> float:
    """Return the share of mass within which `share` of the truths to come lie.

    Beside the truths that were seen, each of its weight, stand those that the masses promise, evenly from 0 to 1, and
    the one to come, which may lie anywhere.
    """
    order = np.argsort(inside)
    seen = np.concatenate([[0.0], np.cumsum(weight[order])])
    level = np.append(np.linspace(0.0, 1.0, LEVELS)[:-1], 1.0 - np.append(TAILS, 0.0))
    held = seen[np.searchsorted(inside[order], level, side="right")] + PRIOR_PHOTOS * level
    enough = np.flatnonzero(held >= share * (seen[-1] + PRIOR_PHOTOS + 1.0))
    return float(level[enough[0]]) if len(enough) else 1.0
