"""Turns a table file into the columns that are wanted, as Arrow columns by meaning."""

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from geoindex.errors import DatasetNotFoundError, EmptyDatasetError, TableError
from geoindex.sources.columns import match_columns
from geoindex.sources.source import LeftOut

if TYPE_CHECKING:
    import pyarrow as pa

Columns: TypeAlias = "Mapping[str, pa.ChunkedArray]"
"""Columns by meaning, all of one length."""

NULLS = ("", "nan", "NaN", "null")
"""Text that means nothing; not NA, which is Namibia."""

_BLOCK_BYTES = 16 * 2**20


def read_columns(path: Path, overrides: Mapping[str, str], left_out: LeftOut) -> Columns:
    """Read the columns of a table that mean something to us.

    Text formats give text columns, so that one bad cell costs one row; rows that do not parse are counted.

    Args:
        path: a .csv, .tsv, .parquet or .jsonl file.
        overrides: columns by meaning that the user named.
        left_out: counts rows that do not parse.

    Raises:
        DatasetNotFoundError: if there is no such file or its suffix is unknown.
        EmptyDatasetError: if the file is empty.
        TableError: if it cannot be parsed or lacks coordinates.
    """
    import pyarrow as pa

    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise DatasetNotFoundError(f"Table '{path}' is of no known kind; it must end in {', '.join(READERS)}.")
    if not path.is_file():
        raise DatasetNotFoundError(f"There is no table '{path}'; check the path.")
    if path.stat().st_size == 0:
        raise EmptyDatasetError(f"Table '{path}' is an empty file; it needs a header and rows.")
    try:
        return reader(path, overrides, left_out)
    except (pa.ArrowException, OSError, KeyError, csv.Error, UnicodeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise TableError(f"Table '{path}' cannot be read: {reason.rstrip('.')}.") from error


def _read_csv(path: Path, overrides: Mapping[str, str], left_out: LeftOut) -> Columns:
    import pyarrow as pa

    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    try:
        return _parse_csv(path, delimiter, "utf-8", overrides, left_out)
    except (pa.ArrowInvalid, UnicodeError) as error:
        if not isinstance(error, UnicodeError) and "UTF8" not in str(error):
            raise
    return _parse_csv(path, delimiter, "latin-1", overrides, left_out)


def _parse_csv(path: Path, delimiter: str, encoding: str, overrides: Mapping[str, str], left_out: LeftOut) -> Columns:
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    matched = match_columns(_csv_header(path, delimiter, encoding), overrides, path)
    wanted = list(dict.fromkeys(matched.values()))
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
    return {meaning: table[name] for meaning, name in matched.items()}


def _csv_header(path: Path, delimiter: str, encoding: str) -> list[str]:
    with path.open(encoding="utf-8-sig" if encoding == "utf-8" else encoding, newline="") as file:
        return next(csv.reader(file, delimiter=delimiter), [])


def _read_parquet(path: Path, overrides: Mapping[str, str], left_out: LeftOut) -> Columns:
    from pyarrow import parquet

    with parquet.ParquetFile(path) as file:
        matched = match_columns(file.schema_arrow.names, overrides, path)
        table = file.read(columns=list(dict.fromkeys(matched.values())))
    return {meaning: table[name] for meaning, name in matched.items()}


def _read_jsonl(path: Path, overrides: Mapping[str, str], left_out: LeftOut) -> Columns:
    import pyarrow as pa
    from pyarrow import json as arrow_json

    try:
        table = arrow_json.read_json(path, arrow_json.ReadOptions(block_size=_BLOCK_BYTES))
    except pa.ArrowInvalid:
        table = _parse_lines(path, left_out)
    matched = match_columns(table.column_names, overrides, path)
    return {meaning: table[name] for meaning, name in matched.items()}


def _parse_lines(path: Path, left_out: LeftOut) -> "pa.Table":
    """Read JSON Lines one by one, as text, where a column mixes types or a line is not JSON."""
    import pyarrow as pa

    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), start=1):
        try:
            row = json.loads(line) if line.strip() else None
        except ValueError:
            row = line
        if isinstance(row, dict):
            rows.append(row)
        elif row is not None:
            left_out.add("line is not a JSON object", f"line {number}")
    names = dict.fromkeys(name for row in rows for name in row)
    return pa.table({n: pa.array([_cell(row.get(n)) for row in rows], pa.string()) for n in names})


def _cell(value: object) -> str | None:
    return None if value is None or value in NULLS else str(value)


READERS: Mapping[str, Callable[[Path, Mapping[str, str], LeftOut], Columns]] = {
    ".csv": _read_csv,
    ".tsv": _read_csv,
    ".parquet": _read_parquet,
    ".jsonl": _read_jsonl,
}
"""Readers by suffix."""

SUFFIXES: Sequence[str] = tuple(READERS)
"""Suffixes, in lower case, of table files."""
