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

HERE = 0.1 / EARTH_RADIUS_KM
"""A witness this near is where the point is: 100 m, in radians."""


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
        angle = np.arccos(np.clip(witnesses @ points[-1], -1.0, 1.0))
        worth = gain.worth(EARTH_RADIUS_KM * angle)
        worths.append(float(probability @ worth))
        if len(worths) > 1 and worths[-1] - worths[-2] < gain.least / STEPS:
            break  # such steps together bring no more than a difference that does not count
        moved = _step(points[-1], witnesses, angle, probability * gain.slope(worth))
        if moved is None:
            break
        points.append(moved)
    best = max(range(len(worths)), key=worths.__getitem__)
    if worths[best] - worths[0] < gain.least or best == 0:
        return start
    better_lat, better_lon = from_unit(points[best])
    return round(float(better_lat), DECIMALS), round(float(better_lon), DECIMALS)


def _step(point: Floats, witnesses: Floats, angle: Floats, pull: Floats) -> Floats | None:
    """Return the next point, or None if this one is held where it is.

    Args:
        point: unit vector.
        witnesses: unit vectors, (W, 3).
        angle: between the point and each, in radians, (W,).
        pull: of each, (W,).
    """
    here = angle <= HERE
    held, pulling = float(pull @ here), np.where(here, 0.0, pull)
    distance = np.maximum(angle, HERE)
    # seen from the point, a witness lies in the direction witness - cosine * point, whose length is its sine
    per_length = pulling / np.maximum(np.sin(distance), HERE)
    resultant = per_length @ witnesses
    resultant -= float(resultant @ point) * point
    force = math.hypot(*resultant.tolist())
    if force <= held:
        return None
    turn = (force - held) / float((pulling / distance).sum())
    moved = math.cos(turn) * point + (math.sin(turn) / force) * resultant
    return np.asarray(moved / math.hypot(*moved.tolist()))
