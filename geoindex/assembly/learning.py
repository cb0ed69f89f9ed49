"""Stored features -> learned geo-embeddings: the images of a division as training and validation data."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from geoindex.assembly.division import Division
from geoindex.encoder.projection import Projection
from geoindex.geo import group_means
from geoindex.prototypes import normalise
from geoindex.recipe import Recipe
from geoindex.store.images import StoredImages

if TYPE_CHECKING:
    from geoindex.training.features import Classes, LabelledFeatures, Trained

MAX_IMAGES = 500_000
"""Gallery images that are learned from, a seeded sample of more; features of 768 numbers take 1.5 KB each."""

MAX_VALIDATION = 20_000
ROWS = 16_384

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]


def learn(images: StoredImages, division: Division, start: Projection, recipe: Recipe) -> "Trained":
    """Fit a projection and the geo-embeddings of cells and clusters on the gallery; validation chooses the epoch."""
    from geoindex.training.features import fit_features

    gallery = _labelled(images, division, "train", MAX_IMAGES, start, recipe.seed)
    validation = _labelled(images, division, "val", MAX_VALIDATION, start, recipe.seed)
    classes = _classes(gallery, division, start)
    return fit_features(gallery, validation, classes, start, recipe.training, recipe.seed)


def _labelled(
    images: StoredImages, division: Division, split: str, count: int, start: Projection, seed: int
) -> "LabelledFeatures":
    from geoindex.training.features import LabelledFeatures

    rows, features = images.sampled_features(split, count, len(start.mean), seed)
    cell = division.cells_of(images, rows)
    lat, lon = images.lat[rows], images.lon[rows]
    return LabelledFeatures(features, lat, lon, cell, division.clusters.assign(lat, lon, cell))


def _classes(gallery: "LabelledFeatures", division: Division, start: Projection) -> "Classes":
    """Describe cells and clusters by the images that are learned from; one without any starts as its cell does."""
    from geoindex.training.features import Classes

    clusters, cells = division.clusters, division.partition
    sums = np.zeros((len(clusters), start.dim))
    for first in range(0, len(gallery.features), ROWS):
        part = slice(first, first + ROWS)
        np.add.at(sums, gallery.cluster[part], start.apply(gallery.features[part].astype(np.float32)))
    cell_rows = normalise(np.add.reduceat(sums, np.searchsorted(clusters.cell, np.arange(len(cells))), axis=0))
    seen = np.bincount(gallery.cluster, minlength=len(clusters)) > 0
    cluster_rows = np.where(seen[:, None], normalise(sums), cell_rows[clusters.cell])
    cell_lat, cell_lon = _centroids(gallery, gallery.cell, cells.site_lat, cells.site_lon)
    lat, lon = _centroids(gallery, gallery.cluster, clusters.site_lat, clusters.site_lon)
    rows = cell_rows.astype(np.float32), cluster_rows.astype(np.float32)
    return Classes(cell_lat, cell_lon, lat, lon, clusters.cell, *rows)


def _centroids(gallery: "LabelledFeatures", group: Rows, site_lat: Floats, site_lon: Floats) -> tuple[Floats, Floats]:
    """Return the mean position of each group's images, or its site where there is none."""
    lat, lon = group_means(gallery.lat, gallery.lon, group, len(site_lat))
    return np.where(np.isnan(lat), site_lat, lat), np.where(np.isnan(lon), site_lon, lon)
