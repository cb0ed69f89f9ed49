"""Files whose blocks are compared with their checksums when they are first touched.

Opening reads next to nothing, and still no byte of a large file is used that is not what was written. Small files are
compared when they are opened; for those all of this does nothing.
"""

import hashlib
from collections.abc import Sequence
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoindex.errors import IndexDamagedError
from geoindex.store.durable import FileRecord, block_record, measure

BLOCKS_SUFFIX = ".blocks"
"""Ends the name of the file that holds the digests of another file's blocks."""

CHECKED_BYTES = 2**24
"""Size up to which a file is compared with its checksum when it is opened: 16 MB take about 10 ms."""

BLOCK_BYTES = 2**18
"""Size of the blocks of a larger file: one takes 0.2 ms to compare, and the digests are a 8192th of the file."""

DIGEST_BYTES = 32
NPY_HEADER_BYTES = 128


class CheckedFile:
    """A memory-mapped file with the digests of its blocks."""

    def __init__(self, path: Path, digests: bytes = b"", block_bytes: int = 0) -> None:
        """Map a file.

        Args:
            path: `INDEX/generations/NAME/FILE`.
            digests: sha256 of each block, 32 bytes each; empty: there is nothing to check.
            block_bytes: size of a block.

        Raises:
            ValueError: if it is empty.
        """
        self.path = path
        with path.open("rb") as file:
            self.data = mmap(file.fileno(), 0, access=ACCESS_READ)
        self._view = memoryview(self.data)
        self._digests, self._block_bytes = digests, block_bytes
        # threads may check a block twice, which does no harm
        self._pending = bytearray(b"\1" * (len(digests) // DIGEST_BYTES))

    @classmethod
    def recorded(cls, path: Path, record: FileRecord, blocks: Path) -> "CheckedFile":
        """Map a file with the digests of its blocks that lie beside it.

        Raises:
            IndexDamagedError: if the digests are not those of its record.
        """
        digests = blocks.read_bytes()
        if block_record(digests, record.bytes, record.block_bytes) != record:
            raise _damaged(blocks, "does not have the checksum of the manifest")
        return cls(path, digests, record.block_bytes)

    def __len__(self) -> int:
        return len(self.data)

    @property
    def sound(self) -> bool:
        """Whether nothing is left to check."""
        return 1 not in self._pending

    def check(self, start: int, stop: int) -> None:
        """Compare the blocks that hold bytes `start` to `stop` with their checksums, each the first time.

        Raises:
            IndexDamagedError: if one differs.
        """
        if not self._pending or start >= stop:
            return
        last = (stop - 1) // self._block_bytes + 1
        block = self._pending.find(1, start // self._block_bytes, last)
        while block >= 0:
            self._check_block(block)
            block = self._pending.find(1, block + 1, last)

    def check_each(self, starts: NDArray[np.int64], size: int) -> None:
        """Compare the blocks that hold `size` bytes from each of `starts`, (n,), with their checksums.

        Raises:
            IndexDamagedError: if one differs.
        """
        if self._pending and size:
            first, last = starts // self._block_bytes, (starts + size - 1) // self._block_bytes
            pending = np.frombuffer(self._pending, np.uint8)
            unsound = (pending[first] | pending[last] | (size > self._block_bytes)) > 0  # those between are not seen
            for start in starts[unsound].tolist():
                self.check(start, start + size)

    def check_all(self) -> None:
        """Compare every block with its checksum.

        Raises:
            IndexDamagedError: if one differs.
        """
        self.check(0, len(self))

    def _check_block(self, block: int) -> None:
        start = block * self._block_bytes
        stop = min(start + self._block_bytes, len(self))
        wanted = self._digests[block * DIGEST_BYTES : (block + 1) * DIGEST_BYTES]
        if hashlib.sha256(self._view[start:stop]).digest() != wanted:
            raise _damaged(self.path, f"is not what was written at bytes {start} to {stop}")
        self._pending[block] = 0


def compared_whole(record: FileRecord) -> bool:
    """Tell whether a file is compared with its checksum when it is opened."""
    return not record.block_bytes and record.bytes <= CHECKED_BYTES


def record_file(path: Path) -> dict[str, FileRecord]:
    """Return the record of a finished file by its name; of a large one in blocks, whose digests are laid beside it."""
    if path.stat().st_size <= CHECKED_BYTES:
        return {path.name: FileRecord.of(path)}
    found, beside = measure(path, BLOCK_BYTES), path.with_name(path.name + BLOCKS_SUFFIX)
    beside.unlink(missing_ok=True)  # it may be another generation's as well
    beside.write_bytes(found.digests)
    return {path.name: found.record(), beside.name: FileRecord.of(beside)}


def _damaged(path: Path, fault: str) -> IndexDamagedError:
    return IndexDamagedError(f"'{path}' {fault}; run 'geoindex repair {path.parents[2]}'.")


class CheckedRows:
    """A memory-mapped (N, D) array in a .npy file, whose rows are checked when they are first asked for."""

    def __init__(self, file: CheckedFile) -> None:
        """Map the array.

        Raises:
            IndexDamagedError: if the header is not what was written.
            ValueError: if it is no (N, D) array.
        """
        file.check(0, NPY_HEADER_BYTES)
        rows: Any = np.load(file.path, mmap_mode="r")
        if rows.ndim != 2 or not rows.flags.c_contiguous:
            raise ValueError(f"the array of '{file.path.name}' is not (N, D)")
        # a plain view of it, since NumPy asks more at each look into a memmap
        self._file, self._rows, self._start = file, rows.view(np.ndarray), rows.offset
        file.check(0, self._start)

    @property
    def shape(self) -> tuple[int, int]:
        """N and D."""
        count, dim = self._rows.shape
        return count, dim

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, key: slice | Sequence[int] | NDArray[np.integer]) -> NDArray[np.float16]:
        """Return some rows.

        Raises:
            IndexDamagedError: if they are not what was written.
        """
        if not self._file.sound:
            self._check(key)
        chosen: NDArray[np.float16] = self._rows[key]
        return chosen

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self[:], dtype=dtype, copy=copy)

    def _check(self, key: slice | Sequence[int] | NDArray[np.integer]) -> None:
        row_bytes = self._rows.strides[0]
        if isinstance(key, slice):
            rows = range(len(self))[key]
            if rows:
                first, last = sorted((rows[0], rows[-1]))
                self._file.check(self._start + first * row_bytes, self._start + (last + 1) * row_bytes)
        else:
            starts = self._start + np.atleast_1d(np.asarray(key, np.int64) % len(self)) * row_bytes
            self._file.check_each(starts, row_bytes)
