"""Turns a table file into the columns that are wanted, as Arrow columns by meaning."""

import csv
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from geoindex.errors import DatasetNotFoundError, EmptyDatasetError, TableError
from geoindex.sources.columns import Choice, Columns, match_columns
from geoindex.sources.delimited import read_delimited
from geoindex.sources.json_lines import read_json_lines
from geoindex.sources.source import LeftOut


def read_columns(path: Path, overrides: Mapping[str, str], left_out: LeftOut) -> Columns:
    """Read the columns of a table of positions that mean something to us.

    Args:
        path: a .csv, .tsv, .parquet or .jsonl file.
        overrides: columns by meaning that the user named.
        left_out: counts rows that do not parse.

    Raises:
        DatasetNotFoundError: if there is no such file or its suffix is unknown.
        EmptyDatasetError: if the file is empty.
        TableError: if it cannot be parsed or lacks coordinates.
    """
    return read_chosen(path, lambda names: match_columns(names, overrides, path), left_out)


def read_chosen(path: Path, choice: Choice, left_out: LeftOut) -> Columns:
    """Read the columns of a table that `choice` takes.

    Text formats give text columns, so that one bad cell costs one row; rows that do not parse are counted.

    Raises:
        DatasetNotFoundError: if there is no such file or its suffix is unknown.
        EmptyDatasetError: if the file is empty.
        TableError: if it cannot be parsed.
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
        return reader(path, choice, left_out)
    except (pa.ArrowException, OSError, KeyError, csv.Error, UnicodeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise TableError(f"Table '{path}' cannot be read: {reason.rstrip('.')}.") from error


def _read_parquet(path: Path, choice: Choice, left_out: LeftOut) -> Columns:
    from pyarrow import parquet

    with parquet.ParquetFile(path) as file:
        chosen = choice(file.schema_arrow.names)
        table = file.read(columns=list(dict.fromkeys(chosen.values())))
    return {meaning: table[name] for meaning, name in chosen.items()}


READERS: Mapping[str, Callable[[Path, Choice, LeftOut], Columns]] = {
    ".csv": read_delimited,
    ".tsv": read_delimited,
    ".parquet": _read_parquet,
    ".jsonl": read_json_lines,
}
"""Readers by suffix."""

SUFFIXES: Sequence[str] = tuple(READERS)
"""Suffixes, in lower case, of table files."""
