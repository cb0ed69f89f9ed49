"""The quadtree of OSV-5M: boxes of degrees are cut in four while they hold too many positions."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from geoindex import geo
from geoindex.geocells.outlines import Regions
from geoindex.geocells.positions import Floats, Rows

DEEPEST = 30
"""Cuts that a position's code has bits for; a box is then a few centimetres wide."""


@dataclass(frozen=True, slots=True, eq=False)
class Quadtree:
    """A box of degrees, cut in four again and again; positions outside belong to its edge.

    Attributes:
        south, north, west, east: the whole box in degrees.
        code: where each leaf starts on the Morton curve of 4**DEEPEST tiles, (L,), ascending from 0.
        depth: cuts down to each leaf, (L,).
    """

    south: float
    north: float
    west: float
    east: float
    code: Rows
    depth: Rows

    def leaf_of(self, lat: Floats, lon: Floats) -> Rows:
        """Return the leaf of each position, (N,)."""
        codes = _codes(lat, lon, (self.south, self.north, self.west, self.east))
        return np.searchsorted(self.code, codes, side="right").astype(np.int64) - 1

    def regions(self, leaves: Rows) -> Regions:
        """Return the boxes of some leaves; those at the edge of the whole box do not go on beyond it."""
        row, column = _tiles(self.code[leaves])
        side = 2.0 ** -self.depth[leaves]
        south = self.south + (self.north - self.south) * row / 2**DEEPEST
        west = self.west + (self.east - self.west) * column / 2**DEEPEST
        north, east = south + (self.north - self.south) * side, west + (self.east - self.west) * side
        area = (
            np.radians(east - west) * (np.sin(np.radians(north)) - np.sin(np.radians(south))) * geo.EARTH_RADIUS_KM**2
        )
        corners = np.stack([west, south, east, south, east, north, west, north, west, south], axis=-1)
        return Regions(tuple([ring] for ring in corners.reshape(-1, 5, 2)), area)

    def to_dict(self) -> dict[str, Any]:
        """Return box and leaves as plain JSON types."""
        box = {"south": self.south, "north": self.north, "west": self.west, "east": self.east}
        return {"rule": "quadtree", **box, "code": self.code.tolist(), "depth": self.depth.tolist()}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Quadtree":
        """Rebuild from `to_dict`."""
        code, depth = np.asarray(data["code"], np.int64), np.asarray(data["depth"], np.int64)
        return cls(data["south"], data["north"], data["west"], data["east"], code, depth)


def fit_quadtree(lat: Floats, lon: Floats, split_above: int, max_depth: int) -> Quadtree:
    """Cut the box around positions until no leaf above `max_depth` cuts holds more than `split_above` of them."""
    box = float(lat.min()), float(lat.max()), float(lon.min()), float(lon.max())
    codes = np.sort(_codes(lat, lon, box))
    return Quadtree(*box, *_cut(codes, split_above, min(max_depth, DEEPEST)))


def fit_quadtree_of(lat: Floats, lon: Floats, max_cells: int, max_depth: int) -> Quadtree:
    """Return the finest quadtree with at most `max_cells` leaves that hold a position."""
    box = float(lat.min()), float(lat.max()), float(lon.min()), float(lon.max())
    codes = np.sort(_codes(lat, lon, box))
    depth = min(max_depth, DEEPEST)
    low, high = 1, len(lat)  # the answer lies between: leaves grow fewer as they may hold more
    while low < high:
        middle = (low + high) // 2
        if _occupied(codes, _cut(codes, middle, depth)[0]) <= max_cells:
            high = middle
        else:
            low = middle + 1
    return Quadtree(*box, *_cut(codes, low, depth))


def _cut(codes: Rows, split_above: int, max_depth: int) -> tuple[Rows, Rows]:
    """Return start code and depth of the leaves over sorted codes, each (L,)."""
    leaves: list[Rows] = []
    open_ = np.zeros(1, np.int64)
    for depth in range(max_depth + 1):
        width = 4 ** (DEEPEST - depth)
        held = np.searchsorted(codes, open_ + width) - np.searchsorted(codes, open_)
        full = (held > split_above) & (depth < max_depth)
        leaves.append(np.stack([open_[~full], np.full(int(np.sum(~full)), depth)]))
        open_ = (open_[full][:, None] + width // 4 * np.arange(4)).ravel()
    code, cuts = np.concatenate(leaves, axis=1)
    order = np.argsort(code)
    return code[order], cuts[order]


def _occupied(codes: Rows, start: Rows) -> int:
    bounds = np.append(np.searchsorted(codes, start), len(codes))
    return int(np.sum(np.diff(bounds) > 0))


def _codes(lat: Floats, lon: Floats, box: tuple[float, float, float, float]) -> Rows:
    """Return the tile of each position along the Morton curve, (N,)."""
    south, north, west, east = box
    row = _tile(lat, south, north)
    column = _tile(lon, west, east)
    return np.asarray((_spread(row) << 1) | _spread(column))


def _tile(degrees: Floats, low: float, high: float) -> Rows:
    if high == low:
        return np.zeros(len(degrees), np.int64)
    share = np.clip((degrees - low) / (high - low), 0.0, 1.0)
    tiles: Rows = np.minimum((share * 2**DEEPEST).astype(np.int64), 2**DEEPEST - 1)
    return tiles


def _tiles(code: Rows) -> tuple[Rows, Rows]:
    """Return row and column of tiles along the Morton curve."""
    return _gather(code >> 1), _gather(code)


MASKS = (0x5555555555555555, 0x3333333333333333, 0x0F0F0F0F0F0F0F0F, 0x00FF00FF00FF00FF, 0x0000FFFF0000FFFF)


def _spread(bits: Rows) -> Rows:
    """Put a zero before each of 32 bits."""
    for shift, mask in zip((16, 8, 4, 2, 1), MASKS[::-1], strict=True):
        bits = (bits | (bits << shift)) & mask
    return bits


def _gather(bits: Rows) -> Rows:
    """Take every second bit."""
    bits = bits & MASKS[0]
    for shift, mask in zip((1, 2, 4, 8), MASKS[1:], strict=True):
        bits = (bits | (bits >> shift)) & mask
    return np.asarray((bits | (bits >> 16)) & 0xFFFFFFFF)
