"""Turns raw columns into valid samples, and counts the rows that are left out by reason."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from geoindex.errors import TableError
from geoindex.sources.columns import NULLS, Columns
from geoindex.sources.source import EXAMPLES_KEPT, LeftOut
from geoindex.types import LABELS, Samples

if TYPE_CHECKING:
    import pyarrow as pa

Refusal: TypeAlias = tuple[str, NDArray[np.bool_]]
"""A reason and the rows that it leaves out, (N,)."""

TWICE = "id appears twice"
OFF_LATITUDE = "latitude is outside -90..90"
ZERO = "position is 0, 0 (a common placeholder)"
CLASSES = ("climate", "land_cover", "drive_side")
"""Labels that are numbers of classes in OSV-5M."""

_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
_SECONDS = r"^\d{9,10}(\.\d*)?$"
_MILLISECONDS = r"^\d{11,15}(\.\d*)?$"


def clean(
    raw: Columns, left_out: LeftOut, *, no_image: str = "image is missing", refused: Sequence[Refusal] = ()
) -> Samples:
    """Keep the rows whose id and image are known and whose position is on Earth; of equal ids, the first.

    Args:
        raw: columns by meaning, `id`, `lat` and `lon` among them; without `image` all images are "".
        left_out: counts the other rows.
        no_image: reason for a row whose image is null.
        refused: further reasons and the rows that they leave out.

    Raises:
        TableError: if a column holds lists or other nested values.
    """
    import pyarrow as pa

    ids = as_text(raw["id"], "id")
    lat, lon = (_as_numbers(raw[name], name) for name in ("lat", "lon"))
    images = as_text(raw["image"], "image") if "image" in raw else pa.array([""]).take(np.zeros(len(ids), int))
    refusals = [("id is missing", _is_null(ids)), *refused, (no_image, _is_null(images))]
    refusals += _position_refusals(lat, lon, _is_unknown(raw["lat"]) | _is_unknown(raw["lon"]))
    rows = _first_of_each_id(_keep(refusals, ids, left_out), ids, left_out)
    columns = {"id": ids.take(rows), "lat": lat[rows], "lon": lon[rows], "image": images.take(rows)}
    if "heading" in raw:
        columns["heading_deg"] = _headings(_as_numbers(raw["heading"], "heading")[rows])
    for name in LABELS:
        if name in raw:
            columns[name] = as_label(as_text(raw[name].take(pa.array(rows)), name), name)
    return Samples.from_columns({name: _whole(column) for name, column in columns.items()})


def as_text(column: "pa.ChunkedArray", name: str) -> "pa.ChunkedArray":
    """Return any flat column as trimmed text; empty text and text for nothing become null.

    Whole floats lose their `.0`, and moments become ISO 8601 in seconds.

    Raises:
        TableError: if it holds lists or other nested values.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type
    if pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        raise TableError(f"The {name} column holds {kind}, not text; name another with --column {name}=NAME.")
    if pa.types.is_floating(kind):
        column = _whole_floats(column)
    elif pa.types.is_timestamp(kind):
        column = _iso_moments(column)
    text = pc.utf8_trim_whitespace(pc.cast(column, pa.string()))
    return pc.if_else(pc.is_in(text, value_set=pa.array(NULLS)), None, text)


def as_label(text: "pa.ChunkedArray", name: str) -> "pa.ChunkedArray":
    """Write moments as ISO 8601 and numbers of classes without `.0`; other text, such as a name, stays."""
    import pyarrow.compute as pc

    if name == "captured_at":
        return _as_iso(text)
    return pc.replace_substring_regex(text, r"^([+-]?\d+)\.0*$", r"\1") if name in CLASSES else text


def without_point_zero(ids: "pa.ChunkedArray") -> "pa.ChunkedArray":
    """Return ids without the `.0` that they have if a program took all of them for floats."""
    import pyarrow.compute as pc

    if not pc.all(pc.match_substring_regex(ids, r"^\d+\.0$"), min_count=1).as_py():
        return ids
    return pc.replace_substring_regex(ids, r"\.0$", "")


def _whole_floats(column: "pa.ChunkedArray") -> "pa.ChunkedArray":
    import pyarrow as pa
    import pyarrow.compute as pc

    column = pc.if_else(pc.is_finite(column), column, None)
    whole = pc.all(pc.equal(pc.floor(column), column)).as_py() is not False
    fits = (pc.max(pc.abs(column)).as_py() or 0) < 2**63
    return pc.cast(column, pa.int64()) if whole and fits else column


