"""Rows that come in any order -> rows in order, with files in between, so that neither memory nor the disk minds."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geoindex.errors import IndexDamagedError

PART_BYTES = 2**28
"""Rows that are put in order at a time, in bytes."""

Rows = NDArray[np.int64]
Vectors = NDArray[np.float16]


class Parts:
    """Vectors with their places in an array, in one file for each run of places."""

    def __init__(self, folder: Path, shape: tuple[int, int]) -> None:
        self._folder, self._shape = folder, shape
        self._rows = max(1, PART_BYTES // max(1, 2 * shape[1]))

    def add(self, places: Rows, vectors: Vectors) -> None:
        """Keep some vectors, (n, D), with their places in the array, (n,)."""
        number = places // self._rows
        order = np.argsort(number, kind="stable")
        found, first = np.unique(number[order], return_index=True)
        for part, rows in zip(found.tolist(), np.split(order, first[1:]), strict=False):  # none of none is one
            with self._file(part, "places").open("ab") as file:
                file.write(places[rows].astype(np.int64).data)
            with self._file(part, "vectors").open("ab") as file:
                file.write(vectors[rows].data)

    def ordered(self) -> Iterator[Vectors]:
        """Yield the array in runs of rows, (n, D), and remove each file when it has been read.

        Raises:
            IndexDamagedError: if a place has no vector, or several.
        """
        count, dim = self._shape
        for part, start in enumerate(range(0, count, self._rows)):
            wanted = min(self._rows, count - start)
            places, vectors = self._file(part, "places"), self._file(part, "vectors")
            rows = np.fromfile(places, np.int64) - start if places.exists() else np.zeros(0, np.int64)
            if len(rows) != wanted or len(np.unique(rows)) != wanted:
                raise IndexDamagedError(
                    f"The images table gave {len(rows)} of {wanted} gallery images; build the index again in another "
                    "folder."
                )
            out = np.empty((wanted, dim), np.float16)
            out[rows] = np.fromfile(vectors, np.float16).reshape(wanted, dim)
            places.unlink()
            vectors.unlink()
            yield out

    def _file(self, part: int, kind: str) -> Path:
        return self._folder / f"{part:06d}.{kind}"
