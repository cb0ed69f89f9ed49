"""Core distances by the tree of the walk, compiled; import it only when it is needed, for numba takes seconds.

Sites follow one another in the order of the leaves, so each lies near the one before it, whose neighbours bound how
far its own can be. The search starts at the leaf of a site and climbs: the nearest boxes come first.
"""

import numpy as np

from geoindex.geocells._compiled import compiled
from geoindex.geocells._walk import HAIR, Floats, Records, Rows


@compiled
def _take(squares: Floats, holds: Rows, count: int, square: float, held: int) -> None:
    """Put a site among the nearest ones, ascending; the farthest drops out if there is no room."""
    at = min(count, len(squares) - 1)
    while at > 0 and squares[at - 1] > square:
        squares[at], holds[at] = squares[at - 1], holds[at - 1]
        at -= 1
    squares[at], holds[at] = square, held


@compiled
def _look_below(
    top: int, here: int, limit: float, count: int, sites: Records, nodes: Records,
    squares: Floats, holds: Rows, stack: Rows,
) -> tuple[float, int]:  # fmt: skip
    """Take the sites under a node that are nearer than a squared chord; return what is left of it, and their count."""
    x, y, z = sites[here].x, sites[here].y, sites[here].z
    first_leaf, most = len(nodes) // 2, len(squares)
    depth, stack[0] = 1, top
    while depth > 0:
        depth -= 1
        at = stack[depth]
        node = nodes[at]
        dx = max(node.x0 - x, 0.0, x - node.x1)
        dy = max(node.y0 - y, 0.0, y - node.y1)
        dz = max(node.z0 - z, 0.0, z - node.z1)
        if dx * dx + dy * dy + dz * dz >= limit:
            continue
        if at < first_leaf:
            stack[depth], stack[depth + 1] = 2 * at + 1, 2 * at + 2
            depth += 2
            continue
        for there in range(node.start, node.stop):
            site = sites[there]
            dx, dy, dz = x - site.x, y - site.y, z - site.z
            square = dx * dx + dy * dy + dz * dz
            if square < limit:
                _take(squares, holds, count, square, site.end - site.first)
                count = min(count + 1, most)
                if count == most:
                    limit = squares[-1]
    return limit, count


@compiled
def _nearest(here: int, limit: float, sites: Records, nodes: Records, squares: Floats, holds: Rows, stack: Rows) -> int:
    """Fill in the nearest sites, ascending by squared chord, as far as they are below a limit; return their count."""
    at = sites[here].leaf
    limit, count = _look_below(at, here, limit, 0, sites, nodes, squares, holds, stack)
    while at > 0:
        sibling = at + 1 if at % 2 == 1 else at - 1
        limit, count = _look_below(sibling, here, limit, count, sites, nodes, squares, holds, stack)
        at = (at - 1) >> 1
    return count


@compiled
def core_squares(sites: Records, nodes: Records, sizes: Rows, start: int, stop: int, core: Floats) -> None:
    """Write the squared chord within which a site and those around it hold as many rows as asked for.

    Args:
        sites: (S,) of `SITE`, in the order of the leaves.
        nodes: of `NODE`.
        sizes: numbers of rows, (K,), ascending.
        start: first site to do.
        stop: the one after the last.
        core: squared chords, (K, S); inf where fewer rows exist.
    """
    most = min(sizes[-1], len(sites))
    squares, holds = np.empty(most), np.empty(most, np.int64)
    stack = np.empty(128, np.int64)
    farthest = np.inf
    for here in range(start, stop):
        site, before = sites[here], sites[max(here - 1, start)]
        step = np.sqrt((site.x - before.x) ** 2 + (site.y - before.y) ** 2 + (site.z - before.z) ** 2)
        count = _nearest(here, (farthest + step + HAIR) ** 2, sites, nodes, squares, holds, stack)
        farthest = np.sqrt(squares[-1])
        held, at = 0, -1
        for row in range(len(sizes)):
            while held < sizes[row] and at + 1 < count:
                at += 1
                held += holds[at]
            core[row, here] = squares[at] if held >= sizes[row] else np.inf
