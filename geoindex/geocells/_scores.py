"""Scores of a division, compiled; import it only when it is needed, for numba takes seconds.

Positions and centres are unit vectors, distances are angles: the units cancel in both scores.
"""

import numpy as np
from numpy.typing import NDArray

from geoindex.geocells._compiled import compiled

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]


@compiled
def _chord(a: Floats, b: Floats) -> float:
    dx, dy, dz = a[0] - b[0], a[1] - b[1], a[2] - b[2]
    chord: float = np.sqrt(dx * dx + dy * dy + dz * dz)
    return chord


@compiled
def _angle(a: Floats, b: Floats) -> float:
    angle: float = 2.0 * np.arcsin(min(1.0, 0.5 * _chord(a, b)))
    return angle


@compiled
def _sum_of_angles(here: Floats, xyz: Floats, start: int, stop: int) -> float:
    total = 0.0
    for row in range(start, stop):
        total += _angle(here, xyz[row])
    return total


@compiled
def silhouettes(xyz: Floats, starts: Rows, centre: Floats, spread: Floats, rows: Rows, own: Rows) -> Floats:
    """Return the silhouette of some positions, each against all, (S,).

    Only cells that can be the nearest other one are summed: the mean distance to the members of a cell is at
    least the distance to its centre less its spread (triangle inequality).

    Args:
        xyz: all positions, cell by cell, (N, 3).
        starts: where the positions of each of C cells start, (C + 1,).
        centre: a centre of each cell, (C, 3); C is 2 or more.
        spread: mean angle from members to the centre, (C,).
        rows: which positions are asked for, (S,).
        own: their cells, (S,).
    """
    found, least = np.zeros(len(rows)), np.empty(len(centre))
    for i in range(len(rows)):
        here, home = xyz[rows[i]], own[i]
        size = starts[home + 1] - starts[home]
        if size < 2:
            continue
        for cell in range(len(centre)):
            least[cell] = np.inf if cell == home else _angle(here, centre[cell]) - spread[cell]
        first = int(np.argmin(least))
        outer = _sum_of_angles(here, xyz, starts[first], starts[first + 1]) / (starts[first + 1] - starts[first])
        for cell in range(len(centre)):
            if least[cell] < outer and cell != first:
                total = _sum_of_angles(here, xyz, starts[cell], starts[cell + 1])
                outer = min(outer, total / (starts[cell + 1] - starts[cell]))
        inner = _sum_of_angles(here, xyz, starts[home], starts[home + 1]) / (size - 1)
        if max(inner, outer) > 0.0:
            found[i] = (outer - inner) / max(inner, outer)
    return found


@compiled
def largest_likeness(centre: Floats, spread: Floats, least_angle: float) -> Floats:
    """Return for each cell the largest (spread + other spread) / distance of centres, (C,).

    Centres nearer than `least_angle` count as that far apart.
    """
    found = np.full(len(centre), -np.inf)
    for i in range(len(centre)):
        for j in range(len(centre)):
            both = spread[i] + spread[j]
            # an angle is at least its chord, so most pairs need no arcsine
            if j != i and both > found[i] * max(_chord(centre[i], centre[j]), least_angle):
                found[i] = max(found[i], both / max(_angle(centre[i], centre[j]), least_angle))
    return found
