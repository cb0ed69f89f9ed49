"""Arrow files whose columns and rows are compared with their checksums when they are first asked for."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geoindex.store.checked import CheckedFile

if TYPE_CHECKING:
    import pyarrow as pa

MAGIC, FOOTER_LENGTH = 8, 10
"""Bytes of an Arrow file before its first message, and from the length of its footer to its end."""

TEXT_OFFSETS = {"string": np.int32, "binary": np.int32, "large_string": np.int64, "large_binary": np.int64}

NUMBERS = {"float": "float32", "double": "float64"}
"""Arrow's names of types of numbers that NumPy calls otherwise."""


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
        self._values = {name: _reader(self._table[name]) for name in self._table.column_names}
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
            indices: of the rows, from 0.
            names: of the columns that are wanted; None: all.

        Raises:
            IndexDamagedError: if they are not what was written.
            IndexError: if there is no such row.
        """
        wanted: list[int] = np.asarray(indices, np.int64).tolist()
        if wanted and min(wanted) < 0:
            raise IndexError(f"row {min(wanted)} is none")
        values = {name: self._values[name] for name in names or self._values}
        if not self._file.sound:
            for row in wanted:
                self._check_row(row, values)
        return [{name: value(row) for name, value in values.items()} for row in wanted]

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


def _reader(column: "pa.ChunkedArray") -> Callable[[int], Any]:
    """Return what reads one value of a column.

    Numbers and texts not as Arrow's scalars, which take longer: 0.07 ms more for all that a query tells.
    """
    kind = str(column.type)
    if column.num_chunks == 1 and len(column) and not column.null_count:
        if kind in ("double", "int64", "int32"):
            return _numbers(column.chunk(0)).item
        if kind in TEXT_OFFSETS and kind.endswith("string"):
            return _text_reader(column.chunk(0), np.dtype(TEXT_OFFSETS[kind]))
    return lambda row: column[row].as_py()


def _text_reader(array: "pa.Array", kind: np.dtype[Any]) -> Callable[[int], str]:
    _, offsets, text = array.buffers()
    place = np.frombuffer(offsets, kind, len(array) + 1, array.offset * kind.itemsize).item
    letters = memoryview(b"" if text is None else text)  # there is none where all are empty
    return lambda row: str(letters[place(row) : place(row + 1)], "utf-8")


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
