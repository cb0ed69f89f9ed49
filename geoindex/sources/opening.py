"""Turns a URI into a source: photos:DIR, table:PATH, osv5m:ROOT, synthetic:N, ..., or a plain path."""

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import parse_qsl

from geoindex.errors import ConfigError, DatasetNotFoundError
from geoindex.sources.source import Source
from geoindex.sources.tabular import READERS
from geoindex.store.address import path_text
from geoindex.store.buckets import Place, place_at

GRAMMAR = (
    "photos:DIR, table:PATH, osv5m:ROOT?split=train, osv5m-wds:ROOT?split=train, listed:DIR?table=PATH, mp16:ROOT, "
    "synthetic:N?seed=S, planted:N?dim=D&seed=S"
)

_Columns: TypeAlias = Mapping[str, str]

# at least two letters, because one is a drive of Windows
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9_+.-]+):(.*)", re.DOTALL)


def open_source(uri: str | os.PathLike[str], *, columns: Mapping[str, str] | None = None) -> Source:
    """Open a source of samples.

    Args:
        uri: `photos:DIR`, `table:PATH`, `listed:DIR?table=PATH`, `osv5m:ROOT?split=train`,
            `osv5m-wds:ROOT?split=train&embedding=street_clip`, `mp16:ROOT`, `synthetic:N?seed=S`,
            `planted:N?dim=D&seed=S&...`, a folder of photos, or a table (.csv, .tsv, .parquet, .jsonl).
            A ROOT may be a URL, such as s3://BUCKET/PREFIX.
        columns: columns of a table by meaning (lat, lon, id, image, author, ...) where names do not tell.

    Raises:
        DatasetNotFoundError: if there is no such path or scheme.
        ConfigError: if an option is not valid, or `columns` is given for another source than a table.
    """
    text = path_text(uri, "The source")
    match = None if isinstance(uri, os.PathLike) or Path(text).exists() else _SCHEME.fullmatch(text)
    if match is None:
        return _open_path(text, columns or {})
    scheme, rest = match[1].lower(), match[2]
    if scheme not in OPENERS:
        raise DatasetNotFoundError(f"Unknown source '{text}'; give a folder, a table or one of {GRAMMAR}.")
    return OPENERS[scheme](rest, columns or {})


def _open_path(text: str, columns: _Columns) -> Source:
    path = Path(text).expanduser().absolute()
    if not text or not path.exists():
        raise DatasetNotFoundError(f"There is no folder or table '{text}'; check the path, or give one of {GRAMMAR}.")
    return _open_photos(text, columns) if path.is_dir() else _open_table(text, columns)


def _open_photos(rest: str, columns: _Columns) -> Source:
    from geoindex.sources.photos import PhotosSource

    root = Path(rest).expanduser().absolute()
    _refuse_columns(f"photos:{rest}", columns)
    if not rest or not root.is_dir():
        raise DatasetNotFoundError(f"There is no folder '{rest}'; check the path (photos:DIR).")
    return PhotosSource(root)


def _open_table(rest: str, columns: _Columns) -> Source:
    from geoindex.sources.table import TableSource

    path = Path(rest).expanduser().absolute()
    if not rest or not path.is_file():
        raise DatasetNotFoundError(f"There is no table '{rest}'; check the path (table:PATH).")
    if path.suffix.lower() not in READERS:
        raise DatasetNotFoundError(
            f"'{rest}' is neither a folder of photos nor a table, which would end in {', '.join(READERS)}; name one."
        )
    return TableSource(path, dict(columns))


def _open_listed(rest: str, columns: _Columns) -> Source:
    from geoindex.sources.listed import ListedSource

    root, options = _folder(f"listed:{rest}", rest, columns, {"table": Path}, "listed:DIR?table=PATH")
    if not isinstance(root, Path):
        raise DatasetNotFoundError(f"'{root}' is no folder of this machine, and listed: reads none but these.")
    if not options.get("table", Path()).name:
        raise ConfigError(f"Source 'listed:{rest}' needs ?table=PATH, the table of its images.")
    table = options["table"].expanduser().absolute()
    if not table.is_file():
        raise DatasetNotFoundError(f"There is no table '{table}'; name it, as in listed:DIR?table=PATH.")
    return ListedSource(root, table)


