"""What a query needs to know of clusters, cells and images without asking Lance.

Arrow files and one NumPy file, memory-mapped: opening costs nothing, and only what is asked for is read.
Gallery images lie in the order of their clusters, so that the images of a cluster are one slice.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pyarrow as pa

FACTS = ("lat", "lon", "n_images", "radius_km", "radius95_km", "spread_km", "site_lat", "site_lon", "place")


@dataclass(frozen=True, slots=True)
class Sidecar:
    """Facts of one generation.

    Attributes:
        cells: Arrow table, one row a cell, with the columns of `FACTS`.
        clusters: the same for clusters, with `cell`, `inside` (the coarser clusters that hold it, coarsest first)
            and `first`, the row of the cluster's first image in `gallery`.
        gallery: Arrow table of the gallery's images: row (in the images table), id, image, lat, lon, cluster.
        embeddings: their embeddings in the same order, (G, dim) float16.
    """

    cells: "pa.Table"
    clusters: "pa.Table"
    gallery: "pa.Table"
    embeddings: NDArray[np.float16]

    def images_of(self, cluster: int) -> slice:
        """Return the rows of `gallery` and `embeddings` that belong to a cluster."""
        first = self.clusters["first"][cluster].as_py()
        return slice(first, first + self.clusters["n_images"][cluster].as_py())


def write_arrow(path: Path, table: "pa.Table") -> None:
    """Write a table as one uncompressed Arrow file, so that it can be memory-mapped."""
    import pyarrow as pa

    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table.combine_chunks())


def read_arrow(path: Path) -> "pa.Table":
    """Memory-map a table that `write_arrow` wrote."""
    import pyarrow as pa

    return pa.ipc.open_file(pa.memory_map(str(path))).read_all()
