"""The walk of OPTICS, compiled; import it only when it is needed, for numba takes seconds.

It is Prim's algorithm on a graph that is never written down. A site that was visited improves the reachability of
the sites around it only as far as somebody asks: out to its core distance at once, and farther each time the least
reachability of the queue grows beyond what it has looked at. A tree of boxes around the sites, each with the largest
reachability inside, skips what cannot be improved. Whatever is left out would not have changed the next step, so
the result is that of the dense walk.

State lies in arrays of records: handing an array to a function counts its references, which costs as much as the
work of one step.
"""

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

SITE = np.dtype(
    [
        ("x", "f8"), ("y", "f8"), ("z", "f8"),  # unit vector
        ("leaf", "i8"),  # node
        ("core", "f8"),  # core distance as a chord, inf if there is none
        ("reach", "f8"),  # least reachability so far, -1 when all rows were visited
        ("source", "i8"),  # site that it is reached from, -1 if none
        ("turn", "i8"),  # step at which the first row was visited, -1 before
        ("first", "i8"), ("next", "i8"), ("end", "i8"),  # place of its rows: first, first not visited, after the last
    ]
)  # fmt: skip
"""A place, with the input rows that lie there; sites follow the order of the leaves."""

NODE = np.dtype(
    [
        ("x0", "f8"), ("y0", "f8"), ("z0", "f8"), ("x1", "f8"), ("y1", "f8"), ("z1", "f8"),  # box of its sites
        ("start", "i8"), ("stop", "i8"),  # its sites
        ("most", "f8"),  # largest reachability of its sites
    ]
)  # fmt: skip
"""A node of a complete binary tree: node i has the children 2i + 1 and 2i + 2, the second half are leaves."""

ENTRY = np.dtype([("value", "f8"), ("rank", "i8"), ("site", "i8")])
"""An entry of a binary heap, least value first, then least rank; one more at the end holds the size as `site`."""

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]
Records = NDArray[np.void]


@compiled
def _rise(heap: Records, place: Rows, site: int, value: float, rank: int) -> None:
    """Add a site, or move it up to where its new value belongs."""
    at = place[site]
    if at < 0:
        at = heap[-1].site
        heap[-1].site += 1
    while at > 0:
        above = heap[(at - 1) >> 1]
        if above.value < value or (above.value == value and above.rank <= rank):
            break
        entry = heap[at]
        entry.value, entry.rank, entry.site = above.value, above.rank, above.site
        place[above.site] = at
        at = (at - 1) >> 1
    entry = heap[at]
    entry.value, entry.rank, entry.site = value, rank, site
    place[site] = at


@compiled
def _sink(heap: Records, place: Rows, site: int, value: float, rank: int) -> None:
    """Put a site in the place of the first, or below where its value belongs."""
    at, size = 0, heap[-1].site
    while 2 * at + 1 < size:
        down = 2 * at + 1
        if down + 1 < size:
            left, right = heap[down], heap[down + 1]
            if right.value < left.value or (right.value == left.value and right.rank < left.rank):
                down += 1
        below = heap[down]
        if value < below.value or (value == below.value and rank <= below.rank):
            break
        entry = heap[at]
        entry.value, entry.rank, entry.site = below.value, below.rank, below.site
        place[below.site] = at
        at = down
    entry = heap[at]
    entry.value, entry.rank, entry.site = value, rank, site
    place[site] = at


@compiled
def _drop_first(heap: Records, place: Rows) -> None:
    place[heap[0].site] = -1
    heap[-1].site -= 1
    size = heap[-1].site
    if size > 0:
        last = heap[size]
        _sink(heap, place, last.site, last.value, last.rank)


@compiled
def _refresh(node: int, nodes: Records, sites: Records) -> None:
    """Take the largest reachability of a leaf anew and hand it up."""
    most = -1.0
    for site in range(nodes[node].start, nodes[node].stop):
        most = max(most, sites[site].reach)
    while nodes[node].most != most:
        nodes[node].most = most
        if node == 0:
            break
        node = (node - 1) >> 1
        most = max(nodes[2 * node + 1].most, nodes[2 * node + 2].most)


