"""Versions of a Lance table as its files tell them: their numbers, whether they are whole."""

import errno
import os
from collections.abc import Iterable
from pathlib import Path

MAGIC = {".lance": b"LANC", ".manifest": b"LANC", ".arrow": b"ARROW1"}
"""Last bytes of a finished file, by the ending of its name."""

LAST = 2**64 - 1
"""Lance counts the names of its manifests down from here, so that the newest comes first in a listing."""


def version_of(manifest: Path) -> int:
    """Return the version that a manifest is of."""
    number = int(manifest.stem)
    return LAST - number if number > LAST // 2 else number


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
