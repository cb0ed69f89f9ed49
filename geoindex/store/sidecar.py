"""What a query needs to know of clusters, cells and images without asking Lance.

Arrow files and one NumPy file, memory-mapped: opening costs nothing, and only what is asked for is read and checked.
Gallery images lie in the order of their clusters, so that the images of a cluster are one slice.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from geoindex.store.checked import CheckedRows, CheckedTable

if TYPE_CHECKING:
    import pyarrow as pa

FACTS = ("lat", "lon", "n_images", "radius_km", "radius95_km", "spread_km", "site_lat", "site_lon", "place")


@dataclass(frozen=True, slots=True)
class Sidecar:
    """Facts of one generation.

    Attributes:
        cells: one row a cell, with the columns of `FACTS`.
        clusters: the same for clusters, with `cell`, `inside` (the coarser clusters that hold it, coarsest first)
            and `first`, the row of the cluster's first image in `gallery`.
        gallery: the gallery's images: row (in the images table), id, image, lat, lon, cluster.
        embeddings: their embeddings in the same order, (G, dim) float16.
    """

    cells: CheckedTable
    clusters: CheckedTable
    gallery: CheckedTable
    embeddings: CheckedRows

    def images_of(self, cluster: int) -> slice:
        """Return the rows of `gallery` and `embeddings` that belong to a cluster."""
        first = self.clusters["first"][cluster].as_py()
        return slice(first, first + self.clusters["n_images"][cluster].as_py())


def write_arrow(path: Path, table: "pa.Table") -> None:
    """Write a table as one uncompressed Arrow file, so that it can be memory-mapped."""
    import pyarrow as pa

    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table.combine_chunks())
