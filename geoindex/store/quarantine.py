"""What keeps a table from being opened, moved out of its way. Nothing is deleted."""

from pathlib import Path

from geoindex.store.durable import sync
from geoindex.store.tables import LanceTables


def set_aside(tables: LanceTables, name: str, quarantine: Path) -> list[Path]:
    """Move versions of a table into another folder that are not what was written, or are newest and cannot be opened.

    Lance opens no version of a table whose newest one is damaged, and takes zeros for an empty table.
    """
    versions = tables.folder / f"{name}.lance" / "_versions"
    bad = [path for path in versions.glob("*.manifest") if tables.checksums.differs(path)]
    moved = [_move(path, quarantine, name) for path in bad]
    while not tables.opens(name):
        manifests = sorted(versions.glob("*.manifest"))  # Lance counts names down: the newest comes first
        if len(manifests) < 2:
            break
        moved.append(_move(manifests[0], quarantine, name))
    if moved:
        sync(versions)
    return moved


def _move(path: Path, folder: Path, name: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return path.rename(folder / f"{name}-{path.name}")
