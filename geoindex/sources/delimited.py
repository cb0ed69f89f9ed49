"""Turns a table of delimited text (.csv, .tsv) into the columns that are wanted, as text."""

import csv
import mmap
import re
from pathlib import Path
from typing import Any

from geoindex.errors import TableError
from geoindex.sources.columns import NULLS, Choice, Columns
from geoindex.sources.source import LeftOut

_BLOCK_BYTES = 16 * 2**20

# Quotes count at the start of a cell, and are closed by a single one. A cell of several lines has to end there, or else
# an opening quote was matched with that of a later row.
_CLOSED = rb"""(?x)
    (?: [^"]++
      | (?: \A | (?<=[DELIMITER\r\n]) | (?<=\xef\xbb\xbf) ) (?: " (?: [^"\r\n]++ | "" )*+ "
                                                  | " (?: [^"]++ | "" )*+ " (?= [ \t]* (?: [DELIMITER\r\n] | \Z ) ) )
      | (?<! [DELIMITER\r\n] ) (?<! \xef\xbb\xbf ) (?<! \A ) "
    )*+"""


def read_delimited(path: Path, choice: Choice, left_out: LeftOut) -> Columns:
    """Read columns of a .csv or .tsv file as text."""
    import pyarrow as pa

    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    _check_quotes(path, delimiter)
    try:
        return _parse(path, delimiter, "utf-8", choice, left_out)
    except (pa.ArrowInvalid, UnicodeError) as error:
        if not isinstance(error, UnicodeError) and "UTF8" not in str(error):
            raise
    return _parse(path, delimiter, "latin-1", choice, left_out)


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


def _parse(path: Path, delimiter: str, encoding: str, choice: Choice, left_out: LeftOut) -> Columns:
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    chosen = choice(_header(path, delimiter, encoding))
    wanted = list(dict.fromkeys(chosen.values()))
    ragged: list[str] = []

    def skip(row: Any) -> str:
        ragged.append(row.text)
        return "skip"

    table = arrow_csv.read_csv(
        path,
        read_options=arrow_csv.ReadOptions(encoding=encoding, block_size=_BLOCK_BYTES),
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


def _header(path: Path, delimiter: str, encoding: str) -> list[str]:
    with path.open(encoding="utf-8-sig" if encoding == "utf-8" else encoding, newline="") as file:
        return next(csv.reader(file, delimiter=delimiter), [])
