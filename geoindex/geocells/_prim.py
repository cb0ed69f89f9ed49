"""The walk of OPTICS, compiled; import it only when it is needed, for numba takes seconds."""

from collections.abc import Callable
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

F = TypeVar("F", bound=Callable[..., object])
SCALE = 1e15
"""Distances are rounded to 15 decimals, as scikit-learn does, so that ties are the same ties."""


def _compiled(function: F) -> F:
    from numba import njit

    try:
        compiled: F = njit(nogil=True, cache=True)(function)
    except RuntimeError:  # no folder that may hold the cache
        compiled = njit(nogil=True)(function)
    return compiled


@_compiled
def _visit(
    here: int,
    core: float,
    max_chord: float,
    left: NDArray[np.float64],
    bound: NDArray[np.float64],
    source: NDArray[np.int64],
    row: int,
) -> int:
    """Improve what can be reached from column `here` of `left`; return the column that is nearest now, or -1.

    `left` holds x, y, z and the reachability so far, (4, n). `bound` holds the square of the distance below which
    a point may be improved, so that no root is taken for the others.
    """
    x, y, z, reach = left[0], left[1], left[2], left[3]
    px, py, pz = x[here], y[here], z[here]
    low, nearest = np.inf, -1
    for j in range(len(bound)):
        dx, dy, dz = px - x[j], py - y[j], pz - z[j]
        square = dx * dx + dy * dy + dz * dz
        if square < bound[j] and core < reach[j]:
            chord = np.sqrt(square)
            reached = np.rint(max(chord, core) * SCALE) / SCALE
            if chord <= max_chord and reached < reach[j]:
                reach[j], source[j] = reached, row
                bound[j] = (reached + 2.0 / SCALE) ** 2
        if reach[j] < low:
            low, nearest = reach[j], j
    return nearest


@_compiled
def walk(
    xyz: NDArray[np.float64], core: NDArray[np.float64], max_chord: float
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
    """Order points by growing reachability (Prim's algorithm on a dense graph); ties go to the lowest row.

    Points that were visited leave the arrays when they are half of them; the others keep their order.

    Args:
        xyz: unit vectors, (N, 3), N at least 1.
        core: core distances as chords, (N,), inf where there is none.
        max_chord: neighbours farther than this are not looked at.

    Returns:
        Ordering (N,), reachability as chords (N,) and predecessor (N,).
    """
    total = len(xyz)
    ordering, reachability = np.empty(total, np.int64), np.empty(total)
    predecessor = np.empty(total, np.int64)
    rows, source = np.arange(total), np.full(total, -1, np.int64)
    left, bound = np.full((4, total), np.inf), np.full(total, np.inf)
    left[:3] = xyz.T
    nearest, since = -1, 0
    for step in range(total):
        if nearest < 0:  # nothing within reach: on with the first row that is left
            nearest = int(np.argmax(bound >= 0.0))
        here = nearest
        row = rows[here]
        ordering[step], reachability[row], predecessor[row] = row, left[3, here], source[here]
        left[3, here], bound[here] = np.nan, -1.0
        nearest = _visit(here, core[row], max_chord, left, bound, source, row)
        since += 1
        if 2 * since >= len(rows):
            keep = np.flatnonzero(bound >= 0.0)
            nearest = int(np.searchsorted(keep, nearest)) if nearest >= 0 else -1
            left, bound, rows, source, since = left[:, keep], bound[keep], rows[keep], source[keep], 0
    return ordering, reachability, predecessor
