"""The clusters of an index: each cell divided again by the same method, inside its own positions."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from geoindex import geo
from geoindex.errors import ConfigError
from geoindex.geocells.positions import THREADS_FROM, Floats, Rows, checked_positions, distinct_positions
from geoindex.geocells.selection import Trials
from geoindex.geocells.sites import fit_sites
from geoindex.progress import track
from geoindex.recipe import ClusterRecipe

MAX_POSITIONS = 50_000
"""Positions of one group that OPTICS sees; of more, a seeded sample."""

PARALLEL_FROM = 100_000
"""Positions from which processes pay for their start."""

GROUPS_AT_ONCE = 8
"""Groups that a process takes at one time."""

Sites: TypeAlias = tuple[Floats, Floats]
Mapped: TypeAlias = Callable[[Callable[[Floats, Floats], Sites], Iterator[Floats], Iterator[Floats]], Iterator[Sites]]
"""A `map` over groups, whose results are in order; it may run anywhere."""

CELL_STEP = 4.0
"""Distance between cells on the axis that is added to unit vectors; chords inside a cell are 2 at most."""


@dataclass(frozen=True, slots=True, eq=False)
class Clusters:
    """Groups of positions, each inside one cell, or inside one coarser cluster.

    Attributes:
        site_lat, site_lon: frozen generators in degrees, each (M,).
        group: cell or coarser cluster of each cluster, (M,) int64, never decreasing.
        outer: the coarser clusters that these divide; None where they divide cells.
    """

    site_lat: Floats
    site_lon: Floats
    group: Rows
    outer: "Clusters | None" = None

    @property
    def cell(self) -> Rows:
        """Cell of each cluster, (M,) int64, never decreasing."""
        return self.group if self.outer is None else self.outer.cell[self.group]

    @property
    def coarser(self) -> Rows:
        """Coarser clusters that hold each cluster, the coarsest first, (M, levels - 1)."""
        if self.outer is None:
            return np.empty((len(self), 0), np.int64)
        return np.column_stack([self.outer.coarser[self.group], self.group])

    def assign(self, lat: ArrayLike, lon: ArrayLike, cell_of: ArrayLike) -> Rows:
        """Return the nearest cluster among those of each position's own cell, (N,); -1 if the cell has none.

        Inside coarser clusters it is the nearest of those that divide the position's own.

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
        if len(self) == 0 or len(lats) == 0:
            return np.full(len(lats), -1, np.int64)
        group_of = cells if self.outer is None else self.outer.assign(lats, lons, cells)
        tree = KDTree(_lifted(self.site_lat, self.site_lon, self.group))
        workers = -1 if len(lats) >= THREADS_FROM else 1
        distance, row = tree.query(_lifted(lats, lons, group_of), workers=workers)
        return np.where(distance < 0.75 * CELL_STEP, row, -1).astype(np.int64)

    def keep(self, clusters: Rows) -> "Clusters":
        """Return some of the clusters, (K,) ascending, inside the same coarser ones."""
        return Clusters(self.site_lat[clusters], self.site_lon[clusters], self.group[clusters], self.outer)

    def __len__(self) -> int:
        return len(self.group)


def fit_clusters(
    lat: ArrayLike,
    lon: ArrayLike,
    cell_of: ArrayLike,
    n_cells: int,
    recipe: ClusterRecipe,
    seed: int,
    mapped: Mapped | None = None,
) -> Clusters:
    """Divide each cell by the density of its own positions (paper section 3.3: 5 to 100 clusters a cell).

    A cell aims at `recipe.min_clusters` to `recipe.max_clusters` clusters, beyond the fewest only as many as it has
    `recipe.images_per_cluster` positions for; every cluster holds a position. A cell of few positions has a cluster
    for each, since the middle of far-apart photos is the place of none. A cell without positions has no cluster.
    With `recipe.levels` above 1 each cluster is divided again in the same way, into one or more.

    Args:
        lat: latitudes in degrees, (N,).
        lon: longitudes in degrees, (N,).
        cell_of: cell of each position, (N,), from `Partition.assign`.
        n_cells: number of cells.
        recipe: settings to try and the range of cluster counts.
        seed: of samples and of sampled silhouettes.
        mapped: does the work on cells where there is enough to do; None: processes of this machine likewise.

    Raises:
        CoordinateError: if a position is not on Earth.
        ConfigError: if `cell_of` does not name one of the cells for each position.
    """
    lats, lons = checked_positions(lat, lon)
    cells = _checked_cells(cell_of, len(lats))
    if len(cells) and not 0 <= cells.min() <= cells.max() < n_cells:
        raise ConfigError(f"Cells {cells.min()}..{cells.max()} are not all among the {n_cells} of the partition.")
    sites = partial(_group_sites, recipe=recipe, seed=seed)
    clusters = _owned(_divided(lats, lons, cells, None, n_cells, sites, mapped), lats, lons, cells)
    # a cluster need not fall apart again
    finer = partial(_group_sites, recipe=replace(recipe, min_clusters=1), seed=seed)
    for _ in range(1, recipe.levels):
        cluster_of = clusters.assign(lats, lons, cells)
        divided = _divided(lats, lons, cluster_of, clusters, len(clusters), finer, mapped)
        clusters = _owned(divided, lats, lons, cells)
    return clusters


