"""Are chances kept? Pure functions of what was told and what came of it, each (Q,)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

BINS = 10
"""Bins of a reliability table. They hold equally many answers, as most chances are small: of bins that are equally
wide nearly all answers would be in the first, whose error is that of the mean."""

DRAWS = 50
"""Outcomes that are drawn to see what error kept chances leave: its mean is known to a tenth of it."""


@dataclass(frozen=True, slots=True)
class Bin:
    """Answers of about the same chance.

    Attributes:
        count: of answers.
        told: their mean chance.
        right: the share that was right.
    """

    count: int
    told: float
    right: float

    @property
    def interval(self) -> tuple[float, float]:
        """Ends of the 95 % interval of the share that was right (Wilson), as if the photos were independent."""
        from scipy.stats import binomtest

        found = binomtest(round(self.count * self.right), self.count).proportion_ci(method="wilson")
        return float(found.low), float(found.high)


def reliability(told: Floats, right: Flags, bins: int = BINS) -> list[Bin]:
    """Return the table behind a reliability diagram, by rising chance."""
    parts = np.array_split(np.argsort(told, kind="stable"), min(bins, len(told)))
    return [Bin(len(part), float(told[part].mean()), float(right[part].mean())) for part in parts]


def calibration_error(told: Floats, right: Flags, bins: int = BINS) -> float:
    """Return the expected calibration error: how far told and right are apart in a bin, in the mean over answers."""
    return sum(each.count * abs(each.told - each.right) for each in reliability(told, right, bins)) / len(told)


def kept_error(told: Floats) -> float:
    """Return the expected calibration error of chances that are kept exactly: the floor that so many answers leave.

    It is the mean over outcomes that are drawn by the chances, each answer for itself; answers that are right or wrong
    together, as those to photos of one author, leave more.
    """
    rng = np.random.default_rng(0)
    return float(np.mean([calibration_error(told, rng.random(len(told)) < told) for _ in range(DRAWS)]))


def brier_skill(told: Floats, right: Flags) -> float:
    """Return by how much the Brier score is below that of the base rate, as a share of it; NaN where all are alike.

    The base rate is that of these very answers, which nobody knows beforehand: above 0 is better than any constant.
    """
    base = float(np.var(right))
    return 1.0 - float(np.mean((told - right) ** 2)) / base if base > 0 else float("nan")


def risk_coverage(sure: Floats, risk: Floats) -> Floats:
    """Return the mean risk of the surest answer, the two surest, ... and all, (Q,); equally sure ones share theirs."""
    _, level, size = np.unique(-sure, return_inverse=True, return_counts=True)
    mean = np.bincount(level, weights=risk) / size
    return np.asarray(np.cumsum(mean[np.sort(level)]) / np.arange(1, len(sure) + 1))


def risk_saved(sure: Floats, risk: Floats) -> float:
    """Return how far the area below the risk-coverage curve is below a random order's, from 0 to 1 for the best order.

    Below 0 it is worse than random. NaN where no order is better than another.
    """
    area, best = (float(risk_coverage(order, risk).mean()) for order in (sure, -risk))
    random = float(risk.mean())
    return (random - area) / (random - best) if random > best else float("nan")
