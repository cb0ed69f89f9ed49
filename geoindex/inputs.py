"""What a person names on the command line -> images to locate."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from glob import glob, has_magic
from pathlib import Path

from geoindex.errors import DatasetNotFoundError
from geoindex.images import IMAGE_SUFFIXES
from geoindex.plain import plain_name

STDIN = ("-", "stdin:")
"""What stands for a photo on stdin; the second where a dash cannot be told from a flag."""


@dataclass(frozen=True, slots=True)
class Input:
    """An image to locate.

    Attributes:
        name: as results call it.
        image: its path, or its encoded bytes.
    """

    name: str
    image: Path | bytes


def expand_inputs(names: Sequence[str]) -> list[Input]:
    """Return the images that paths, folders, patterns and - (stdin) stand for, in that order.

    Hidden files and folders inside a folder are left out.

    Raises:
        DatasetNotFoundError: if a folder holds no image or a pattern fits none.
    """
    return [item for name in names for item in _expand(name)]


def _expand(name: str) -> list[Input]:
    path = Path(name)
    if name in STDIN:
        return [Input("stdin", sys.stdin.buffer.read())]
    if path.is_dir():
        return _paths(name, [p for p in path.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES and _is_shown(p, path)])
    if has_magic(name) and not path.exists():
        return _paths(name, [p for p in map(Path, glob(name, recursive=True)) if p.is_file()])  # noqa: PTH207
    return [Input(plain_name(name), path)]


def _is_shown(file: Path, folder: Path) -> bool:
    """Tell whether it is a file, and neither it nor a folder on the way to it is hidden."""
    return file.is_file() and not any(part.startswith(".") for part in file.relative_to(folder).parts)


def _paths(name: str, paths: list[Path]) -> list[Input]:
    if not paths:
        raise DatasetNotFoundError(f"No image in '{name}'; give photos ({', '.join(sorted(IMAGE_SUFFIXES))}).")
    return [Input(plain_name(str(path)), path) for path in sorted(paths)]