def _divided(
    lat: Floats,
    lon: Floats,
    group_of: Rows,
    outer: Clusters | None,
    n_groups: int,
    sites: Callable[[Floats, Floats], Sites],
    mapped: Mapped | None,
) -> Clusters:
    """Divide each group on its own; the result does not depend on where that is done."""
    rows = list(_members(group_of, n_groups))
    with nullcontext(mapped) if mapped and len(lat) >= PARALLEL_FROM else _processes(len(lat), n_groups) as run:
        results = run(sites, (lat[members] for members in rows), (lon[members] for members in rows))
        found = list(track(results, "clusters", total=n_groups, unit="cell"))
    site_lat = np.concatenate([np.empty(0), *(lats for lats, _ in found)])
    site_lon = np.concatenate([np.empty(0), *(lons for _, lons in found)])
    return Clusters(site_lat, site_lon, np.repeat(np.arange(n_groups), [len(lats) for lats, _ in found]), outer)


@contextmanager
def _processes(positions: int, n_groups: int) -> Iterator[Mapped]:
    """Give a `map` that runs in processes where there is enough to do; they are fresh ones, never forked."""
    from joblib import cpu_count

    jobs = min(cpu_count(), n_groups) if positions >= PARALLEL_FROM else 1
    if jobs == 1:
        yield map
        return
    from joblib.externals.loky import ProcessPoolExecutor

    executor = ProcessPoolExecutor(jobs)
    try:
        yield partial(executor.map, chunksize=GROUPS_AT_ONCE)
    except BaseException:
        executor.shutdown(kill_workers=True)  # nobody waits for what is left
        raise
    executor.shutdown()


def _group_sites(lat: Floats, lon: Floats, recipe: ClusterRecipe, seed: int) -> Sites:
    if len(lat) == 0:
        return lat, lon
    room = len(lat) // recipe.images_per_cluster
    if len(lat) > MAX_POSITIONS:
        rows = np.sort(np.random.default_rng(seed).choice(len(lat), MAX_POSITIONS, replace=False))
        lat, lon = lat[rows], lon[rows]
    distinct = len(distinct_positions(lat, lon))
    low = min(recipe.min_clusters, distinct)
    high = max(low, min(recipe.max_clusters, room, distinct))
    sites = fit_sites(lat, lon, low, high, Trials(recipe.min_samples, recipe.xi, seed))
    return sites.lat, sites.lon


def _members(group_of: Rows, n_groups: int) -> Iterator[Rows]:
    order = np.argsort(group_of, kind="stable").astype(np.int64)
    bounds = np.searchsorted(group_of[order], np.arange(n_groups + 1))
    for group in range(n_groups):
        yield order[bounds[group] : bounds[group + 1]]


def _owned(clusters: Clusters, lat: Floats, lon: Floats, cells: Rows) -> Clusters:
    """Drop clusters that are nearest to no position: two sites can be equally near to the only one."""
    # again, since a position as near to two sites may change sides when others go
    while len(kept := np.unique(clusters.assign(lat, lon, cells))) < len(clusters):
        clusters = clusters.keep(kept)
    return clusters


def _lifted(lat: Floats, lon: Floats, cell: Rows) -> Floats:
    """Return unit vectors with the cell as a fourth axis, (N, 4): neighbours there are of the same cell first."""
    return np.column_stack([geo.to_unit(lat, lon), CELL_STEP * cell])


def _checked_cells(cell_of: ArrayLike, count: int) -> Rows:
    cells = np.asarray(cell_of, np.int64)
    if cells.shape != (count,):
        raise ConfigError(f"Cells of shape {cells.shape} do not match {count} positions; pass one cell a position.")
    return cells
