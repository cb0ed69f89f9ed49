"""Samples and their features -> rows of the images table."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from geoindex.distributed.executor import RowStore, store_here
from geoindex.embed import Embedded, stored_features
from geoindex.errors import IndexDamagedError
from geoindex.store.durable import storage_errors
from geoindex.store.finished import FinishedSteps, Result, digest_of, table_digest
from geoindex.store.generations import IndexFolder
from geoindex.store.images import table_identity
from geoindex.store.schemas import image_schema, vectors_to_arrow
from geoindex.types import Samples

if TYPE_CHECKING:
    import pyarrow as pa

RUN_SHARDS = 128
"""Shards whose rows are written together: 131,072 images, 200 MB of 768 numbers each, a few seconds' work."""


def image_rows(
    samples: Samples, split: NDArray[np.str_], content: NDArray[np.str_], *, first: int = 0, source: str | None = None
) -> "pa.Table":
    """Return all of an image's row but its features.

    Args:
        samples: (N,).
        split: train, val or test of each, (N,).
        content: hash of the file of each, (N,); empty where there is none.
        first: row of the first.
        source: URI that reads them, if it is not the generation's own.
    """
    import pyarrow as pa

    table = samples.table.append_column("split", pa.array(split, pa.string()))
    table = table.append_column("row", pa.array(np.arange(first, first + len(samples))))
    hashes = [value or None for value in content.tolist()]
    table = table.append_column("content", pa.array(hashes, pa.string()))
    return table.append_column("source", pa.array([source] * len(samples), pa.string()))


def image_batches(
    rows: "pa.Table", features: Iterable[NDArray[np.float16]], schema: "pa.Schema"
) -> Iterator["pa.RecordBatch"]:
    """Join rows and their features, which come in parts, (n, D), in the same order."""
    import pyarrow as pa

    start = 0
    for part in features:
        facts = rows.slice(start, len(part)).combine_chunks()
        columns = [vectors_to_arrow(part) if f.name == "features" else facts[f.name].combine_chunks() for f in schema]
        yield pa.RecordBatch.from_arrays(columns, schema=schema)
        start += len(part)


@dataclass(frozen=True, slots=True)
class RowRun:
    """Rows of the images table whose features lie in shards.

    Attributes:
        rows: all but the features.
        shards: files of the features, in the same order.
        schema: of the table.
    """

    rows: "pa.Table"
    shards: list[Path]
    schema: "pa.Schema"

    def __len__(self) -> int:
        return int(self.rows.num_rows)

    def batches(self) -> Iterator["pa.RecordBatch"]:
        """Yield the rows, shard by shard."""
        return image_batches(self.rows, stored_features(self.shards), self.schema)


def store_images(index: IndexFolder, rows: "pa.Table", embedded: Embedded, store: RowStore = store_here) -> int:
    """Write a version of the images table, or take the one that a stopped run has written of the same images.

    One that was written fast is not taken, since nobody can tell whether it is whole.

    Args:
        index: of the table.
        rows: all but the features, as `image_rows` gives them.
        embedded: the features, in the same order.
        store: writes them.

    Returns:
        The version.

    Raises:
        StoreError: if the disk refuses, or the table that is there cannot be read.
    """
    finished, key = FinishedSteps.of(index), digest_of(table_digest(rows), embedded.stamps())
    found = finished.read("images", key)
    if found is not None and _holds(index, found.facts["version"], found.facts["identity"]):
        return int(found.facts["version"])
    schema = image_schema(next(embedded.features()).shape[1])
    runs = [
        RowRun(rows.slice(some.start, some.stop - some.start), [path.absolute() for path in files], schema)
        for some, files in embedded.runs(RUN_SHARDS)
    ]
    version = store(index.tables, "images", schema, runs)
    facts = {"version": version, "identity": table_identity(index.tables, version)}
    if index.mode == "durable":
        with storage_errors(index.root):
            finished.write("images", key, Result({}, facts))
    return version


def _holds(index: IndexFolder, version: int, identity: str) -> bool:
    """Tell whether a version of the images table is there, and is the one that was written, to the last byte."""
    try:
        index.tables.schema("images", version)
    except IndexDamagedError:
        return False
    return table_identity(index.tables, version) == identity and not index.tables.checksums.faults("images", version)
