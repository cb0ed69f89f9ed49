"""Samples and their features -> rows of the images table."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from geoindex.progress import Progress
from geoindex.store.schemas import vectors_to_arrow
from geoindex.types import Samples

if TYPE_CHECKING:
    import pyarrow as pa


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
    with Progress("writing images", rows.num_rows, "image") as bar:
        for part in features:
            facts = rows.slice(start, len(part)).combine_chunks()
            columns = [
                vectors_to_arrow(part) if f.name == "features" else facts[f.name].combine_chunks() for f in schema
            ]
            yield pa.RecordBatch.from_arrays(columns, schema=schema)
            start += len(part)
            bar.advance(len(part))
