"""What a set of answers is worth: pure functions of distances in km.

Definitions follow OSV-5M: accuracy counts distances strictly below the radius, GeoScore is not rounded.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

RADII_KM = (1.0, 25.0, 50.0, 200.0, 750.0, 2500.0)
"""Street, city, the paper's claim, region, country, continent."""

GEOSCORE_MAX = 5000.0
GEOSCORE_SCALE_KM = 1492.7


def geoscore(distance_km: ArrayLike) -> NDArray[np.float64]:
    """Return the GeoScore of each distance: 5000 exp(-d / 1492.7)."""
    score = np.asarray(distance_km, float) / -GEOSCORE_SCALE_KM
    return np.asarray(GEOSCORE_MAX * np.exp(score))


def accuracy(distance_km: ArrayLike, radius_km: float) -> float:
    """Return the share of distances below the radius."""
    return float(np.mean(np.asarray(distance_km, float) < radius_km))


@dataclass(frozen=True, slots=True)
class Metrics:
    """How far off a set of answers is.

    Attributes:
        count: number of answers.
        mean_km, median_km: of the distances between answer and truth.
        geoscore: mean GeoScore, 0 to 5000.
        accuracy: share of answers closer than each of `RADII_KM`, in percent, by radius in km.
    """

    count: int
    mean_km: float
    median_km: float
    geoscore: float
    accuracy: dict[str, float]


def measure(distance_km: ArrayLike) -> Metrics:
    """Sum up distances between answers and truths, (N,).

    Raises:
        ValueError: if there is none, or one is not a number.
    """
    distances = np.asarray(distance_km, float)
    if distances.size == 0 or not np.isfinite(distances).all():
        raise ValueError("metrics need at least one distance, all of them finite")
    shares = {f"{radius:g}": 100.0 * accuracy(distances, radius) for radius in RADII_KM}
    return Metrics(
        count=int(distances.size),
        mean_km=float(distances.mean()),
        median_km=float(np.median(distances)),
        geoscore=float(geoscore(distances).mean()),
        accuracy=shares,
    )
