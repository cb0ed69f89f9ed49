"""What a query needs to know of clusters, cells and images without asking Lance.

Arrow files and one NumPy file, memory-mapped: opening costs nothing, and only what is asked for is read and checked.
Gallery images lie in the order of their clusters, so that the images of a cluster are one slice.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from geoindex.errors import IndexDamagedError
from geoindex.store.checked import CheckedRows
from geoindex.store.checked_table import CheckedTable
from geoindex.store.gallery import ADDED, BASE, DEAD, Gallery, Rows, Segment, firsts
from geoindex.store.generations import Generation

if TYPE_CHECKING:
    import pyarrow as pa

FACTS = ("lat", "lon", "n_images", "radius_km", "radius95_km", "spread_km", "site_lat", "site_lon", "place")


@dataclass(frozen=True, slots=True)
class Sidecar:
    """Facts of one generation.

    Attributes:
        cells: one row a cell, with the columns of `FACTS`.
        clusters: the same for clusters, with `cell`, `inside` (the coarser clusters that hold it, coarsest first)
            and `first`, the cluster's first image in the gallery's first segment.
        gallery: the images.
    """

    cells: CheckedTable
    clusters: CheckedTable
    gallery: Gallery

    @property
    def cell_of_cluster(self) -> Rows:
        """Cell of each cluster, (M,)."""
        cells: NDArray[np.int32] = self.clusters.numbers("cell")
        return cells.astype(np.int64)


def open_sidecar(generation: Generation) -> Sidecar:
    """Memory-map the sidecar of a generation.

    Raises:
        IndexDamagedError: if a file is missing, has another size, or is not of its kind.
    """
    try:
        cells, clusters = (CheckedTable(generation.checked(f"{level}.arrow")) for level in ("cells", "clusters"))
        return Sidecar(cells, clusters, _open_gallery(generation, clusters))
    except (OSError, ValueError) as error:  # Arrow's errors are both
        raise IndexDamagedError(
            f"The files in '{generation.folder}' cannot be read ({str(error).splitlines()[0].rstrip('.')}); "
            "run 'geoindex repair' to make them again."
        ) from error


def _open_gallery(generation: Generation, clusters: CheckedTable) -> Gallery:
    files = generation.manifest.files
    facts, embeddings = _segment_files(generation, BASE)
    segments = [Segment(facts, embeddings, np.append(clusters.numbers("first"), len(embeddings)))]
    if f"{ADDED}.npy" in files:
        facts, embeddings = _segment_files(generation, ADDED)
        segments.append(Segment(facts, embeddings, firsts(facts.numbers("cluster"), len(clusters))))
    dead = np.load(generation.whole(DEAD)) if DEAD in files else np.zeros(0, np.int64)
    return Gallery(tuple(segments), dead)


def _segment_files(generation: Generation, name: str) -> tuple[CheckedTable, CheckedRows]:
    return CheckedTable(generation.checked(f"{name}.arrow")), CheckedRows(generation.checked(f"{name}.npy"))


def write_arrow(path: Path, table: "pa.Table") -> None:
    """Write a table as one uncompressed Arrow file, so that it can be memory-mapped."""
    import pyarrow as pa

    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table.combine_chunks())
