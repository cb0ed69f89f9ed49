"""CURRENT: the file that names the live generation, and the sha256 of its manifest."""

import json
import os
from contextlib import suppress
from pathlib import Path

from geoindex.errors import IndexDamagedError, StoreError
from geoindex.store.durable import reading_errors, sync
from geoindex.store.manifest import digest

POINTER_NAME = "CURRENT"


def pointer_to(name: str, manifest: bytes) -> dict[str, str]:
    """Return what names a generation by the text of its manifest."""
    return {"generation": name, "sha256": digest(manifest)}


def read_pointer(path: Path) -> dict[str, str]:
    """Return what `pointer_to` gave when the file was written.

    Raises:
        FileNotFoundError: if there is none.
        NotADirectoryError: if its folder is a file.
        IndexDamagedError: if it is not what was written.
        StorageError: if it may not be read.
    """
    try:
        with reading_errors(path):
            return parse_pointer(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        raise
    except (OSError, ValueError) as error:
        raise IndexDamagedError(f"'{path}' does not name a generation; run 'geoindex repair {path.parent}'.") from error


def note_leaving(root: Path) -> None:
    """Let the time of the live generation's folder tell until when it was live; readers may have it open from now on.

    Raises:
        OSError: if the disk refuses.
    """
    with suppress(StoreError, FileNotFoundError):  # none is live yet, or none that can be told
        folder = root / "generations" / read_pointer(root / POINTER_NAME)["generation"]
        os.utime(folder)
        sync(folder)


def parse_pointer(data: bytes) -> dict[str, str]:
    """Return what `pointer_to` gave when a text was written.

    Raises:
        ValueError: if it is not what was written.
    """
    try:
        values = json.loads(data)
        name, sha256 = values["generation"], values["sha256"]
    except (KeyError, TypeError, RecursionError) as error:
        raise ValueError("no pointer") from error
    if not (isinstance(name, str) and name.isdecimal() and isinstance(sha256, str) and sha256.isalnum()):
        raise ValueError("no name of a generation")
    return {"generation": name, "sha256": sha256}
