"""The sites of a generation's cells and clusters, read back to assign more positions to them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoindex.errors import ConfigError, GeoindexError, IndexDamagedError
from geoindex.geocells.clusters import Clusters
from geoindex.geocells.fitting import read_partition
from geoindex.geocells.partition import Partition, VoronoiPartition
from geoindex.store.generations import Generation, IndexFolder
from geoindex.store.manifest import Manifest

LEVELS_NAME = "levels.npz"
"""File of the coarser clusters' sites; only where the recipe asks for more than one level."""

PARTS = ("site_lat", "site_lon", "group")


def write_levels(folder: Path, clusters: Clusters) -> None:
    """Write the sites of coarser clusters, if there are any; those of the finest lie in their table."""
    arrays = level_arrays(clusters.outer)
    if arrays:
        np.savez(folder / LEVELS_NAME, **arrays)


def level_arrays(clusters: Clusters | None) -> dict[str, Any]:
    """Return the sites of clusters, and of the coarser ones that hold them, as arrays by name."""
    arrays: dict[str, Any] = {}
    level = 0
    while clusters is not None:
        arrays |= {f"{part}_{level}": getattr(clusters, part) for part in PARTS}
        level, clusters = level + 1, clusters.outer
    return arrays


def read_levels(arrays: Mapping[str, NDArray[Any]]) -> Clusters | None:
    """Return the clusters whose sites `level_arrays` gave, and nothing else; None of none."""
    clusters: Clusters | None = None
    for level in reversed(range(len(arrays) // len(PARTS))):
        lat, lon, group = (arrays[f"{part}_{level}"] for part in PARTS)
        clusters = Clusters(lat, lon, group, clusters)
    return clusters


def stored_sites(index: IndexFolder, generation: Generation) -> tuple[Partition, Clusters]:
    """Return the cells and clusters of a generation.

    Raises:
        ConfigError: if an older geoindex wrote it, without the sites of coarser clusters.
        IndexDamagedError: if a table is not what was written.
    """
    tables, versions = index.tables, generation.manifest.tables
    partition = _partition(index, generation)
    columns = ["cluster", "inside", "cell", "site_lat", "site_lon"]
    clusters = tables.read("clusters", versions["clusters"], columns)
    inside = np.array(clusters["inside"].to_pylist(), np.int64).reshape(clusters.num_rows, -1)
    outer = _outer(generation) if inside.shape[1] else None
    group = inside[:, -1] if inside.shape[1] else clusters["cell"].to_numpy().astype(np.int64)
    return partition, Clusters(clusters["site_lat"].to_numpy(), clusters["site_lon"].to_numpy(), group, outer)


def _partition(index: IndexFolder, generation: Generation) -> Partition:
    columns = ["cell", "site_lat", "site_lon"]
    cells = index.tables.read("cells", generation.manifest.tables["cells"], columns)
    return partition_of(generation.manifest, cells["site_lat"].to_numpy(), cells["site_lon"].to_numpy())


def partition_of(manifest: Manifest, site_lat: NDArray[np.float64], site_lon: NDArray[np.float64]) -> Partition:
    """Return the cells of a generation, from its manifest and the sites of its cells in degrees, each (C,).

    Raises:
        IndexDamagedError: if the manifest is not what was written.
    """
    geocells = manifest.geocells
    if "partition" not in geocells:
        return VoronoiPartition(site_lat, site_lon, geocells["method"])
    try:
        return read_partition(geocells["partition"])
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, GeoindexError) as error:
        raise IndexDamagedError(
            f"The manifest of generation {manifest.generation} has no cells that can be meant; run 'geoindex repair'."
        ) from error


def _outer(generation: Generation) -> Clusters | None:
    if LEVELS_NAME not in generation.manifest.files:
        raise ConfigError(
            f"Generation '{generation.folder}' lacks the sites of its coarser clusters, since an older geoindex made "
            f"it; run 'geoindex rebuild {generation.folder.parent.parent}' once."
        )
    with np.load(generation.whole(LEVELS_NAME)) as stored:
        return read_levels(stored)
