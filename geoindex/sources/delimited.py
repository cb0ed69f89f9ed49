"""Turns a table of delimited text (.csv, .tsv) into the columns that are wanted, as text."""

import csv
from pathlib import Path
from typing import Any

from geoindex.sources.columns import NULLS, Choice, Columns
from geoindex.sources.source import LeftOut

_BLOCK_BYTES = 16 * 2**20


def read_delimited(path: Path, choice: Choice, left_out: LeftOut) -> Columns:
    """Read columns of a .csv or .tsv file as text."""
    import pyarrow as pa

    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    try:
        return _parse(path, delimiter, "utf-8", choice, left_out)
    except (pa.ArrowInvalid, UnicodeError) as error:
        if not isinstance(error, UnicodeError) and "UTF8" not in str(error):
            raise
    return _parse(path, delimiter, "latin-1", choice, left_out)


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
