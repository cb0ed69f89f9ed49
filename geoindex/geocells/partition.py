"""The cells of an index: sites on the sphere, and the rule that gives each position its cell."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar, Protocol, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from geoindex import geo
from geoindex.errors import ConfigError
from geoindex.geocells.outlines import Regions, regions_of
from geoindex.geocells.positions import Floats, Rows, checked_positions, distinct_positions
from geoindex.geocells.voronoi import voronoi_polygons

Labels: TypeAlias = Sequence[str | None]
"""A label of each position, such as its country; None where it is not known."""


class Partition(ABC):
    """Cells that cover the Earth without overlap.

    Attributes:
        kind: word for the rule in `to_dict`.
        method: how the cells were found.
        site_lat, site_lon: the point that a cell was made around, in degrees, each (C,); frozen.
    """

    kind: ClassVar[str]
    method: str
    site_lat: Floats
    site_lon: Floats

    @abstractmethod
    def assign(self, lat: ArrayLike, lon: ArrayLike, labels: Labels | None = None) -> Rows:
        """Return the cell of each position, (N,).

        Args:
            lat: latitudes in degrees, (N,).
            lon: longitudes in degrees, (N,).
            labels: looked at only by partitions that keep to the borders of a label.

        Raises:
            CoordinateError: if a position is not on Earth.
            ConfigError: if there is not one label a position.
        """

    @abstractmethod
    def keep(self, cells: Rows) -> "Partition":
        """Return the partition with these cells alone, (K,) ascending; the land of the others goes to neighbours."""

    @abstractmethod
    def regions(self) -> Regions:
        """Return outlines and areas of the cells, for drawing and export."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Return the partition as plain JSON types; `read_partition` reads it back."""

    def __len__(self) -> int:
        return len(self.site_lat)


@dataclass(frozen=True, slots=True, eq=False)
class VoronoiPartition(Partition):
    """A position belongs to the nearest site.

    Attributes:
        site_lat, site_lon: Voronoi generators in degrees, each (C,), no two at one place.
        method: how the sites were found.
    """

    kind = "voronoi"

    site_lat: Floats
    site_lon: Floats
    method: str = "optics"

    def __post_init__(self) -> None:
        lat, lon = checked_positions(self.site_lat, self.site_lon)
        if len(lat) == 0:
            raise ConfigError("A partition without sites covers nothing; pass at least one.")
        rows = distinct_positions(lat, lon)
        object.__setattr__(self, "site_lat", lat[rows])
        object.__setattr__(self, "site_lon", lon[rows])

    def assign(self, lat: ArrayLike, lon: ArrayLike, labels: Labels | None = None) -> Rows:
        """Return the row of the nearest site of each position, (N,)."""
        lats, lons = checked_positions(lat, lon)
        return geo.nearest(self.site_lat, self.site_lon, lats, lons)[0]

    def keep(self, cells: Rows) -> "VoronoiPartition":
        """Return the Voronoi partition of some of the sites."""
        return VoronoiPartition(self.site_lat[cells], self.site_lon[cells], self.method)

    def regions(self) -> Regions:
        """Return the Voronoi polygons; their areas sum to the Earth's."""
        return regions_of(voronoi_polygons(self.site_lat, self.site_lon))

    def to_dict(self) -> dict[str, Any]:
        """Return the sites as plain JSON types."""
        sites = {"site_lat": self.site_lat.tolist(), "site_lon": self.site_lon.tolist()}
        return {"kind": self.kind, "method": self.method, **sites}


