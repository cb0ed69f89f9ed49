"""The clusters of an index: each cell divided again by the same method, inside its own positions."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from geoindex import geo
from geoindex.errors import ConfigError
from geoindex.geocells.positions import THREADS_FROM, Floats, Rows, checked_positions, distinct_positions
from geoindex.geocells.sites import Trials, fit_sites
from geoindex.progress import track
from geoindex.recipe import ClusterRecipe

MAX_POSITIONS = 20_000
"""Positions of one cell that OPTICS sees; of more, a seeded sample."""

CELL_STEP = 4.0
"""Distance between cells on the axis that is added to unit vectors; chords inside a cell are 2 at most."""


@dataclass(frozen=True, slots=True, eq=False)
class Clusters:
    """Groups of positions, each inside one cell.

    Attributes:
        site_lat, site_lon: frozen generators in degrees, each (M,).
        cell: cell of each cluster, (M,) int64, never decreasing.
    """

    site_lat: Floats
    site_lon: Floats
    cell: Rows

    def assign(self, lat: ArrayLike, lon: ArrayLike, cell_of: ArrayLike) -> Rows:
        """Return the nearest cluster among those of each position's own cell, (N,); -1 if the cell has none.

        Args:
            lat: latitudes in degrees, (N,).
            lon: longitudes in degrees, (N,).
            cell_of: cell of each position, (N,), from `Partition.assign`.

        Raises:
            CoordinateError: if a position is not on Earth.
            ConfigError: if `cell_of` does not name one cell a position.
        """
        from scipy.spatial import KDTree

        lats, lons = checked_positions(lat, lon)
        cells = _checked_cells(cell_of, len(lats))
        if len(self.cell) == 0 or len(lats) == 0:
            return np.full(len(lats), -1, np.int64)
        tree = KDTree(_lifted(self.site_lat, self.site_lon, self.cell))
        workers = -1 if len(lats) >= THREADS_FROM else 1
        distance, row = tree.query(_lifted(lats, lons, cells), workers=workers)
        return np.where(distance < 0.75 * CELL_STEP, row, -1).astype(np.int64)

    def __len__(self) -> int:
        return len(self.cell)


def fit_clusters(
    lat: ArrayLike, lon: ArrayLike, cell_of: ArrayLike, n_cells: int, recipe: ClusterRecipe, seed: int
) -> Clusters:
    """Divide each cell by the density of its own positions (paper section 3.3: 5 to 100 clusters a cell).

    A cell aims at `recipe.min_clusters` to `recipe.max_clusters` clusters, beyond the fewest only as many as it has
    `recipe.images_per_cluster` positions for; every cluster holds a position. A cell of few positions has a cluster
    for each, since the middle of far-apart photos is the place of none. A cell without positions has no cluster.

    Args:
        lat: latitudes in degrees, (N,).
        lon: longitudes in degrees, (N,).
        cell_of: cell of each position, (N,), from `Partition.assign`.
        n_cells: number of cells.
        recipe: settings to try and the range of cluster counts.
        seed: of samples and of sampled silhouettes.

    Raises:
        CoordinateError: if a position is not on Earth.
        ConfigError: if `cell_of` does not name one of the cells for each position.
    """
    lats, lons = checked_positions(lat, lon)
    cells = _checked_cells(cell_of, len(lats))
    if len(cells) and not 0 <= cells.min() <= cells.max() < n_cells:
        raise ConfigError(f"Cells {cells.min()}..{cells.max()} are not all among the {n_cells} of the partition.")
    found: list[tuple[Floats, Floats, Rows]] = []
    for cell, rows in track(_members(cells, n_cells), "clusters", total=n_cells, unit="cell"):
        if len(rows):
            site_lat, site_lon = _cell_sites(lats[rows], lons[rows], recipe, seed)
            found.append((site_lat, site_lon, np.full(len(site_lat), cell, np.int64)))
    return _owned(_joined(found), lats, lons, cells)


def _cell_sites(lat: Floats, lon: Floats, recipe: ClusterRecipe, seed: int) -> tuple[Floats, Floats]:
    room = len(lat) // recipe.images_per_cluster
    if len(lat) > MAX_POSITIONS:
        rows = np.sort(np.random.default_rng(seed).choice(len(lat), MAX_POSITIONS, replace=False))
        lat, lon = lat[rows], lon[rows]
    distinct = len(distinct_positions(lat, lon))
    low = min(recipe.min_clusters, distinct)
    high = max(low, min(recipe.max_clusters, room, distinct))
    sites = fit_sites(lat, lon, low, high, Trials(recipe.min_samples, recipe.xi, seed))
    return sites.lat, sites.lon


def _members(cells: Rows, n_cells: int) -> Iterator[tuple[int, Rows]]:
    order = np.argsort(cells, kind="stable").astype(np.int64)
    bounds = np.searchsorted(cells[order], np.arange(n_cells + 1))
    for cell in range(n_cells):
        yield cell, order[bounds[cell] : bounds[cell + 1]]


def _joined(found: list[tuple[Floats, Floats, Rows]]) -> Clusters:
    if not found:
        return Clusters(np.empty(0), np.empty(0), np.empty(0, np.int64))
    lat, lon, cell = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return Clusters(lat, lon, cell)


def _owned(clusters: Clusters, lat: Floats, lon: Floats, cells: Rows) -> Clusters:
    """Drop clusters that are nearest to no position: two sites can be equally near to the only one."""
    # again, since a position as near to two sites may change sides when others go
    while len(kept := np.unique(clusters.assign(lat, lon, cells))) < len(clusters):
        clusters = Clusters(clusters.site_lat[kept], clusters.site_lon[kept], clusters.cell[kept])
    return clusters


def _lifted(lat: Floats, lon: Floats, cell: Rows) -> Floats:
    """Return unit vectors with the cell as a fourth axis, (N, 4): neighbours there are of the same cell first."""
    return np.column_stack([geo.to_unit(lat, lon), CELL_STEP * cell])


def _checked_cells(cell_of: ArrayLike, count: int) -> Rows:
    cells = np.asarray(cell_of, np.int64)
    if cells.shape != (count,):
        raise ConfigError(f"Cells of shape {cells.shape} do not match {count} positions; pass one cell a position.")
    return cells
