"""Cells of equal count: the positions are halved by great circles, across their widest direction."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoindex import geo
from geoindex.geocells.outlines import Regions, regions_of
from geoindex.geocells.polygons import convex_polygons, overlap_of
from geoindex.geocells.positions import Floats, Rows

SLANTS = (0.0, 0.03, -0.05, 0.3, -0.5)
"""Turns of a cut that are tried until it halves the positions; of those in rows, many lie on a straight one."""

NARROW = 1e-12
"""Angle in radians, about 6 micrometres, under which positions are not cut apart: rounding would move them."""


@dataclass(frozen=True, slots=True, eq=False)
class Bisection:
    """A binary tree of great circles.

    Attributes:
        pole: of the circle of each node, (K, 3); positions with a positive product go to `above`.
        above, below: node that follows, or leaf -1 - number, each (K,).
    """

    pole: Floats
    above: Rows
    below: Rows

    def leaf_of(self, lat: Floats, lon: Floats) -> Rows:
        """Return the leaf of each position, (N,)."""
        xyz = geo.to_unit(lat, lon)
        at = np.full(len(xyz), 0 if len(self.pole) else -1)
        while len(rows := np.flatnonzero(at >= 0)):
            node = at[rows]
            at[rows] = np.where(_above(xyz[rows], self.pole[node]), self.above[node], self.below[node])
        return -1 - at

    def regions(self, leaves: Rows) -> Regions:
        """Return the convex polygons of some leaves."""
        poles = self._poles_of_leaves()
        of_cells = [poles[leaf] for leaf in leaves.tolist()]
        return regions_of(convex_polygons([overlap_of(p) for p in of_cells], [p.sum(axis=0) for p in of_cells]))

    def to_dict(self) -> dict[str, Any]:
        """Return the tree as plain JSON types."""
        nodes = {"pole": self.pole.tolist(), "above": self.above.tolist(), "below": self.below.tolist()}
        return {"rule": "bisection", **nodes}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Bisection":
        """Rebuild from `to_dict`."""
        pole = np.asarray(data["pole"], float).reshape(-1, 3)
        return cls(pole, np.asarray(data["above"], np.int64), np.asarray(data["below"], np.int64))

    def _poles_of_leaves(self) -> dict[int, Floats]:
        """Return for each leaf the poles of the hemispheres that it is the overlap of, (depth, 3)."""
        found: dict[int, Floats] = {}
        stack = [(0 if len(self.pole) else -1, np.empty((0, 3)))]
        while stack:
            at, poles = stack.pop()
            if at < 0:
                found[-1 - at] = poles
                continue
            stack.append((int(self.above[at]), np.vstack([poles, self.pole[at]])))
            stack.append((int(self.below[at]), np.vstack([poles, -self.pole[at]])))
        return found


def fit_bisection(lat: Floats, lon: Floats, count: int) -> Bisection:
    """Divide positions into `count` cells of as equal a number of positions as their copies allow.

    A great circle cannot cut less than half off positions that lie evenly all around the globe, so the cells of an odd
    count are not quite equal there. There are never more cells than distinct positions.
    """
    xyz = geo.to_unit(lat, lon)
    place = np.unique(lat + 1j * lon, return_inverse=True)[1]
    pole: list[Floats] = []
    child: list[list[int]] = []  # below, above
    leaves = 0
    stack = [(np.arange(len(xyz)), min(count, int(place.max()) + 1), -1, 0)]  # rows, their cells, node above, side
    while stack:
        rows, cells, parent, side = stack.pop()
        split = _split(xyz[rows], cells // 2 / cells) if cells > 1 else None
        number = -1 - leaves if split is None else len(pole)
        if parent >= 0:
            child[parent][side] = number
        if split is None:
            leaves += 1
            continue
        circle, over = split
        pole.append(circle)
        child.append([0, 0])
        upper = _cells_above(cells, place[rows[over]], place[rows[~over]])
        stack.append((rows[over], upper, number, 1))
        stack.append((rows[~over], cells - upper, number, 0))
    below, above = np.asarray(child, np.int64).reshape(-1, 2).T
    return Bisection(np.asarray(pole).reshape(-1, 3), above, below)


def _cells_above(cells: int, above: Rows, below: Rows) -> int:
    """Return how many of `cells` the positive side gets: half, unless a side has fewer places than that."""
    return min(max(cells // 2, cells - len(np.unique(below))), len(np.unique(above)))


def _split(xyz: Floats, share: float) -> tuple[Floats, NDArray[np.bool_]] | None:
    """Return a great circle with about `share` of the positions on its positive side, and which these are.

    It runs across the direction in which the positions vary most, or slightly aslant where that halves them better.
    """
    middle = xyz.mean(axis=0)
    off = xyz - middle
    # einsum, because a threaded matrix product may sum in another order and turn the circle
    axes = np.linalg.eigh(np.einsum("ni,nj->ij", off, off))[1]
    found, least = None, np.inf
    for slant in SLANTS:
        circle = _circle_across(xyz, middle, axes[:, 2] + slant * axes[:, 1], share)
        over = _above(xyz, circle)
        miss = abs(over.sum() - share * len(xyz))
        if miss < least and 0 < over.sum() < len(xyz):
            found, least = (circle, over), miss
        if least <= 0.5:
            break
    return found


def _circle_across(xyz: Floats, middle: Floats, widest: Floats, share: float) -> Floats:
    """Return the pole of a great circle across `widest` that comes nearest to `share`."""
    widest = widest / np.linalg.norm(widest)
    inward = middle - (middle @ widest) * widest
    length = np.linalg.norm(inward)
    if length < 1e-12:  # spread evenly around the globe: any direction across the widest will do
        inward = np.cross(widest, np.eye(3)[np.argmin(np.abs(widest))])
        length = np.linalg.norm(inward)
    inward /= length
    turn = _halving_angle(np.arctan2((xyz * widest).sum(axis=1), (xyz * inward).sum(axis=1)), share)
    return np.asarray(np.cos(turn) * widest - np.sin(turn) * inward)


def _above(xyz: Floats, pole: Floats) -> NDArray[np.bool_]:
    """Tell which positions are on the positive side of one great circle, or each of its own."""
    return np.asarray((xyz * pole).sum(axis=1) > 0)


def _halving_angle(angle: Floats, share: float) -> float:
    """Return where a half-turn starts that holds about `share` of the angles; between two of them."""
    values = np.unique(angle)
    gaps = np.diff(np.append(values, values[0] + 2.0 * np.pi))
    wide = gaps > NARROW
    starts, gaps = (values + 0.5 * gaps)[wide], gaps[wide]
    doubled = np.sort(np.concatenate([angle, angle + 2.0 * np.pi, angle + 4.0 * np.pi]))
    held = np.searchsorted(doubled, starts + np.pi) - np.searchsorted(doubled, starts)
    # of equally good starts the one in the widest gap cuts fewest towns
    off = np.abs(held - share * len(angle))
    best = np.flatnonzero(off <= off.min())
    return float(starts[best[np.argmax(gaps[best])]])
