"""Versions of a Lance table as its files tell them: their numbers, whether they are whole, which can go."""

import errno
import os
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path

MAGIC = {".lance": b"LANC", ".manifest": b"LANC", ".arrow": b"ARROW1"}
"""Last bytes of a finished file, by the ending of its name."""

LAST = 2**64 - 1
"""Lance counts the names of its manifests down from here, so that the newest comes first in a listing."""


def version_of(manifest: Path) -> int:
    """Return the version that a manifest is of."""
    number = int(manifest.stem)
    return LAST - number if number > LAST // 2 else number


def removable(times: dict[int, datetime], oldest: int, now: datetime) -> tuple[list[int], timedelta]:
    """Return the versions before `oldest` that Lance, which only goes by age, can remove alone, and the age to name.

    Where a clock went back, an older version has a later time; it stays.
    """
    first = min([now, *(time for version, time in times.items() if version >= oldest)])
    before = {version: time for version, time in times.items() if version < oldest and time < first}
    if not before or oldest not in times:
        return [], timedelta(0)
    last = max(before.values())
    return sorted(before), now - (last + (first - last) / 2)


def require_whole(files: Iterable[Path]) -> None:
    """Refuse files without their end: Lance says nothing of a disk that fills up in the last bytes of one.

    Raises:
        OSError: of a full disk.
    """
    for path in files:
        magic = MAGIC.get(path.suffix, b"")
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - len(magic)))
            if magic and file.read() != magic:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
