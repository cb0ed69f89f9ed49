"""Does every image of a gallery lie in the cluster that its position belongs to, and is its embedding a unit vector?"""

import numpy as np

from geoindex.assembly.sites import LEVELS_NAME, stored_sites
from geoindex.encoder.projection import UNIT_TOLERANCE
from geoindex.geocells.partition import BorderedPartition
from geoindex.store.gallery import Gallery
from geoindex.store.generations import Generation, IndexFolder
from geoindex.store.sidecar import Sidecar, open_sidecar

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
    return [f"{wrong} embeddings of the gallery are no unit vectors."] if wrong else []


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
    cluster = gallery.column("cluster")
    cell = sidecar.cell_of_cluster[cluster]
    # by the labels that they were placed by: what is said of a photo later moves it at the next rebuild
    labels = partition.label_of_cell[cell].tolist() if isinstance(partition, BorderedPartition) else None
    assigned = partition.assign(gallery.column("lat"), gallery.column("lon"), labels)
    moved = clusters.assign(gallery.column("lat"), gallery.column("lon"), assigned) != cluster
    if not moved.any():
        return []
    return [f"{int(moved.sum())} images of the gallery lie in another cluster than their own."]
