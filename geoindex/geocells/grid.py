"""The hexagons of H3 (Uber), as a partition: one resolution everywhere, whoever lives there."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from geoindex import geo
from geoindex.errors import MissingExtraError
from geoindex.geocells.outlines import Regions, regions_of
from geoindex.geocells.polygons import convex_polygons
from geoindex.geocells.positions import Floats, Rows

FINEST = 15


@dataclass(frozen=True, slots=True)
class Grid:
    """H3 cells of one resolution, 0 (122 cells of the Earth) to 15.

    Attributes:
        resolution: each step has seven times as many cells.
    """

    resolution: int

    def leaf_of(self, lat: Floats, lon: Floats) -> Rows:
        """Return the H3 number of the hexagon of each position, (N,)."""
        number, degrees = _h3().latlng_to_cell, zip(lat.tolist(), lon.tolist(), strict=True)
        return np.fromiter((number(*pair, self.resolution) for pair in degrees), np.int64, len(lat))

    def regions(self, leaves: Rows) -> Regions:
        """Return the outlines of some hexagons; sides are great circles."""
        outline = _h3().cell_to_boundary
        rings = [geo.to_unit(*np.asarray(outline(leaf)).T) for leaf in leaves.tolist()]
        return regions_of(convex_polygons(rings, [ring.sum(axis=0) for ring in rings]))

    def to_dict(self) -> dict[str, Any]:
        """Return the resolution as plain JSON types."""
        return {"rule": "grid", "resolution": self.resolution}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Grid":
        """Rebuild from `to_dict`."""
        return cls(int(data["resolution"]))


def fit_grid(lat: Floats, lon: Floats, max_cells: int) -> Grid:
    """Return the finest grid of which positions occupy at most `max_cells` hexagons; resolution 0 if none is."""
    chosen = Grid(0)
    for resolution in range(1, FINEST + 1):
        finer = Grid(resolution)
        if len(np.unique(finer.leaf_of(lat, lon))) > max_cells:
            break
        chosen = finer
    return chosen


def _h3() -> Any:
    try:
        from h3.api import numpy_int
    except ImportError:
        raise MissingExtraError(
            "Geocells of method 'grid' need H3; install it with: pip install 'geoindex[grid]'."
        ) from None
    return numpy_int
