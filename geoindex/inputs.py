"""What a person names on the command line -> images to locate."""

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from glob import glob, has_magic
from pathlib import Path

from geoindex.errors import UnreadableImageError
from geoindex.images import IMAGE_SUFFIXES
from geoindex.plain import plain_name

STDIN = ("-", "stdin:")
"""What stands for a photo on stdin; the second where a dash cannot be told from a flag."""


@dataclass(frozen=True, slots=True)
class Input:
    """An image to locate, or why a name stands for none.

    Attributes:
        name: as results call it.
        image: its path, or its encoded bytes; or the error.
    """

    name: str
    image: Path | bytes | UnreadableImageError


def expand_inputs(names: Sequence[str]) -> list[Input]:
    """Return the images that paths, folders, patterns and - (stdin) stand for, in that order.

    Hidden files and folders inside a folder are left out. In the place of what stands for no image is an error.
    """
    return [item for name in names for item in _expand(name)]


def _expand(name: str) -> list[Input]:
    path = Path(name)
    if name in STDIN:
        return [Input("stdin", sys.stdin.buffer.read())]
    if _tells(path.is_dir):
        return _inside(path)
    if has_magic(name) and not _tells(path.exists):
        paths = sorted(p for p in map(Path, glob(name, recursive=True)) if _tells(p.is_file))  # noqa: PTH207
        return _photos(paths) or [_none(name, "no file fits this pattern")]
    return [Input(plain_name(name), path)]


def _inside(folder: Path) -> list[Input]:
    """Return the images of a folder, and an error for each folder in it that cannot be read."""
    closed: list[Input] = []

    def note(error: OSError) -> None:
        reason = "permission to read this folder was denied"
        reason = reason if isinstance(error, PermissionError) else f"this folder cannot be read ({error.strerror})"
        closed.append(_none(os.fsdecode(error.filename or folder), reason))

    found: list[Path] = []
    for place, folders, files in os.walk(folder, onerror=note):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(place, name) for name in files if _is_photo(name) and _tells(Path(place, name).is_file)]
    empty = _none(str(folder), f"this folder holds no photo ({', '.join(sorted(IMAGE_SUFFIXES))})")
    return [*_photos(sorted(found)), *closed] or [empty]


def _is_photo(name: str) -> bool:
    return Path(name).suffix.lower() in IMAGE_SUFFIXES and not name.startswith(".")


def _tells(question: Callable[[], bool]) -> bool:
    """Return the answer of the system to a question about a path; no, where it refuses one."""
    try:
        return question()
    except (OSError, ValueError):
        return False


def _none(name: str, reason: str) -> Input:
    return Input(plain_name(name), UnreadableImageError(plain_name(name), reason))


def _photos(paths: Iterable[Path]) -> list[Input]:
    return [Input(plain_name(str(path)), path) for path in paths]
