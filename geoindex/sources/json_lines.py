"""Turns JSON Lines into the columns that are wanted."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from geoindex.sources.columns import NULLS, NUMBERS, Choice, Columns
from geoindex.sources.source import LeftOut

if TYPE_CHECKING:
    import pyarrow as pa

_BLOCK_BYTES = 16 * 2**20


def read_json_lines(path: Path, choice: Choice, left_out: LeftOut) -> Columns:
    """Read columns of a .jsonl file; what is neither a position nor a heading is the text that stands there."""
    import pyarrow as pa

    try:
        table = _inferred(path)
        moments = [field.name for field in table.schema if pa.types.is_timestamp(field.type)]
        table = _inferred(path, moments) if moments else table
    except pa.ArrowInvalid:
        table = _parse_lines(path, left_out)
    chosen = choice(table.column_names)
    texts = {name for meaning, name in chosen.items() if meaning not in NUMBERS}
    if any(pa.types.is_floating(table[name].type) for name in texts):  # a float does not tell how it was written
        table = _parse_lines(path, left_out)
    return {meaning: table[name] for meaning, name in chosen.items()}


def _inferred(path: Path, texts: Sequence[str] = ()) -> "pa.Table":
    """Read all columns, with types that are guessed but for those that are `texts`."""
    import pyarrow as pa
    from pyarrow import json as arrow_json

    return arrow_json.read_json(
        path,
        arrow_json.ReadOptions(block_size=_BLOCK_BYTES),
        arrow_json.ParseOptions(explicit_schema=pa.schema([(name, pa.string()) for name in texts])),
    )


def _parse_lines(path: Path, left_out: LeftOut) -> "pa.Table":
    """Read JSON Lines one by one, as text, where a column mixes types or a line is not JSON."""
    import pyarrow as pa

    rows = []
    with path.open(encoding="utf-8-sig", newline="\n") as file:  # other ends of lines may stand in text
        for number, line in enumerate(file, start=1):
            row = _parsed(line) if line.strip() else None
            if isinstance(row, dict):
                rows.append(row)
            elif row is not None:
                left_out.add("line is not a JSON object", f"line {number}")
    names = dict.fromkeys(name for row in rows for name in row)
    return pa.table({n: pa.array([_cell(row.get(n)) for row in rows], pa.string()) for n in names})


def _parsed(line: str) -> object:
    """Return what a line of JSON says, numbers as they are written, or the line if it is none."""
    try:
        return json.loads(line, parse_int=str, parse_float=str)
    except (ValueError, RecursionError):
        return line


def _cell(value: object) -> str | None:
    if isinstance(value, bool):
        return str(value).lower()
    return None if value is None or value in NULLS else str(value)
