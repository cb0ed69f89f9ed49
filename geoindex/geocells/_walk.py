"""The walk of OPTICS, compiled; import it only when it is needed, for numba takes seconds.

It is Prim's algorithm on a graph that is never written down. A site that was visited improves the reachability of
the sites around it only as far as somebody asks: out to its core distance at once, and farther each time the least
reachability of the queue grows beyond what it has looked at. A tree of boxes around the sites, each with the largest
reachability inside, skips what cannot be improved. Whatever is left out would not have changed the next step, so
the result is that of the dense walk.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from geoindex.geocells._compiled import compiled

SCALE = 1e15
"""Distances are rounded to 15 decimals, as scikit-learn does, so that ties are the same ties."""

HAIR = 2.0 / SCALE
"""More than rounding can move a distance."""

REACH = 3.0
"""How far beyond the least reachability a site looks when it is its turn; 1 is lazy, more looks at too many."""

GROWTH, LEAST = 1.5, 1e-7
"""How fast a site looks farther when the queue is empty, from which chord (0.6 m) on."""

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]


class Tree(NamedTuple):
    """Sites, each place once, in the order of the leaves of a complete binary tree of boxes.

    Node i has the children 2i + 1 and 2i + 2; nodes from `len(start) // 2` on are leaves.
    """

    xyz: Floats  # (S, 3) unit vectors
    low: Floats  # (nodes, 3) corner of each box
    high: Floats
    start: Rows  # (nodes,) sites of node i are start[i]..stop[i]
    stop: Rows
    leaf_of: Rows  # (S,)


class Copies(NamedTuple):
    """Input rows that lie at each site, ascending."""

    rows: Rows  # (N,) rows site by site
    first: Rows  # (S + 1,) where the rows of each site start
    site_of: Rows  # (N,)


class Fringe(NamedTuple):
    """What is known of the sites so far."""

    reach: Floats  # (S,) least reachability, -1 when all rows were visited
    source: Rows  # (S,) site that it is reached from, -1 if none
    turn: Rows  # (S,) step at which the first row was visited, -1 before
    row: Rows  # (S,) lowest row that was not visited
    most: Floats  # (nodes,) largest reachability inside


class Queue(NamedTuple):
    """A binary heap of sites, least value first, then least rank."""

    items: Rows  # (S,)
    place: Rows  # (S,) where a site stands in it, -1 outside
    size: Rows  # (1,)
    value: Floats  # (S,)
    rank: Rows  # (S,)


@compiled
def _before(queue: Queue, a: int, b: int) -> bool:
    value, rank = queue.value, queue.rank
    sooner: bool = value[a] < value[b] or (value[a] == value[b] and rank[a] < rank[b])
    return sooner


@compiled
def _rise(queue: Queue, site: int) -> None:
    """Move a site up to where its value belongs; add it if it is outside."""
    at = queue.place[site]
    if at < 0:
        at = queue.size[0]
        queue.size[0] += 1
    while at > 0 and _before(queue, site, queue.items[(at - 1) >> 1]):
        above = queue.items[(at - 1) >> 1]
        queue.items[at], queue.place[above] = above, at
        at = (at - 1) >> 1
    queue.items[at], queue.place[site] = site, at


@compiled
def _fall(queue: Queue, site: int) -> None:
    """Move a site down to where its value belongs."""
    at, size = queue.place[site], queue.size[0]
    while 2 * at + 1 < size:
        down = 2 * at + 1
        if down + 1 < size and _before(queue, queue.items[down + 1], queue.items[down]):
            down += 1
        below = queue.items[down]
        if not _before(queue, below, site):
            break
        queue.items[at], queue.place[below] = below, at
        at = down
    queue.items[at], queue.place[site] = site, at


@compiled
def _drop_first(queue: Queue) -> None:
    queue.place[queue.items[0]] = -1
    queue.size[0] -= 1
    size = queue.size[0]
    if size > 0:
        last = queue.items[size]
        queue.items[0], queue.place[last] = last, 0
        _fall(queue, last)


@compiled
def _refresh(node: int, tree: Tree, fringe: Fringe) -> None:
    """Take the largest reachability of a leaf anew and hand it up."""
    most = -1.0
    for site in range(tree.start[node], tree.stop[node]):
        most = max(most, fringe.reach[site])
    while fringe.most[node] != most:
        fringe.most[node] = most
        if node == 0:
            break
        node = (node - 1) >> 1
        most = max(fringe.most[2 * node + 1], fringe.most[2 * node + 2])


@compiled
def _gap2(tree: Tree, node: int, x: float, y: float, z: float) -> float:
    """Return the square of the distance from a point to a box."""
    dx = max(tree.low[node, 0] - x, 0.0, x - tree.high[node, 0])
    dy = max(tree.low[node, 1] - y, 0.0, y - tree.high[node, 1])
    dz = max(tree.low[node, 2] - z, 0.0, z - tree.high[node, 2])
    square: float = dx * dx + dy * dy + dz * dz
    return square


@compiled
def _improve_leaf(
    here: int, node: int, core: float, radius: float, max_chord: float, tree: Tree, fringe: Fringe, queue: Queue
) -> bool:
    """Improve the sites of a leaf that are reached from `here` within `radius`; tell whether one was."""
    x, y, z = tree.xyz[here, 0], tree.xyz[here, 1], tree.xyz[here, 2]
    improved = False
    for site in range(tree.start[node], tree.stop[node]):
        reach = fringe.reach[site]
        if reach <= core:
            continue
        dx, dy, dz = x - tree.xyz[site, 0], y - tree.xyz[site, 1], z - tree.xyz[site, 2]
        square = dx * dx + dy * dy + dz * dz
        if square > (min(radius, reach) + HAIR) ** 2:  # no root for the others
            continue
        chord = np.sqrt(square)
        reached = np.rint(max(chord, core) * SCALE) / SCALE
        earlier = reached == reach and fringe.turn[here] < fringe.turn[fringe.source[site]]
        if chord <= max_chord and (reached < reach or earlier):
            improved = improved or reached < reach
            fringe.reach[site], fringe.source[site] = reached, here
            _rise(queue, site)
    return improved


@compiled
def _look_around(
    here: int, core: float, radius: float, max_chord: float, tree: Tree, fringe: Fringe, queue: Queue, stack: Rows
) -> None:
    """Improve every site that is reached from `here` within `radius`, a chord that is not less than `core`."""
    x, y, z = tree.xyz[here, 0], tree.xyz[here, 1], tree.xyz[here, 2]
    first_leaf = len(tree.start) // 2
    depth, stack[0] = 1, 0
    while depth > 0:
        depth -= 1
        node = stack[depth]
        most = fringe.most[node]
        # at `core` itself only an earlier visitor could win a tie, and that one has looked there
        if most <= core or _gap2(tree, node, x, y, z) > (min(radius, most) + HAIR) ** 2:
            continue
        if node < first_leaf:
            stack[depth], stack[depth + 1] = 2 * node + 1, 2 * node + 2
            depth += 2
        elif _improve_leaf(here, node, core, radius, max_chord, tree, fringe, queue):
            _refresh(node, tree, fringe)


@compiled
def _look_farther(
    core: Floats, max_chord: float, tree: Tree, fringe: Fringe, queue: Queue, seen: Queue, stack: Rows
) -> None:
    """Let visited sites look around until none of them can reach a site before the first of the queue."""
    while seen.size[0] > 0:
        here = seen.items[0]
        least = fringe.reach[queue.items[0]] if queue.size[0] > 0 else np.inf
        if seen.value[here] >= least:
            break
        radius = min(max_chord, least * REACH if least < np.inf else max(seen.value[here] * GROWTH, LEAST))
        _look_around(here, core[here], radius, max_chord, tree, fringe, queue, stack)
        if radius >= max_chord:
            _drop_first(seen)
        else:
            seen.value[here] = radius
            _fall(seen, here)


@compiled
def _leave(here: int, following: int, tree: Tree, copies: Copies, fringe: Fringe, queue: Queue) -> None:
    """Go on to the next row of a site, the `following`-th of all, or be done with the site."""
    queued = queue.place[here] >= 0
    if following < copies.first[here + 1]:
        fringe.row[here] = copies.rows[following]
        if queued:
            _fall(queue, here)
        return
    if queued:
        _drop_first(queue)
    fringe.reach[here] = -1.0
    _refresh(tree.leaf_of[here], tree, fringe)


@compiled
def walk(tree: Tree, copies: Copies, core: Floats, max_chord: float) -> tuple[Rows, Floats, Rows]:
    """Order rows by growing reachability; ties go to the lowest row.

    Args:
        tree: the sites.
        copies: the rows at each site.
        core: core distances as chords, (S,), inf where there is none; rounded to 15 decimals.
        max_chord: neighbours farther than this are not looked at; 2 or more for all.

    Returns:
        Ordering (N,), reachability as chords (N,) and predecessor (N,), the latter two by row.
    """
    count, total = len(tree.xyz), len(copies.rows)
    ordering, reachability = np.empty(total, np.int64), np.empty(total)
    predecessor = np.full(total, -1, np.int64)
    following = copies.first[:-1].copy()
    lowest = copies.rows[following]
    outside = np.full(count, -1, np.int64)
    fringe = Fringe(
        np.full(count, np.inf), outside.copy(), outside.copy(), lowest.copy(), np.full(len(tree.start), np.inf)
    )
    queue = Queue(np.empty(count, np.int64), outside.copy(), np.zeros(1, np.int64), fringe.reach, fringe.row)
    seen = Queue(np.empty(count, np.int64), outside.copy(), np.zeros(1, np.int64), np.empty(count), lowest)
    stack = np.empty(128, np.int64)
    row_left = 0
    for step in range(total):
        _look_farther(core, max_chord, tree, fringe, queue, seen, stack)
        if queue.size[0] > 0:
            here = queue.items[0]
        else:  # nothing within reach: on with the first row that is left
            while fringe.row[copies.site_of[row_left]] > row_left or fringe.reach[copies.site_of[row_left]] < 0.0:
                row_left += 1
            here = copies.site_of[row_left]
        row = fringe.row[here]
        ordering[step], reachability[row] = row, fringe.reach[here]
        if fringe.source[here] >= 0:
            predecessor[row] = lowest[fringe.source[here]]
        following[here] += 1
        _leave(here, following[here], tree, copies, fringe, queue)
        if fringe.turn[here] < 0:  # the copies of a site that was visited reach nothing sooner
            fringe.turn[here] = step
            if core[here] <= max_chord:
                _look_around(here, core[here], core[here], max_chord, tree, fringe, queue, stack)
                seen.value[here] = core[here]
                _rise(seen, here)
    return ordering, reachability, predecessor
