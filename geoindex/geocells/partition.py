"""The cells of an index: sites on the sphere, and the rule that gives each position its cell."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from geoindex import geo
from geoindex.errors import ConfigError, EmptyDatasetError
from geoindex.geocells.positions import Floats, Rows, checked_positions, distinct_positions
from geoindex.geocells.sites import Sites, Trials, fit_sites
from geoindex.recipe import GeocellRecipe

METHOD = "optics"


@dataclass(frozen=True, slots=True, eq=False)
class Partition:
    """Cells that cover the Earth without overlap: a position belongs to the nearest site.

    Attributes:
        site_lat, site_lon: frozen Voronoi generators in degrees, each (C,), no two at one place.
        method: how the sites were found.
    """

    site_lat: Floats
    site_lon: Floats
    method: str = METHOD

    def __post_init__(self) -> None:
        lat, lon = checked_positions(self.site_lat, self.site_lon)
        if len(lat) == 0:
            raise ConfigError("A partition without sites covers nothing; pass at least one.")
        rows = distinct_positions(lat, lon)
        object.__setattr__(self, "site_lat", lat[rows])
        object.__setattr__(self, "site_lon", lon[rows])

    def assign(self, lat: ArrayLike, lon: ArrayLike, labels: object = None) -> Rows:
        """Return the cell of each position, (N,).

        Args:
            lat: latitudes in degrees, (N,).
            lon: longitudes in degrees, (N,).
            labels: not looked at by Voronoi partitions.

        Raises:
            CoordinateError: if a position is not on Earth.
        """
        lats, lons = checked_positions(lat, lon)
        return geo.nearest(self.site_lat, self.site_lon, lats, lons)[0]

    def to_dict(self) -> dict[str, Any]:
        """Return the partition as plain data for a manifest."""
        return {"method": self.method, "site_lat": self.site_lat.tolist(), "site_lon": self.site_lon.tolist()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Partition":
        """Rebuild from `to_dict`; sites come back bit for bit."""
        return cls(np.asarray(data["site_lat"], float), np.asarray(data["site_lon"], float), data["method"])

    def __len__(self) -> int:
        return len(self.site_lat)


@dataclass(frozen=True, slots=True, eq=False)
class FittedPartition:
    """A partition and the evidence for it.

    Attributes:
        partition: the cells; each holds at least one of the positions that OPTICS saw.
        scores: the sweep, one row per setting; empty where there was nothing to choose.
        chosen: the setting that won with its figures, the range, whether its count had to be repaired, the cells and
            error floor (median km from a position to its site) that came out, and how many positions OPTICS saw.
    """

    partition: Partition
    scores: list[dict[str, float | int | None]]
    chosen: dict[str, Any]

    def occupied_by(self, lat: ArrayLike, lon: ArrayLike) -> "FittedPartition":
        """Return the partition without the sites that are nearest to none of these positions.

        A gallery that is not what the cells were made from can leave some of them empty; their land goes to the
        neighbours, and none of these positions changes its cell.

        Raises:
            EmptyDatasetError: if there are no positions.
            CoordinateError: if a position is not on Earth.
        """
        sites = self.partition
        # again, since a position as near to two sites may change sides when others go
        while len(kept := np.unique(sites.assign(lat, lon))) < len(sites):
            if len(kept) == 0:
                raise EmptyDatasetError("There are no positions to occupy geocells; check what the source left out.")
            sites = Partition(sites.site_lat[kept], sites.site_lon[kept], sites.method)
        return FittedPartition(sites, self.scores, {**self.chosen, "n_cells": len(sites)})

    def to_dict(self) -> dict[str, Any]:
        """Return method, choice and sweep as plain data for a manifest; the sites are stored with the cells."""
        return {"method": self.partition.method, "chosen": self.chosen, "scores": self.scores}


def fit_partition(lat: ArrayLike, lon: ArrayLike, recipe: GeocellRecipe, seed: int) -> FittedPartition:
    """Divide the Earth by the density of positions (paper section 3.3).

    Of more than `recipe.max_positions` positions a seeded sample is looked at. A site is the centroid of its cluster
    at birth and frozen from then on.

    Args:
        lat: latitudes in degrees, (N,).
        lon: longitudes in degrees, (N,).
        recipe: settings to try and the range of cell counts.
        seed: of the sample and of the sampled silhouettes.

    Raises:
        EmptyDatasetError: if there are no positions.
        CoordinateError: if a position is not on Earth.
    """
    lats, lons = checked_positions(lat, lon)
    if len(lats) == 0:
        raise EmptyDatasetError("There are no positions to make geocells from; check what the source left out.")
    n_distinct = len(distinct_positions(lats, lons))
    lats, lons = _sampled(lats, lons, recipe.max_positions, seed)
    low, high = _cell_range(recipe, n_distinct, len(distinct_positions(lats, lons)))
    sites = fit_sites(lats, lons, low, high, Trials(recipe.min_samples, recipe.xi, seed))
    partition = Partition(sites.lat, sites.lon)
    chosen = {**_summary(sites), "min_cells": low, "max_cells": high, "n_cells": len(partition)}
    chosen["n_positions"] = len(lats)
    return FittedPartition(partition, [score.to_dict() for score in sites.scores], chosen)


def _sampled(lat: Floats, lon: Floats, count: int, seed: int) -> tuple[Floats, Floats]:
    if len(lat) <= count:
        return lat, lon
    rows = np.sort(np.random.default_rng(seed).choice(len(lat), count, replace=False))
    return lat[rows], lon[rows]


def _cell_range(recipe: GeocellRecipe, n_distinct: int, n_possible: int) -> tuple[int, int]:
    root = math.sqrt(n_distinct)
    low = recipe.min_cells or max(1, round(0.5 * root))
    high = recipe.max_cells or max(low, round(2.0 * root))
    return min(low, high, n_possible), min(high, n_possible)


def _summary(sites: Sites) -> dict[str, Any]:
    won = sites.chosen.to_dict() if sites.chosen else {}
    return {"setting": won, "repaired": sites.repaired, "error_floor_km": sites.error_floor_km}
