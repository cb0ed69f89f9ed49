"""Files whose blocks are compared with their checksums when they are first touched.

Opening reads next to nothing, and still no byte of a large file is used that is not what was written. Small files are
compared when they are opened; for those all of this does nothing.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geoindex.errors import IndexDamagedError
from geoindex.store.durable import FileRecord, block_record, measure

if TYPE_CHECKING:
    import pyarrow as pa

BLOCKS_SUFFIX = ".blocks"
"""Ends the name of the file that holds the digests of another file's blocks."""

CHECKED_BYTES = 2**24
"""Size up to which a file is compared with its checksum when it is opened: 16 MB take about 10 ms."""

BLOCK_BYTES = 2**18
"""Size of the blocks of a larger file: one takes 0.2 ms to compare, and the digests are a 8192th of the file."""

DIGEST_BYTES = 32
NPY_HEADER_BYTES = 128
MAGIC, FOOTER_LENGTH = 8, 10
"""Bytes of an Arrow file before its first message, and from the length of its footer to its end."""

TEXT_OFFSETS = {"string": np.int32, "binary": np.int32, "large_string": np.int64, "large_binary": np.int64}

NUMBERS = {"float": "float32", "double": "float64"}
"""Arrow's names of types of numbers that NumPy calls otherwise."""


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
            runs = set(zip(first.tolist(), last.tolist(), strict=True))
            for block in {block for start, stop in runs for block in range(start, stop + 1)}:
                if self._pending[block]:
                    self._check_block(block)

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


class CheckedTable:
    """A memory-mapped Arrow file, whose columns and rows are checked when they are first asked for."""

    def __init__(self, file: CheckedFile) -> None:
        """Map the table; only what describes it is read.

        Raises:
            IndexDamagedError: if that is not what was written.
            ValueError: if it is no Arrow file.
        """
        import pyarrow as pa

        buffer = pa.py_buffer(file.data)
        _check_messages(file, buffer)
        self._file, self._base = file, buffer.address
        self._table = pa.ipc.open_file(pa.BufferReader(buffer)).read_all()
        self._columns = dict(zip(self._table.column_names, self._table.columns, strict=True))
        self._batches = self._table.to_batches()
        self._stops = np.cumsum([batch.num_rows for batch in self._batches])

    def __len__(self) -> int:
        return int(self._table.num_rows)

    @property
    def column_names(self) -> list[str]:
        """Names of the columns."""
        names: list[str] = self._table.column_names
        return names

    def column(self, name: str) -> "pa.ChunkedArray":
        """Return a column.

        Raises:
            IndexDamagedError: if it is not what was written.
        """
        column = self._table[name]
        if not self._file.sound:
            for chunk in column.chunks:
                self._check_addresses(_whole(chunk.buffers()))
        return column

    def __getitem__(self, name: str) -> "pa.ChunkedArray":
        return self.column(name)

    def numbers(self, name: str) -> NDArray[Any]:
        """Return a column of numbers without nulls as it is mapped, (N,).

        Not by Arrow's own conversion, which imports pandas where that is installed: 0.2 s of the first query.

        Raises:
            IndexDamagedError: if it is not what was written.
        """
        parts = [_numbers(chunk) for chunk in self.column(name).chunks]
        return parts[0] if len(parts) == 1 else np.concatenate(parts) if parts else np.zeros(0)

    def whole(self) -> "pa.Table":
        """Return all of it.

        Raises:
            IndexDamagedError: if it is not what was written.
        """
        self._file.check_all()
        return self._table

    def rows(
        self, indices: Sequence[int] | NDArray[np.integer], names: Sequence[str] | None = None
    ) -> list[dict[str, Any]]:
        """Return some rows as dictionaries.

        Args:
            indices: of the rows.
            names: of the columns that are wanted; None: all.

        Raises:
            IndexDamagedError: if they are not what was written.
        """
        columns = {name: self._columns[name] for name in names or self._columns}
        if not self._file.sound:
            for row in indices:
                self._check_row(int(row), columns)
        # value by value: Arrow's take costs a third of a millisecond where it was not called just before
        return [{name: column[int(row)].as_py() for name, column in columns.items()} for row in indices]

    def _check_row(self, row: int, names: Iterable[str]) -> None:
        number = int(np.searchsorted(self._stops, row, side="right"))
        batch = self._batches[number]
        for array in map(batch.column, names):
            self._check_addresses(_needed(array, row - int(self._stops[number]) + batch.num_rows))

    def _check_addresses(self, ranges: Iterator[tuple[int, int]]) -> None:
        """Check ranges of addresses, each before the next one is asked for."""
        for start, stop in ranges:
            if start < self._base or stop > self._base + len(self._file):
                self._file.check_all()  # Arrow made a copy, and of what cannot be told
            self._file.check(start - self._base, stop - self._base)


def _check_messages(file: CheckedFile, buffer: "pa.Buffer") -> None:
    """Check what tells where the columns of an Arrow file lie: the heads of its messages and its footer."""
    import pyarrow as pa

    file.check(len(file) - FOOTER_LENGTH, len(file))
    footer = int.from_bytes(file.data[len(file) - FOOTER_LENGTH :][:4], "little")
    file.check(len(file) - FOOTER_LENGTH - footer, len(file))
    start = MAGIC
    while start < len(file) - FOOTER_LENGTH - footer:
        file.check(start, start + MAGIC)
        head = int.from_bytes(file.data[start + 4 : start + MAGIC], "little")
        if head == 0:
            return
        file.check(start, start + MAGIC + head)
        message = pa.ipc.read_message(pa.BufferReader(buffer.slice(start)))
        body = 0 if message.body is None else message.body.size
        start += MAGIC + head + body


def _numbers(array: "pa.Array") -> NDArray[Any]:
    kind = np.dtype(NUMBERS.get(str(array.type), str(array.type)))
    values = np.frombuffer(array.buffers()[1], kind) if len(array) else np.zeros(0, kind)
    return values[array.offset : array.offset + len(array)]


def _whole(buffers: "list[pa.Buffer | None]") -> Iterator[tuple[int, int]]:
    return ((b.address, b.address + b.size) for b in buffers if b is not None)


def _needed(array: "pa.Array", row: int) -> Iterator[tuple[int, int]]:
    """Yield the addresses that one row of an array is read from; of nested arrays all."""
    import pyarrow as pa

    validity, *others = array.buffers()
    place = array.offset + row
    if validity is not None:
        yield validity.address + place // 8, validity.address + place // 8 + 1
    kind = str(array.type)
    if kind in TEXT_OFFSETS:
        yield from _text(others[0], others[1], np.dtype(TEXT_OFFSETS[kind]), place)
    elif pa.types.is_primitive(array.type) and array.type.bit_width >= 8:
        width = array.type.bit_width // 8
        yield others[0].address + width * place, others[0].address + width * (place + 1)
    else:
        yield from _whole(others)


def _text(offsets: "pa.Buffer", text: "pa.Buffer | None", kind: np.dtype[Any], place: int) -> Iterator[tuple[int, int]]:
    start = kind.itemsize * place
    yield offsets.address + start, offsets.address + start + 2 * kind.itemsize
    first, stop = np.frombuffer(offsets, kind, 2, start).tolist()
    if text is not None:
        yield text.address + first, text.address + stop
