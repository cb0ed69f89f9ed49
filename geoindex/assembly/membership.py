"""Does every image of a gallery lie in the cluster that its position belongs to, and is its embedding a unit vector?"""

import numpy as np

from geoindex.assembly.division import sample_labels
from geoindex.assembly.sites import LEVELS_NAME, stored_sites
from geoindex.encoder.projection import UNIT_TOLERANCE
from geoindex.geocells.partition import Labels
from geoindex.recipe_files import recipe_from_dict
from geoindex.store.gallery import Gallery
from geoindex.store.generations import Generation, IndexFolder
from geoindex.store.images import StoredImages
from geoindex.store.sidecar import Sidecar, open_sidecar
from geoindex.store.tombstones import Tombstones

ROWS = 65_536


def membership_faults(index: IndexFolder, generation: Generation) -> list[str]:
    """Look at every image of a gallery; return what is wrong, one sentence each.

    Raises:
        StoreError: if a file or a table cannot be read.
    """
    sidecar = open_sidecar(generation)
    return [*_norm_faults(sidecar.gallery), *_count_faults(sidecar), *_place_faults(index, generation, sidecar)]


def _norm_faults(gallery: Gallery) -> list[str]:
    """Compare the length of every embedding with 1; what projects to nothing has none."""
    wrong = 0
    for start in range(0, len(gallery), ROWS):
        rows = np.arange(start, min(start + ROWS, len(gallery)))
        length = np.linalg.norm(gallery.vectors(rows).astype(np.float32), axis=1)
        wrong += int(((np.abs(length - 1.0) > UNIT_TOLERANCE) & (length > 0)).sum())
    return [f"{wrong} embeddings of the gallery are no unit vectors"] if wrong else []


def _count_faults(sidecar: Sidecar) -> list[str]:
    """Compare the counts of clusters and cells with the images that they hold."""
    cluster = sidecar.gallery.column("cluster")[sidecar.gallery.live()]
    size = np.bincount(cluster, minlength=len(sidecar.clusters))
    cells = np.bincount(sidecar.cell_of_cluster, weights=size, minlength=len(sidecar.cells))
    found = {"clusters": size, "cells": cells}
    return [
        f"The {level} do not hold as many images as their counts say."
        for level, count in found.items()
        if not np.array_equal(count, getattr(sidecar, level)["n_images"].to_numpy())
    ]


def _place_faults(index: IndexFolder, generation: Generation, sidecar: Sidecar) -> list[str]:
    """Assign every position again."""
    gallery, several = sidecar.gallery, len(sidecar.clusters) and len(sidecar.clusters["inside"][0])
    if several and LEVELS_NAME not in generation.manifest.files:
        return []  # an older geoindex kept no sites of coarser clusters
    partition, clusters = stored_sites(index, generation)
    lat, lon = gallery.column("lat"), gallery.column("lon")
    cell = partition.assign(lat, lon, _labels(index, generation, gallery))
    moved = clusters.assign(lat, lon, cell) != gallery.column("cluster")
    return [f"{int(moved.sum())} images of the gallery lie in another cluster than their own"] if moved.any() else []


def _labels(index: IndexFolder, generation: Generation, gallery: Gallery) -> Labels | None:
    """Return the label of each image that cells keep to; None where they keep to none."""
    within = recipe_from_dict(generation.manifest.recipe).geocells.within
    if not within:
        return None
    images = StoredImages.read(index.tables, generation.manifest.tables["images"], Tombstones())
    labels = sample_labels(images, within)
    return labels and [labels[row] for row in gallery.column("row").tolist()]
