"""What a stopped write leaves in the tables: versions and tags that nothing names, cleared away before the next one.

Lance opens no version of a table whose newest one is torn, sets no tag beside a torn one, and counts versions from 1
again behind a newest one of zeros. So a power cut in the middle of a write would end all writing.
"""

import json
from collections.abc import Iterable
from pathlib import Path

from geoindex.store.checksums import CHECKSUMS
from geoindex.store.durable import sync
from geoindex.store.tables import TABLES, LanceTables
from geoindex.store.versions import version_of


def clear_leftovers(tables: LanceTables, named: Iterable[dict[str, int]]) -> None:
    """Remove torn tags, and versions that are newer than all that were finished.

    A version is finished when its checksums are written; of those without, tags and generations tell.

    Args:
        tables: the tables.
        named: version by table of each generation.

    Raises:
        OSError: if the disk refuses.
    """
    generations = list(named)
    for name in TABLES:
        folder = tables.folder / f"{name}.lance"
        finished = [*_recorded(tables.folder / CHECKSUMS, name), *_tagged(folder / "_refs" / "tags")]
        newest = max([0, *finished, *(versions.get(name, 0) for versions in generations)])
        manifests = [path for path in (folder / "_versions").glob("*.manifest") if path.stem.isdigit()]
        _remove(path for path in manifests if version_of(path) > newest)


def _recorded(folder: Path, name: str) -> list[int]:
    stems = [path.stem.removeprefix(f"{name}-") for path in folder.glob(f"{name}-*.json")]
    return [int(stem) for stem in stems if stem.isdigit()]


def _tagged(folder: Path) -> list[int]:
    """Return the versions that have tags, and remove torn tags."""
    found = {path: _tag(path) for path in folder.glob("*.json")}
    _remove(path for path, version in found.items() if version is None)
    return [version for version in found.values() if version is not None]


def _tag(path: Path) -> int | None:
    try:
        return int(json.loads(path.read_bytes())["version"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        path.unlink()
        sync(path.parent)