def _as_numbers(column: "pa.ChunkedArray", name: str) -> NDArray[np.float64]:
    """Return a column as float64 degrees, NaN where it is null or not a number, (N,)."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        text = as_text(column, name)
        column = pc.if_else(pc.match_substring_regex(text, _NUMBER), text, None)
    numbers = pc.cast(column, pa.float64(), safe=False)
    return np.array(pc.fill_null(numbers, float("nan")).to_numpy(), float)


def _is_unknown(column: "pa.ChunkedArray") -> NDArray[np.bool_]:
    import pyarrow as pa

    return _is_null(as_text(column, "position") if pa.types.is_string(column.type) else column)


def _is_null(column: "pa.Array | pa.ChunkedArray") -> NDArray[np.bool_]:
    import pyarrow.compute as pc

    return np.asarray(pc.is_null(column), bool)


def _position_refusals(lat: NDArray[np.float64], lon: NDArray[np.float64], missing: NDArray[np.bool_]) -> list[Refusal]:
    return [
        ("position is missing", missing),
        ("position is not a number", ~(np.isfinite(lat) & np.isfinite(lon))),
        (OFF_LATITUDE, np.abs(lat) > 90.0),
        ("longitude is outside -180..180", np.abs(lon) > 180.0),
        (ZERO, (lat == 0.0) & (lon == 0.0)),
    ]


def _keep(refusals: list[Refusal], ids: "pa.ChunkedArray", left_out: LeftOut) -> NDArray[np.int64]:
    """Return the rows that nothing refuses; each other row counts for its first reason."""
    kept = np.ones(len(ids), bool)
    for reason, refused in refusals:
        _leave_out(np.flatnonzero(kept & refused), reason, ids, left_out)
        kept &= ~refused
    return np.flatnonzero(kept)


def _first_of_each_id(rows: NDArray[np.int64], ids: "pa.ChunkedArray", left_out: LeftOut) -> NDArray[np.int64]:
    codes = _whole(ids.take(rows)).dictionary_encode().indices.to_numpy()
    first = np.zeros(len(rows), bool)
    first[np.unique(codes, return_index=True)[1]] = True
    _leave_out(rows[~first], TWICE, ids, left_out)
    return rows[first]


def _leave_out(rows: NDArray[np.int64], reason: str, ids: "pa.ChunkedArray", left_out: LeftOut) -> None:
    for row in rows[:EXAMPLES_KEPT].tolist():
        left_out.add(reason, ids[row].as_py() or f"row {row + 1}")
    if len(rows) > EXAMPLES_KEPT:
        left_out.add(reason, "", len(rows) - EXAMPLES_KEPT)


def _headings(heading: NDArray[np.float64]) -> "pa.Array":
    import pyarrow as pa

    with np.errstate(invalid="ignore"):
        known = (heading >= 0.0) & (heading <= 360.0)
    return pa.array(np.mod(heading, 360.0), pa.float32(), mask=~known)


def _as_iso(text: "pa.ChunkedArray") -> "pa.ChunkedArray":
    """Turn counts of (milli)seconds since 1970 into ISO 8601; other text, such as a year, stays."""
    import pyarrow as pa
    import pyarrow.compute as pc

    for pattern, unit in ((_MILLISECONDS, "ms"), (_SECONDS, "s")):
        is_count = pc.match_substring_regex(text, pattern)
        digits = pc.replace_substring_regex(pc.if_else(is_count, text, None), r"\.\d*$", "")
        moments = pc.cast(pc.cast(digits, pa.int64()), pa.timestamp(unit))
        text = pc.if_else(is_count, _iso_moments(moments), text)
    return text


def _iso_moments(column: "pa.ChunkedArray") -> "pa.ChunkedArray":
    import pyarrow as pa
    import pyarrow.compute as pc

    seconds = pc.cast(column, pa.timestamp("s", column.type.tz), safe=False)
    if column.type.tz is not None:
        seconds = pc.cast(seconds, pa.timestamp("s", "UTC"))
    return pc.strftime(seconds, format="%Y-%m-%dT%H:%M:%SZ")


def _whole(column: Any) -> Any:
    """Return a chunked column as one array; others as they are."""
    import pyarrow as pa

    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
