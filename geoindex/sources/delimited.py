"""Turns a table of delimited text (.csv, .tsv) into the columns that are wanted, as text."""

import codecs
import csv
import io
import mmap
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from geoindex.errors import TableError
from geoindex.sources.columns import NULLS, Choice, Columns
from geoindex.sources.source import LeftOut

_BLOCK_BYTES = 16 * 2**20
_START_BYTES = 2**16

_DECIMAL_COMMA = r"^\s*[+-]?\d+,\d+\s*$"

# Quotes count at the start of a cell, and are closed by a single one. A cell of several lines has to end there, or else
# an opening quote was matched with that of a later row.
_CLOSED = rb"""(?x)
    (?: [^"]++
      | (?: \A | (?<=[DELIMITER\r\n]) | (?<=\xef\xbb\xbf) ) (?: " (?: [^"\r\n]++ | "" )*+ "
                                                  | " (?: [^"]++ | "" )*+ " (?= [ \t]* (?: [DELIMITER\r\n] | \Z ) ) )
      | (?<! [DELIMITER\r\n] ) (?<! \xef\xbb\xbf ) (?<! \A ) "
    )*+"""


class _Recoded(io.RawIOBase):
    """The bytes of a file as UTF-8, whose lines that are no UTF-8 are taken for Latin-1."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self._rest = b""
        if self._file.read(len(codecs.BOM_UTF8)) != codecs.BOM_UTF8:
            self._file.seek(0)

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any, /) -> int:
        """Fill a buffer, and return the number of bytes; 0 at the end."""
        self._rest = self._rest or _as_utf8(self._file.read(_BLOCK_BYTES) + self._file.readline())
        count = min(len(buffer), len(self._rest))
        buffer[:count], self._rest = self._rest[:count], self._rest[count:]
        return count

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()


def _as_utf8(lines: bytes) -> bytes:
    try:
        lines.decode()
    except UnicodeDecodeError:
        return b"".join(_line_as_utf8(line) for line in lines.splitlines(keepends=True))
    return lines


def _line_as_utf8(line: bytes) -> bytes:
    try:
        line.decode()
    except UnicodeDecodeError:
        return line.decode("latin-1").encode()
    return line


def read_delimited(path: Path, choice: Choice, left_out: LeftOut) -> Columns:
    """Read columns of a .csv or .tsv file as text, UTF-8 or, in the rows that are not, Latin-1.

    A .csv whose header has no comma may have semicolons or tabs.
    """
    line = _first_line(path)
    delimiter = "\t" if path.suffix.lower() == ".tsv" else next((d for d in ",;\t" if d.encode() in line), ",")
    _check_quotes(path, delimiter)
    chosen = choice(_header(path, delimiter))
    with _Recoded(path) as file:
        columns = _parse(file, delimiter, chosen, left_out)
    if delimiter == ";":
        _check_decimals(columns, path)
    return columns


def _first_line(path: Path) -> bytes:
    """Return the first line that is not empty; refuse UTF-16, which has a mark or many bytes that are 0."""
    with path.open("rb") as file:
        start = file.read(_START_BYTES)
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or start.count(0) > len(start) / 4:
        raise TableError(f"Table '{path}' looks like UTF-16; save it as UTF-8.")
    return next((line for line in start.splitlines() if line.strip()), b"")


def _check_decimals(columns: Columns, path: Path) -> None:
    """Refuse decimal commas, which would leave every row without a position."""
    import pyarrow.compute as pc

    for cells in (columns[name] for name in ("lat", "lon") if name in columns):
        row = pc.index(pc.match_substring_regex(cells, _DECIMAL_COMMA), True).as_py()
        if row >= 0:
            raise TableError(
                f"Table '{path}' has numbers with a decimal comma, such as {cells[row].as_py()}; save it with points."
            )


def _check_quotes(path: Path, delimiter: str) -> None:
    """Refuse a table with a quote that is not closed, as it would take the rows that follow into its cell."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        if data.find(b'"') < 0:
            return
        closed = re.match(_CLOSED.replace(b"DELIMITER", delimiter.encode()), data)
        end = closed.end() if closed else 0
        if end < len(data):
            line = sum(1 for _ in re.finditer(rb"\r\n?|\n", data[:end])) + 1
            raise TableError(
                f"Table '{path}' has a quote in line {line} that is not closed where its cell ends; correct that line."
            )


def _parse(file: io.IOBase, delimiter: str, chosen: Mapping[str, str], left_out: LeftOut) -> Columns:
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    wanted = list(dict.fromkeys(chosen.values()))
    ragged: list[str] = []

    def skip(row: Any) -> str:
        ragged.append(row.text)
        return "skip"

    table = arrow_csv.read_csv(
        file,
        read_options=arrow_csv.ReadOptions(block_size=_BLOCK_BYTES),
        parse_options=arrow_csv.ParseOptions(delimiter=delimiter, newlines_in_values=True, invalid_row_handler=skip),
        convert_options=arrow_csv.ConvertOptions(
            include_columns=wanted,
            column_types=dict.fromkeys(wanted, pa.string()),
            strings_can_be_null=True,
            null_values=list(NULLS),
        ),
    )
    for text in ragged:
        left_out.add("row has not as many cells as the header", text[:80])
    return {meaning: table[name] for meaning, name in chosen.items()}


def _header(path: Path, delimiter: str) -> list[str]:
    with io.TextIOWrapper(io.BufferedReader(_Recoded(path)), "utf-8", newline="") as file:
        return next((row for row in csv.reader(file, delimiter=delimiter) if row), [])
