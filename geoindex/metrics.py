"""What a set of answers is worth: pure functions of distances in km, under the conventions of who published numbers.

geoindex's own definitions follow OSV-5M: accuracy counts distances strictly below the radius, GeoScore is not rounded.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from geoindex.errors import ConfigError
from geoindex.geo import EARTH_RADIUS_KM, geodesic_km, haversine_km

RADII_KM = (1.0, 25.0, 50.0, 200.0, 750.0, 2500.0)
"""Street, city, the paper's claim, region, country, continent."""

GEOSCORE_MAX = 5000.0
GEOSCORE_SCALE_KM = 1492.7

MEASURES = ("mean_km", "median_km", "geoscore", *(f"accuracy.{radius:g}" for radius in RADII_KM))
"""Names of the columns of `summaries`."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Convention:
    """How a group of authors measures.

    Attributes:
        name: of the convention.
        radius_km: of the sphere of their haversine; None: geodesics of the WGS84 ellipsoid.
        closed: whether an answer at the radius itself counts as closer.
        rounded: whether the GeoScore of every photo is rounded to a whole number, as GeoGuessr does.
    """

    name: str
    radius_km: float | None
    closed: bool = False
    rounded: bool = False

    def distance_km(self, lat1: ArrayLike, lon1: ArrayLike, lat2: ArrayLike, lon2: ArrayLike) -> Floats:
        """Return distances in km; inputs are degrees and broadcast.

        Raises:
            MissingExtraError: for geodesics without pyproj.
        """
        if self.radius_km is None:
            return geodesic_km(lat1, lon1, lat2, lon2)
        return haversine_km(lat1, lon1, lat2, lon2, radius_km=self.radius_km)

    def geoscore(self, distance_km: ArrayLike) -> Floats:
        """Return the GeoScore of each distance."""
        return geoscore(distance_km, rounded=self.rounded)

    def within(self, distance_km: ArrayLike, radius_km: float) -> NDArray[np.bool_]:
        """Tell which distances count as closer than the radius."""
        distances = np.asarray(distance_km, float)
        return np.asarray(distances <= radius_km if self.closed else distances < radius_km)


GEOINDEX = Convention("geoindex", EARTH_RADIUS_KM)

CONVENTIONS: Mapping[str, Convention] = {
    convention.name: convention
    for convention in (
        GEOINDEX,
        Convention("osv5m", 6371.0),
        Convention("pigeon", 6378.137, rounded=True),
        Convention("geoclip", None, closed=True),
    )
}
"""By name. PLONK measures as osv5m does; G3 and GeoRanker by geodesics too, but strictly below the radius."""


def convention_of(name: str) -> Convention:
    """Return the convention of this name.

    Raises:
        ConfigError: if there is none.
    """
    if name not in CONVENTIONS:
        raise ConfigError(f"No convention '{name}'; choose one of {', '.join(CONVENTIONS)}.")
    return CONVENTIONS[name]


def geoscore(distance_km: ArrayLike, *, rounded: bool = False) -> Floats:
    """Return the GeoScore of each distance: 5000 exp(-d / 1492.7)."""
    score = GEOSCORE_MAX * np.exp(np.asarray(distance_km, float) / -GEOSCORE_SCALE_KM)
    return np.asarray(np.rint(score) if rounded else score)


def accuracy(distance_km: ArrayLike, radius_km: float) -> float:
    """Return the share of distances below the radius."""
    return float(np.mean(GEOINDEX.within(distance_km, radius_km)))


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

    @classmethod
    def of(cls, count: int, values: ArrayLike) -> "Metrics":
        """Read a row of `summaries`, in the order of `MEASURES`."""
        mean_km, median_km, score, *shares = np.asarray(values, float).tolist()
        by_radius = {f"{radius:g}": share for radius, share in zip(RADII_KM, shares, strict=True)}
        return cls(count, mean_km, median_km, score, by_radius)


def measure(distance_km: ArrayLike, convention: Convention = GEOINDEX, groups: NDArray[Any] | None = None) -> Metrics:
    """Sum up distances between answers and truths, (N,).

    Args:
        distance_km: at least one, all finite.
        convention: what counts as closer, and whether scores are rounded.
        groups: such as the country of each, (N,); every group then counts alike, whatever its size.

    Raises:
        ValueError: if there is no distance, or one is not a number.
    """
    distances = finite_distances(distance_km)
    weights = np.ones(distances.size) if groups is None else balanced_weights(groups)
    return Metrics.of(int(distances.size), summaries(distances, weights[None], convention)[0])


def finite_distances(distance_km: ArrayLike) -> Floats:
    """Return distances as one flat array.

    Raises:
        ValueError: if there is none, or one is not a number.
    """
    distances = np.asarray(distance_km, float).ravel()
    if distances.size == 0 or not np.isfinite(distances).all():
        raise ValueError("metrics need at least one distance, all of them finite")
    return distances


def balanced_weights(groups: NDArray[Any]) -> Floats:
    """Return weights, (N,), under which every group of equal labels counts alike; they sum to 1."""
    _, group, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    return np.asarray(1.0 / (len(sizes) * sizes[group]))


def summaries(distance_km: Floats, weights: Floats, convention: Convention = GEOINDEX) -> Floats:
    """Return the `MEASURES` of distances under several weightings at once, (B, 3 + radii).

    Args:
        distance_km: (N,).
        weights: how much each counts, (B, N); of any sum above 0. Ones give the usual metrics.
        convention: what counts as closer, and whether scores are rounded.
    """
    hits = [100.0 * convention.within(distance_km, radius) for radius in RADII_KM]
    values = np.stack([distance_km, convention.geoscore(distance_km), *hits], axis=1)  # (N, 2 + radii)
    means = weights @ values / weights.sum(axis=1, keepdims=True)
    return np.insert(means, 1, weighted_medians(distance_km, weights), axis=1)


def weighted_medians(values: Floats, weights: Floats) -> Floats:
    """Return the median of values, (N,), under each of several weightings, (B, N); halfway between two that tie."""
    order = np.argsort(values, kind="stable")
    ranked = values[order]
    middles = [_middle(np.cumsum(row[order])) for row in weights]
    return np.array([(ranked[lower] + ranked[upper]) / 2.0 for lower, upper in middles])


def _middle(share: Floats) -> tuple[int, int]:
    """Return the places where running sums, (N,), reach half of the last and where they pass it."""
    half = share[-1] / 2.0
    slack = 1e-12 * half  # running sums of equal weights miss the half by rounding
    lower, upper = np.searchsorted(share, half - slack), np.searchsorted(share, half + slack, side="right")
    return int(min(lower, len(share) - 1)), int(min(upper, len(share) - 1))


def information_gain_bits(p_true: ArrayLike, prior_true: ArrayLike) -> Floats:
    """Return how many bits each photo told of its place: log2 of p(place | photo) over p(place), (N,).

    Args:
        p_true: probability that the answer gave to the true place, (N,); of 0, the least positive number stands.
        prior_true: probability of that place without the photo, such as its share of the gallery, (N,).
    """
    least = np.finfo(np.float64).tiny
    return np.asarray(np.log2(np.maximum(p_true, least)) - np.log2(np.maximum(prior_true, least)))