@compiled
def _look_around(
    here: int, radius: float, max_chord: float, sites: Records, nodes: Records, rows: Rows,
    queue: Records, place: Rows, stack: Rows,
) -> None:  # fmt: skip
    """Improve every site that is reached from `here` within `radius`, a chord not less than its core distance."""
    x, y, z, core, turn = sites[here].x, sites[here].y, sites[here].z, sites[here].core, sites[here].turn
    first_leaf = len(nodes) // 2
    depth, stack[0] = 1, 0
    while depth > 0:
        depth -= 1
        at = stack[depth]
        node = nodes[at]
        # at the core distance only an earlier visitor could win a tie, and that one has looked there
        if node.most <= core:
            continue
        dx = max(node.x0 - x, 0.0, x - node.x1)
        dy = max(node.y0 - y, 0.0, y - node.y1)
        dz = max(node.z0 - z, 0.0, z - node.z1)
        if dx * dx + dy * dy + dz * dz > (min(radius, node.most) + HAIR) ** 2:
            continue
        if at < first_leaf:
            stack[depth], stack[depth + 1] = 2 * at + 1, 2 * at + 2
            depth += 2
            continue
        improved = False
        for there in range(node.start, node.stop):
            site = sites[there]
            if site.reach <= core:
                continue
            dx, dy, dz = x - site.x, y - site.y, z - site.z
            square = dx * dx + dy * dy + dz * dz
            if square > (min(radius, site.reach) + HAIR) ** 2:  # no root for the others
                continue
            chord = np.sqrt(square)
            reached = np.rint(max(chord, core) * SCALE) / SCALE
            if chord <= max_chord and (
                reached < site.reach or (reached == site.reach and turn < sites[site.source].turn)
            ):
                improved = improved or reached < site.reach
                site.reach, site.source = reached, here
                _rise(queue, place, there, reached, rows[site.next])
        if improved:
            _refresh(at, nodes, sites)


@compiled
def _look_farther(
    radius: float, max_chord: float, sites: Records, nodes: Records, rows: Rows,
    queue: Records, place: Rows, seen: Records, seen_place: Rows, stack: Rows,
) -> None:  # fmt: skip
    """Let the visited site that has looked least far look out to `radius`."""
    here, rank = seen[0].site, seen[0].rank
    _look_around(here, radius, max_chord, sites, nodes, rows, queue, place, stack)
    if radius >= max_chord:
        _drop_first(seen, seen_place)
    else:
        _sink(seen, seen_place, here, radius, rank)


@compiled
def _leave(here: int, sites: Records, nodes: Records, rows: Rows, queue: Records, place: Rows) -> None:
    """Go on to the next row of a site, or take the site out of the queue after its last one."""
    site = sites[here]
    site.next += 1
    if site.next < site.end:
        if place[here] >= 0:
            _sink(queue, place, here, site.reach, rows[site.next])
        return
    if place[here] >= 0:
        _drop_first(queue, place)
    site.reach = -1.0
    _refresh(site.leaf, nodes, sites)


@compiled
def walk(sites: Records, nodes: Records, rows: Rows, site_of: Rows, max_chord: float) -> tuple[Rows, Floats, Rows]:
    """Order rows by growing reachability; ties go to the lowest row.

    Args:
        sites: (S,) of `SITE`; changed.
        nodes: of `NODE`; changed.
        rows: input rows site by site, ascending at each, (N,).
        site_of: site of each row, (N,).
        max_chord: neighbours farther than this are not looked at; more than 2 for all.

    Returns:
        Ordering (N,), reachability as chords (N,) and predecessor (N,), the latter two by row.
    """
    count, total = len(sites), len(rows)
    ordering, reachability, predecessor = np.empty(total, np.int64), np.empty(total), np.full(total, -1, np.int64)
    queue, place = np.empty(count + 1, ENTRY), np.full(count, -1, np.int64)
    # visited sites, by the distance that they have looked at
    seen, seen_place = np.empty(count + 1, ENTRY), np.full(count, -1, np.int64)
    queue[-1].site, seen[-1].site = 0, 0
    stack = np.empty(128, np.int64)
    row_left = 0
    for step in range(total):
        while seen[-1].site > 0:
            least = queue[0].value if queue[-1].site > 0 else np.inf
            looked = seen[0].value
            if looked >= least:  # nobody can reach a site before the first of the queue
                break
            radius = min(max_chord, least * REACH if least < np.inf else max(looked * GROWTH, LEAST))
            _look_farther(radius, max_chord, sites, nodes, rows, queue, place, seen, seen_place, stack)
        if queue[-1].site > 0:
            here = queue[0].site
        else:  # nothing within reach: on with the first row that is left
            while sites[site_of[row_left]].reach < 0.0 or rows[sites[site_of[row_left]].next] > row_left:
                row_left += 1
            here = site_of[row_left]
        site = sites[here]
        row = rows[site.next]
        ordering[step], reachability[row] = row, site.reach
        if site.source >= 0:
            predecessor[row] = rows[sites[site.source].first]
        _leave(here, sites, nodes, rows, queue, place)
        if site.turn < 0:  # the copies of a site that was visited reach nothing sooner
            site.turn = step
            if site.core <= max_chord:
                _look_around(here, site.core, max_chord, sites, nodes, rows, queue, place, stack)
                _rise(seen, seen_place, here, site.core, row)
    return ordering, reachability, predecessor
