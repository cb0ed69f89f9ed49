"""Positions -> cells and clusters: how a gallery is divided."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoindex.errors import ConfigError, EmptyDatasetError
from geoindex.geo import to_unit
from geoindex.geocells.borders import border_labels, checked_label
from geoindex.geocells.clusters import Clusters, Mapped, fit_clusters
from geoindex.geocells.fitting import FittedPartition, fit_partition
from geoindex.geocells.partition import Labels, Partition
from geoindex.recipe import Recipe
from geoindex.sampling import sample_rows
from geoindex.sources import open_source
from geoindex.store.images import StoredImages
from geoindex.types import Samples

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
        labels: of every stored image, where the cells keep to borders.
    """

    fitted: FittedPartition
    clusters: Clusters
    order: Rows
    cluster_of: Rows
    labels: Labels | None

    @property
    def partition(self) -> Partition:
        """The geocells."""
        return self.fitted.partition

    def sites(self) -> tuple[Floats, Floats]:
        """Return unit vectors of the sites of cells, (C, 3), and clusters, (M, 3)."""
        return site_vectors(self.partition, self.clusters)

    def cells_of(self, images: StoredImages, rows: Rows) -> Rows:
        """Return the cell of some stored images, (K,)."""
        labels = None if self.labels is None else [self.labels[row] for row in rows.tolist()]
        return self.partition.assign(images.lat[rows], images.lon[rows], labels)


def site_vectors(cells: Partition, clusters: Clusters) -> tuple[Floats, Floats]:
    """Return unit vectors of the sites of cells, (C, 3), and clusters, (M, 3)."""
    return to_unit(cells.site_lat, cells.site_lon), to_unit(clusters.site_lat, clusters.site_lon)


def divide(images: StoredImages, recipe: Recipe, mapped: Mapped | None = None) -> Division:
    """Divide the Earth into cells and the gallery into clusters.

    Args:
        images: of the index.
        recipe: its geocells, clusters and seed.
        mapped: does the work on cells, as for `fit_clusters`.

    Raises:
        EmptyDatasetError: if the gallery is empty.
        ConfigError: if cells are to keep to the borders of a label that nobody knows.
    """
    rows = images.rows("train")
    if len(rows) == 0:
        raise EmptyDatasetError(
            "The gallery is empty: no sample fell into the train split; change --split-by or --seed."
        )
    labels = sample_labels(images, recipe.geocells.within)
    own = None if labels is None else [labels[row] for row in rows.tolist()]
    divided = divide_positions(images.lat[rows], images.lon[rows], own, recipe, mapped)
    order = np.argsort(divided.cluster_of, kind="stable")
    return Division(divided.fitted, divided.clusters, rows[order], divided.cluster_of[order], labels)


@dataclass(frozen=True, slots=True)
class DividedPositions:
    """How positions are divided.

    Attributes:
        fitted: the geocells and how they were chosen.
        clusters: sites of the clusters.
        cell_of, cluster_of: of each position, each (N,).
    """

    fitted: FittedPartition
    clusters: Clusters
    cell_of: Rows
    cluster_of: Rows


def divide_positions(
    lat: Floats, lon: Floats, labels: Labels | None, recipe: Recipe, mapped: Mapped | None = None
) -> DividedPositions:
    """Divide the Earth into cells, and positions (one or more) into clusters inside them.

    Args:
        lat: latitudes in degrees, (N,).
        lon: longitudes in degrees, (N,).
        labels: of each position, where `recipe.geocells.within` names one.
        recipe: its geocells, clusters and seed.
        mapped: does the work on cells, as for `fit_clusters`.

    Raises:
        GeoindexError: as `fit_partition`, and if a source of the cells' own cannot be used.
    """
    fitted = _fit_cells(lat, lon, labels, recipe).occupied_by(lat, lon, labels)
    cell_of = fitted.partition.assign(lat, lon, labels)
    clusters = fit_clusters(lat, lon, cell_of, len(fitted.partition), recipe.clusters, recipe.seed, mapped)
    return DividedPositions(fitted, clusters, cell_of, clusters.assign(lat, lon, cell_of))


def _fit_cells(lat: Floats, lon: Floats, labels: Labels | None, recipe: Recipe) -> FittedPartition:
    """Make cells from the gallery's positions, or from a source of their own (paper section 4)."""
    if not recipe.geocells.source:
        return fit_partition(lat, lon, recipe.geocells, recipe.seed, labels)
    samples = open_source(recipe.geocells.source).scan().samples
    # another seed than the gallery draws with: the paper makes its cells from another sample
    rows = sample_rows(samples.lat, samples.lon, recipe.geocells.max_positions, balance="cover", seed=recipe.seed + 1)
    samples = samples.take(rows)
    theirs = sample_labels(samples, recipe.geocells.within)
    if labels is not None and theirs is not None and not set(labels) & set(theirs):
        raise ConfigError(
            f"'{recipe.geocells.source}' and the gallery have no '{recipe.geocells.within}' in common, such as "
            f"'{theirs[0]}' and '{labels[0]}'; write it alike in both, or leave out geocells.within."
        )
    return fit_partition(samples.lat, samples.lon, recipe.geocells, recipe.seed, theirs)


def sample_labels(samples: Samples | StoredImages, within: str) -> Labels | None:
    """Return the label of each sample or stored image that cells keep to, (N,); None where they keep to none.

    Raises:
        ConfigError: if nobody knows such a label.
    """
    if not within:
        return None
    return border_labels(within, samples.label(checked_label(within)), samples.lat, samples.lon)
