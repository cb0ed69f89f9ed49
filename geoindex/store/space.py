"""Room on a disk: how much is free, and a refusal before work that would not fit."""

import shutil
from pathlib import Path

from geoindex.errors import StorageError


def free_bytes(path: Path) -> int:
    """Return what is free on the disk that `path`, which need not be there yet, lies or would lie on."""
    there = next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.exists())
    return shutil.disk_usage(there).free


def require_space(path: Path, needed: int, cure: str = "free some space, or name a folder on another disk") -> None:
    """Refuse work that the disk has no room for.

    Args:
        path: what is to be written.
        needed: bytes that it takes, at the most.
        cure: what to do about it.

    Raises:
        StorageError: if less is free.
    """
    free = free_bytes(path)
    if free < needed:
        raise StorageError(
            f"The disk of '{path}' has {size_text(free)} free, and {size_text(needed)} are needed; {cure}."
        )


MAKE_ROOM = "free some space, such as that of old generations with 'geoindex gc'"
"""Cure where an index is there already."""


def size_text(count: int) -> str:
    """Return a number of bytes for people, as 1.2 GB."""
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 999.5:
            return f"{size:.0f} {unit}" if unit == "B" or size >= 100 else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:,.1f} TB"
