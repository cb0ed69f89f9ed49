"""Turns JSON Lines into the columns that are wanted."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from geoindex.sources.columns import NULLS, Choice, Columns
from geoindex.sources.source import LeftOut

if TYPE_CHECKING:
    import pyarrow as pa

_BLOCK_BYTES = 16 * 2**20


def read_json_lines(path: Path, choice: Choice, left_out: LeftOut) -> Columns:
    """Read columns of a .jsonl file."""
    import pyarrow as pa
    from pyarrow import json as arrow_json

    try:
        table = arrow_json.read_json(path, arrow_json.ReadOptions(block_size=_BLOCK_BYTES))
    except pa.ArrowInvalid:
        table = _parse_lines(path, left_out)
    return {meaning: table[name] for meaning, name in choice(table.column_names).items()}


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