class Rule(Protocol):
    """Divides the Earth into numbered leaves, whether somebody was there or not."""

    def leaf_of(self, lat: Floats, lon: Floats) -> Rows:
        """Return the leaf of each position, (N,); positions as from `checked_positions`."""
        ...

    def regions(self, leaves: Rows) -> Regions:
        """Return outlines and areas of some leaves."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """Return the rule as plain JSON types, with its name as `rule`."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class RuledPartition(Partition):
    """A position belongs to the leaf that a rule gives it; where that is no cell, to the nearest site.

    Attributes:
        site_lat, site_lon: mean position of each cell's first members in degrees, each (C,).
        leaves: leaf of each cell, (C,), ascending.
        rule: quadtree, bisection or grid.
        method: how the leaves were found.
    """

    kind = "ruled"

    site_lat: Floats
    site_lon: Floats
    leaves: Rows
    rule: Rule
    method: str

    def assign(self, lat: ArrayLike, lon: ArrayLike, labels: Labels | None = None) -> Rows:
        """Return the cell of each position by the rule, (N,)."""
        lats, lons = checked_positions(lat, lon)
        leaf = self.rule.leaf_of(lats, lons)
        cell = np.minimum(np.searchsorted(self.leaves, leaf), len(self) - 1)
        outside = np.flatnonzero(self.leaves[cell] != leaf)
        if len(outside):
            cell[outside] = geo.nearest(self.site_lat, self.site_lon, lats[outside], lons[outside])[0]
        return cell.astype(np.int64)

    def keep(self, cells: Rows) -> "RuledPartition":
        """Return the partition with some of the leaves as cells."""
        return RuledPartition(self.site_lat[cells], self.site_lon[cells], self.leaves[cells], self.rule, self.method)

    def regions(self) -> Regions:
        """Return the outlines of the cells' own leaves; what the nearest site got of other leaves is not drawn."""
        return self.rule.regions(self.leaves)

    def to_dict(self) -> dict[str, Any]:
        """Return rule, leaves and sites as plain JSON types."""
        sites = {"site_lat": self.site_lat.tolist(), "site_lon": self.site_lon.tolist()}
        leaves = {"leaves": self.leaves.tolist(), "rule": self.rule.to_dict()}
        return {"kind": self.kind, "method": self.method, **sites, **leaves}


@dataclass(frozen=True, slots=True, eq=False)
class BorderedPartition(Partition):
    """Cells that never cross the border of a label: each label value has a partition of its own.

    A position whose label is unknown belongs to the nearest site of all.

    Attributes:
        labels: label values, sorted, (L,).
        parts: partition of each label's positions; cells are counted through them in this order.
        within: name of the label.
    """

    kind = "bordered"

    labels: tuple[str, ...]
    parts: tuple[Partition, ...]
    within: str

    @property
    def method(self) -> str:  # type: ignore[override]
        """How the cells of each part were found."""
        return self.parts[0].method

    @property
    def site_lat(self) -> Floats:  # type: ignore[override]
        """Latitudes of all sites in degrees, (C,)."""
        return np.concatenate([part.site_lat for part in self.parts])

    @property
    def site_lon(self) -> Floats:  # type: ignore[override]
        """Longitudes of all sites in degrees, (C,)."""
        return np.concatenate([part.site_lon for part in self.parts])

    @property
    def label_of_cell(self) -> NDArray[np.str_]:
        """Label value of each cell, (C,)."""
        return np.repeat(np.asarray(self.labels, np.str_), [len(part) for part in self.parts])

    def assign(self, lat: ArrayLike, lon: ArrayLike, labels: Labels | None = None) -> Rows:
        """Return the cell of each position among those of its label, (N,)."""
        lats, lons = checked_positions(lat, lon)
        part_of = self._part_of(labels, len(lats))
        starts = self._starts()
        cell = np.empty(len(lats), np.int64)
        for number in np.unique(part_of):
            rows = np.flatnonzero(part_of == number)
            if number < 0:
                cell[rows] = geo.nearest(self.site_lat, self.site_lon, lats[rows], lons[rows])[0]
            else:
                cell[rows] = starts[number] + self.parts[number].assign(lats[rows], lons[rows])
        return cell

    def keep(self, cells: Rows) -> "BorderedPartition":
        """Return the partition with some of the cells; a label without cells is unknown from then on."""
        starts = self._starts()
        kept = [cells[(cells >= a) & (cells < b)] - a for a, b in pairwise(starts)]
        some = [number for number, rows in enumerate(kept) if len(rows)]
        parts = tuple(self.parts[number].keep(kept[number]) for number in some)
        return BorderedPartition(tuple(self.labels[number] for number in some), parts, self.within)

    def regions(self) -> Regions:
        """Return the Voronoi polygons of all sites: where a position of unknown label belongs."""
        return regions_of(voronoi_polygons(self.site_lat, self.site_lon))

    def to_dict(self) -> dict[str, Any]:
        """Return the parts by label as plain JSON types."""
        parts = {label: part.to_dict() for label, part in zip(self.labels, self.parts, strict=True)}
        return {"kind": self.kind, "method": self.method, "within": self.within, "parts": parts}

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def _starts(self) -> Rows:
        return np.concatenate([[0], np.cumsum([len(part) for part in self.parts])]).astype(np.int64)

    def _part_of(self, labels: Labels | None, count: int) -> Rows:
        if labels is None:
            return np.full(count, -1, np.int64)
        if len(labels) != count:
            raise ConfigError(f"{len(labels)} labels do not match {count} positions; pass one a position, or None.")
        number = {label: row for row, label in enumerate(self.labels)}
        return np.fromiter((number.get(label or "", -1) for label in labels), np.int64, count)
