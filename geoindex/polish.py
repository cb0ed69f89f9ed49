"""A point on the sphere -> a better one nearby: Weiszfeld's iteration for expected gains that fall with the distance.

Each step goes to the mean of the witnesses seen from the point, weighted by their probability times the slope of the
gain, over their distance (Weiszfeld, 1937, in the tangent plane). A point that is itself a witness is left only if the
others pull harder than it holds (Vardi and Zhang, 2000).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoindex.geo import EARTH_RADIUS_KM, from_unit, unit_of

Floats = NDArray[np.float64]

STEPS = 6
DECIMALS = 3
"""Of degrees: the last bits of a cosine, which differ between one query and a batch, shall not move the answer."""

HERE_KM = 0.1
"""A witness this near is where the point is."""


@dataclass(frozen=True, slots=True)
class Gain:
    """What an answer is worth by its distance from the truth.

    Attributes:
        worth: of distances in km, (W,).
        slope: how fast that falls per km where it is worth so much, (W,); only its shape counts.
        least: what a move must bring; points that differ by less are as good as each other.
    """

    worth: Callable[[Floats], Floats]
    slope: Callable[[Floats], Floats]
    least: float


def polished(start: tuple[float, float], witnesses: Floats, probability: Floats, gain: Gain) -> tuple[float, float]:
    """Return the best point on the way from a start, or the start if no other brings `gain.least` more.

    Args:
        start: lat and lon in degrees.
        witnesses: unit vectors, (W, 3).
        probability: that the truth is at each, (W,).
        gain: what is to be large in expectation.
    """
    points, worths = [unit_of(*start)], []
    for _ in range(STEPS):
        cosine = np.clip(witnesses @ points[-1], -1.0, 1.0)
        distance_km = EARTH_RADIUS_KM * np.arccos(cosine)
        worth = gain.worth(distance_km)
        worths.append(float(probability @ worth))
        if len(worths) > 1 and worths[-1] - worths[-2] < gain.least / STEPS:
            break  # such steps together bring no more than a difference that does not count
        moved = _step(points[-1], witnesses, cosine, distance_km, probability * gain.slope(worth))
        if moved is None:
            break
        points.append(moved)
    best = int(np.argmax(worths))
    if worths[best] - worths[0] < gain.least or best == 0:
        return start
    better_lat, better_lon = from_unit(points[best])
    return round(float(better_lat), DECIMALS), round(float(better_lon), DECIMALS)


def _step(point: Floats, witnesses: Floats, cosine: Floats, distance_km: Floats, pull: Floats) -> Floats | None:
    """Return the next point, or None if this one is held where it is."""
    away = distance_km > HERE_KM
    pulling, held = pull * away, float(pull[~away].sum())
    # seen from the point, a witness lies in the direction witness - cosine * point, whose length is its sine
    per_length = pulling / np.sqrt(np.maximum(1.0 - cosine * cosine, 1e-24))
    resultant = per_length @ witnesses - float(per_length @ cosine) * point
    force = math.hypot(*resultant.tolist())
    if force <= held:
        return None
    angle = (force - held) / float((pulling / np.maximum(distance_km, HERE_KM)).sum()) / EARTH_RADIUS_KM
    moved = math.cos(angle) * point + (math.sin(angle) / force) * resultant
    return np.asarray(moved / math.hypot(*moved.tolist()))
