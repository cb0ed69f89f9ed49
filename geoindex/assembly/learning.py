"""Stored features -> learned geo-embeddings: the images of a division as training and validation data."""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from geoindex.assembly.division import Division
from geoindex.assembly.gallery import whitening
from geoindex.encoder.projection import Projection
from geoindex.geo import group_means
from geoindex.geocells.clusters import Clusters
from geoindex.geocells.partition import Partition
from geoindex.prototypes import normalise
from geoindex.recipe import Recipe
from geoindex.store.images import StoredImages
from geoindex.training.tuned import TunedHeads

if TYPE_CHECKING:
    from geoindex.training.classes import Classes, Truth
    from geoindex.training.features import LabelledFeatures, Trained

MAX_IMAGES = 500_000
"""Gallery images that are learned from, a seeded sample of more; features of 768 numbers take 1.5 KB each."""

MAX_VALIDATION = 20_000
"""Validation images that are learned and fitted on, a seeded sample of more: they are known well enough by these."""

ENOUGH_GALLERY, ENOUGH_VALIDATION = 1_000, 100
"""Images from which on geo-embeddings are fitted if nobody says otherwise: fewer neither teach nor judge a fit."""

ROWS = 16_384

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]


def learn(
    images: StoredImages, division: Division, start: Projection, recipe: Recipe, heads: TunedHeads | None
) -> "Trained | None":
    """Return the projection and the geo-embeddings of cells and clusters that the recipe asks for.

    They are fitted on the gallery's features, and validation chooses the epoch. The fit starts from what is best on
    validation: prototypes, those of whitened features, and what was learned with the encoder if that is of these
    cells. None for prototypes.

    Args:
        images: of the index.
        division: its cells and clusters.
        start: projection to start from.
        recipe: its training and seed.
        heads: what was learned with the encoder, if anything was.
    """
    if not learns(images, recipe):
        return None
    from geoindex.training.features import Start, fit_features

    heads = heads if recipe.training.method == "images" else None
    start = start if heads is None else heads.projection
    gallery = _labelled(images, division, "train", MAX_IMAGES, start, recipe.seed)
    validation = _labelled(images, division, "val", MAX_VALIDATION, start, recipe.seed)
    projections = [start]
    if heads is None and recipe.encoding.projection == "auto":
        projections.append(whitening(gallery.features, recipe))
    divided = gallery.features, gallery.truth, division.partition, division.clusters
    starts = [Start(describe_classes(*divided, projection), projection) for projection in projections]
    if heads is not None and heads.fit(*division.sites()):
        learned = replace(starts[0].classes, cell_rows=heads.cells, cluster_rows=heads.clusters)
        starts.append(Start(learned, start))
    return fit_features(gallery, validation, starts, recipe.training, recipe.seed)


def learns(images: StoredImages, recipe: Recipe) -> bool:
    """Tell whether geo-embeddings are learned, or stay prototypes."""
    return learns_of(len(images.rows("train")), len(images.rows("val")), recipe)


def learns_of(gallery: int, validation: int, recipe: Recipe) -> bool:
    """Tell whether geo-embeddings are learned from so many images."""
    method = recipe.training.method
    enough = gallery >= ENOUGH_GALLERY and validation >= ENOUGH_VALIDATION
    return method != "none" and (method != "auto" or enough)


def _labelled(
    images: StoredImages, division: Division, split: str, count: int, start: Projection, seed: int
) -> "LabelledFeatures":
    from geoindex.training.classes import Truth
    from geoindex.training.features import LabelledFeatures

    rows, features = images.sampled_features(split, count, len(start.mean), seed)
    cell = division.cells_of(images, rows)
    lat, lon = images.lat[rows], images.lon[rows]
    return LabelledFeatures(features, Truth(lat, lon, cell, division.clusters.assign(lat, lon, cell)))


def describe_classes(
    features: NDArray[np.float16], truth: "Truth", cells: Partition, clusters: Clusters, start: Projection
) -> "Classes":
    """Describe cells and clusters by the images that are learned from; one without any starts as its cell does.

    Args:
        features: of the images, (N, D).
        truth: of the same.
        cells: as the Earth is divided.
        clusters: likewise.
        start: features to embeddings.
    """
    from geoindex.training.classes import Classes

    sums = np.zeros((len(clusters), start.dim))
    for first in range(0, len(features), ROWS):
        part = slice(first, first + ROWS)
        np.add.at(sums, truth.cluster[part], start.apply(features[part].astype(np.float32)))
    cell_rows = normalise(np.add.reduceat(sums, np.searchsorted(clusters.cell, np.arange(len(cells))), axis=0))
    seen = np.bincount(truth.cluster, minlength=len(clusters)) > 0
    cluster_rows = np.where(seen[:, None], normalise(sums), cell_rows[clusters.cell])
    cell_lat, cell_lon = _centroids(truth, truth.cell, cells.site_lat, cells.site_lon)
    lat, lon = _centroids(truth, truth.cluster, clusters.site_lat, clusters.site_lon)
    rows = cell_rows.astype(np.float32), cluster_rows.astype(np.float32)
    return Classes(cell_lat, cell_lon, lat, lon, clusters.cell, *rows)


def _centroids(truth: "Truth", group: Rows, site_lat: Floats, site_lon: Floats) -> tuple[Floats, Floats]:
    """Return the mean position of each group's images, or its site where there is none."""
    lat, lon = group_means(truth.lat, truth.lon, group, len(site_lat))
    return np.where(np.isnan(lat), site_lat, lat), np.where(np.isnan(lon), site_lon, lon)
