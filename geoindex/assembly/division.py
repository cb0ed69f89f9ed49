"""Positions -> cells and clusters: how a gallery is divided."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoindex.errors import EmptyDatasetError
from geoindex.geocells.clusters import Clusters, fit_clusters
from geoindex.geocells.partition import FittedPartition, Partition, fit_partition
from geoindex.recipe import Recipe
from geoindex.sources import open_source
from geoindex.sources.sampling import sample_rows
from geoindex.store.images import StoredImages

Rows = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Division:
    """How the gallery is divided.

    Attributes:
        fitted: the geocells and how they were chosen.
        clusters: sites of the clusters.
        order: rows of the gallery's images in the order of their clusters, (G,).
        cluster_of: cluster of each of them, non-decreasing, (G,).
    """

    fitted: FittedPartition
    clusters: Clusters
    order: Rows
    cluster_of: Rows

    @property
    def partition(self) -> Partition:
        """The geocells."""
        return self.fitted.partition


def divide(images: StoredImages, recipe: Recipe) -> Division:
    """Divide the Earth into cells and the gallery into clusters.

    Raises:
        EmptyDatasetError: if the gallery is empty.
    """
    rows = images.rows("train")
    if len(rows) == 0:
        raise EmptyDatasetError(
            "The gallery is empty: no sample fell into the train split; change --split-by or --seed."
        )
    lat, lon = images.lat[rows], images.lon[rows]
    fitted = fit_partition(*_cell_positions(lat, lon, recipe), recipe.geocells, recipe.seed).occupied_by(lat, lon)
    cell_of = fitted.partition.assign(lat, lon)
    clusters = fit_clusters(lat, lon, cell_of, len(fitted.partition), recipe.clusters, recipe.seed)
    cluster_of = clusters.assign(lat, lon, cell_of)
    by_cluster = np.argsort(cluster_of, kind="stable")
    return Division(fitted, clusters, rows[by_cluster], cluster_of[by_cluster])


def _cell_positions(lat: Floats, lon: Floats, recipe: Recipe) -> tuple[Floats, Floats]:
    """Return the positions that make the cells: the gallery's, or a source of their own (paper section 4)."""
    if not recipe.geocells.source:
        return lat, lon
    samples = open_source(recipe.geocells.source).scan().samples
    # another seed than the gallery draws with: the paper makes its cells from another sample
    rows = sample_rows(samples.lat, samples.lon, recipe.geocells.max_positions, seed=recipe.seed + 1)
    return samples.lat[rows], samples.lon[rows]
