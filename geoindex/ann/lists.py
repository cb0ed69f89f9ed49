"""Where the lists of a two-stage index lie in its file, and how their entries are stored.

FAISS writes the lists one after the other at the end of the file, each its codes and then its ids.
"""

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoindex.store.checked import CheckedFile

HEAD = struct.Struct("<4siq")
"""Start of FAISS's file: kind of index, length and number of its vectors."""

ID_BYTES = 8

HALF_CLUSTERS = 20_000
"""Clusters from which their geo-embeddings are stored as float16: half to read, and half the memory."""

KINDS: dict[bytes, np.dtype[Any]] = {b"IwFl": np.dtype(np.float32), b"IwSq": np.dtype(np.float16)}
"""How entries are stored, by the kind of index."""


def entry_type(clusters: int) -> np.dtype[Any]:
    """Return how the geo-embeddings of so many clusters are stored."""
    return np.dtype(np.float32 if clusters < HALF_CLUSTERS else np.float16)


def start_of_lists(file: CheckedFile) -> int:
    """Return where the lists begin, from what the start of the file says of their length."""
    file.check(0, HEAD.size)
    kind, dim, count = HEAD.unpack_from(file.data)
    width = KINDS.get(kind, np.dtype(np.float32)).itemsize
    start = len(file) - count * (width * dim + ID_BYTES)
    return start if start > 0 else len(file)


class ListBytes:
    """The lists of an index in its file, each checked when its cell is first probed."""

    def __init__(self, ivf: Any, file: CheckedFile) -> None:
        """Find the lists of an index that was loaded from a file.

        Raises:
            IndexDamagedError: if they lie elsewhere than FAISS lays them, and the file is not what was written.
        """
        import faiss

        entry = ivf.code_size + ID_BYTES
        sizes = np.array([ivf.invlists.list_size(c) for c in range(ivf.nlist)], np.int64)
        self.file, self._stops = file, len(file) - int(sizes.sum()) * entry + np.cumsum(sizes) * entry
        self._starts = self._stops - sizes * entry
        # threads may check a list twice, which does no harm
        self._pending = bytearray(b"\1" * len(sizes))
        first = int(np.argmax(sizes > 0))
        # an index without any vector has no codes either, and is refused for its counts
        codes = faiss.rev_swig_ptr(ivf.invlists.get_codes(first), int(sizes[first]) * ivf.code_size)
        start = int(self._starts[first])
        if start < 0 or file.data[start : start + len(codes)] != codes.tobytes():
            file.check_all()  # written by a FAISS with another order

    def check(self, cells: NDArray[np.int64]) -> None:
        """Check the lists of some cells; negative ones are none."""
        for cell in cells.ravel().tolist():
            if cell >= 0 and self._pending[cell]:
                self.file.check(int(self._starts[cell]), int(self._stops[cell]))
                self._pending[cell] = 0
