"""Turns the column names of a table into what they mean, by their spellings in real data sets."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from geoindex.errors import ConfigError, TableError

if TYPE_CHECKING:
    import pyarrow as pa

Columns: TypeAlias = "Mapping[str, pa.ChunkedArray]"
"""Columns by meaning, all of one length."""

Choice: TypeAlias = Callable[[Sequence[str]], Mapping[str, str]]
"""Returns the columns that are wanted, by meaning, of the names of all of a table."""

NUMBERS = ("lat", "lon", "heading")
"""Meanings that are numbers; all others are text."""

NULLS = ("", "nan", "NaN", "null")
"""Text that means nothing; not NA, which is Namibia."""

SPELLINGS: Mapping[str, tuple[str, ...]] = {
    "lat": ("lat", "latitude", "gpslatitude", "truelat", "truelatitude", "latdeg", "decimallatitude", "y"),
    "lon": ("lon", "lng", "long", "longitude", "gpslongitude", "truelon", "truelng", "truelongitude", "londeg",
            "decimallongitude", "x"),
    "id": ("id", "imageid", "imgid", "photoid", "key", "imagekey", "uuid"),
    "image": ("image", "imagepath", "imgpath", "imagefile", "imgfile", "file", "filename", "filepath", "path",
              "imagename", "photo", "img"),
    "heading": ("heading", "headingdeg", "compassangle", "ca", "bearing", "gpsimgdirection"),
    "country": ("country", "uniquecountry", "countrycode", "cc"),
    "region": ("region", "state", "province", "admin1", "uniqueregion"),
    "sub_region": ("subregion", "county", "area", "admin2", "uniquesubregion"),
    "city": ("city", "town", "uniquecity"),
    "author": ("author", "creatorusername", "creatorid", "user", "username", "userid", "owner", "ownername",
               "photographer", "creator"),
    "sequence": ("sequence", "sequenceid", "sequencekey"),
    "captured_at": ("capturedat", "datetaken", "takenat", "timestamp", "datetime"),
    "climate": ("climate", "climatezone", "koppen", "koppengeiger"),
    "land_cover": ("landcover",),
    "drive_side": ("driveside", "drivingside"),
}  # fmt: skip
"""Names by meaning, the preferred first; compared without case, '-', '_' and spaces."""


def match_columns(names: Sequence[str], overrides: Mapping[str, str], table: str | Path) -> dict[str, str]:
    """Return the column of each meaning that the table has.

    Args:
        names: the table's columns.
        overrides: columns by meaning that the user named; they win.
        table: the table, for messages.

    Raises:
        ConfigError: if an override has an unknown meaning.
        TableError: if an override names no column, or there is no column of latitudes or longitudes.
    """
    _check_overrides(names, overrides, table)
    by_plain_name: dict[str, str] = {}
    for name in names:
        by_plain_name.setdefault(_plain(name), name)
    found = {
        meaning: next((by_plain_name[s] for s in spellings if s in by_plain_name), None)
        for meaning, spellings in SPELLINGS.items()
    }
    matched = {meaning: name for meaning, name in found.items() if name is not None} | dict(overrides)
    for meaning, word in (("lat", "latitude"), ("lon", "longitude")):
        if meaning not in matched:
            raise TableError(
                f"Table '{table}' has no {word} column among {_listed(names)}; name it with --column {meaning}=NAME."
            )
    return matched


def _check_overrides(names: Sequence[str], overrides: Mapping[str, str], table: str | Path) -> None:
    for meaning, name in overrides.items():
        if meaning not in SPELLINGS:
            raise ConfigError(f"Unknown column meaning {meaning!r}; choose one of {', '.join(SPELLINGS)}.")
        if name not in names:
            raise TableError(f"Table '{table}' has no column {name!r} for {meaning!r}; it has {_listed(names)}.")


def _plain(name: str) -> str:
    return "".join(c for c in name.casefold() if c not in "-_ \ufeff")


def _listed(names: Sequence[str]) -> str:
    return ", ".join(repr(name) for name in names) or "no columns at all"
