"""Cells and clusters as the classes of a fit, and images with their true ones."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoindex import geo
from geoindex.metrics import geoscore

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Classes:
    """Cells and clusters as classes.

    Attributes:
        cell_lat, cell_lon: centroids in degrees, (C,).
        lat, lon, cell: of the clusters, (M,).
        cell_rows, cluster_rows: geo-embeddings to start from, (C, dim) and (M, dim).
    """

    cell_lat: Floats
    cell_lon: Floats
    lat: Floats
    lon: Floats
    cell: Rows
    cell_rows: NDArray[np.float32]
    cluster_rows: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Truth:
    """Where images were taken.

    Attributes:
        lat, lon: degrees, (N,).
        cell, cluster: the true ones, (N,).
    """

    lat: Floats
    lon: Floats
    cell: Rows
    cluster: Rows

    def __len__(self) -> int:
        return len(self.lat)

    def take(self, rows: Rows) -> "Truth":
        """Return some of the images."""
        return Truth(self.lat[rows], self.lon[rows], self.cell[rows], self.cluster[rows])

    def errors(self, lat: Floats, lon: Floats) -> dict[str, float | None]:
        """Return median km and GeoScore of answers in degrees, (N,) each; None if there are no images."""
        if len(self) == 0:
            return {"median_km": None, "geoscore": None}
        off_km = geo.haversine_km(self.lat, self.lon, lat, lon)
        return {"median_km": float(np.median(off_km)), "geoscore": float(geoscore(off_km).mean())}