def _open_osv5m(rest: str, columns: _Columns) -> Source:
    from geoindex.sources.osv5m import Osv5m

    root, options = _folder(f"osv5m:{rest}", rest, columns, {"split": str}, "osv5m:ROOT?split=train")
    return Osv5m(root, **options)


def _open_osv5m_shards(rest: str, columns: _Columns) -> Source:
    from geoindex.sources.osv5m_shards import Osv5mShardEmbeddings, Osv5mShards

    kinds = {"split": str, "embedding": str}
    root, options = _folder(f"osv5m-wds:{rest}", rest, columns, kinds, "osv5m-wds:ROOT?split=train")
    return Osv5mShardEmbeddings(root, **options) if options.get("embedding") else Osv5mShards(root, **options)


def _open_mp16(rest: str, columns: _Columns) -> Source:
    from geoindex.sources.mp16 import Mp16

    root, _ = _folder(f"mp16:{rest}", rest, columns, {}, "mp16:ROOT")
    return Mp16(root)


def _folder(
    uri: str, rest: str, columns: _Columns, kinds: Mapping[str, Callable[[str], Any]], example: str
) -> tuple[Place, dict[str, Any]]:
    """Return the folder before `?`, which must be there, and the options after it."""
    _refuse_columns(uri, columns)
    root, options = _options(uri, rest, kinds)
    path = place_at(root)
    if not root or not path.is_dir():
        raise DatasetNotFoundError(f"There is no folder '{root}'; check the path ({example}).")
    return path, options


def _open_synthetic(rest: str, columns: _Columns) -> Source:
    from geoindex.sources.synthetic import SyntheticEarth

    uri = f"synthetic:{rest}"
    _refuse_columns(uri, columns)
    count, options = _options(uri, rest, {"seed": int, "size": int})
    if "size" in options:
        options["image_size"] = options.pop("size")
    return SyntheticEarth(_count(uri, count), **{"seed": 0, **options})


def _open_planted(rest: str, columns: _Columns) -> Source:
    from geoindex.sources.planted import PlantedEmbeddings

    uri = f"planted:{rest}"
    _refuse_columns(uri, columns)
    kinds = {"dim": int, "seed": int, "positions": str, "noise": float, "ambiguous": float}
    count, options = _options(uri, rest, kinds)
    return PlantedEmbeddings(_count(uri, count), **{"seed": 0, **options})


def _options(uri: str, rest: str, kinds: Mapping[str, Callable[[str], Any]]) -> tuple[str, dict[str, Any]]:
    """Return what stands before `?`, and the options after it by name."""
    subject, _, query = rest.partition("?")
    options: dict[str, Any] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in kinds:
            choices = f"choose among {', '.join(kinds)}" if kinds else "it takes none"
            raise ConfigError(f"Unknown option {name!r} in '{uri}'; {choices}.")
        try:
            options[name] = kinds[name](value)
        except ValueError:
            raise ConfigError(f"Option {name}={value!r} in '{uri}' must be a number, as in {GRAMMAR}.") from None
    return subject, options


def _count(uri: str, text: str) -> int:
    if not re.fullmatch(r"[0-9]+(_[0-9]+)*", text) or int(text) < 1:
        raise ConfigError(f"Source '{uri}' needs a positive number of samples after the colon, not {text!r}.")
    return int(text)


def _refuse_columns(uri: str, columns: _Columns) -> None:
    if columns:
        raise ConfigError(f"Columns ({', '.join(columns)}) can be named for a table only, and '{uri}' is none.")


OPENERS: Mapping[str, Callable[[str, _Columns], Source]] = {
    "photos": _open_photos,
    "table": _open_table,
    "listed": _open_listed,
    "osv5m": _open_osv5m,
    "osv5m-wds": _open_osv5m_shards,
    "mp16": _open_mp16,
    "synthetic": _open_synthetic,
    "planted": _open_planted,
}
"""What opens a URI, by its scheme."""
