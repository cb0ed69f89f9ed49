"""Turns the ids of a table into the images below a folder that they name, whatever became of their names."""

import os
import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from geoindex.images import IMAGE_SUFFIXES
from geoindex.sources.source import is_utf8

Fit: TypeAlias = tuple[bool, int, int, bool]
"""How well an image fits an id: as a whole or not, parts alike, parts equal, no folder more; the higher, the better."""


@dataclass(frozen=True, slots=True)
class ImageNames:
    """The images below a folder, to be found by the end of their paths.

    Attributes:
        ends: the parts of each path, the last first and each followed by `/`, in plain spelling, ascending.
        paths: the paths, relative to the folder, in the order of `ends`.
    """

    ends: list[str]
    paths: list[str]

    @classmethod
    def below(cls, root: Path) -> "ImageNames":
        """List the images below a folder, without hidden ones."""
        found = sorted((_end(path.split("/")), path) for path in _images(root))
        return cls([end for end, _ in found], [path for _, path in found])

    def locate(self, ids: Sequence[str | None]) -> tuple[list[str | None], list[bool]]:
        """Return the image of each id, None where there is none, and which ids and images cannot be told apart.

        Of several images that fit an id, that at the same path is meant, or that of the longest equal end of a path;
        of several ids that one image fits, the one that it fits best.
        """
        found = {id: self._fitting(id) for id in dict.fromkeys(ids) if id is not None}
        owners: dict[str, tuple[Fit, str | None]] = {}
        for id, fits in found.items():
            for fit, path in fits:
                best = owners.get(path)
                if best is None or fit >= best[0]:
                    owners[path] = fit, id if best is None or fit > best[0] else None
        images = {
            id: path for id, fits in found.items() for _, path in fits if len(fits) == 1 and owners[path][1] == id
        }
        unclear = {id for id, fits in found.items() if fits} - set(images)
        return [None if id is None else images.get(id) for id in ids], [id in unclear for id in ids]

    def _fitting(self, id: str) -> list[tuple[Fit, str]]:
        """Return the images that fit an id best."""
        parts = id.replace("\\", "/").split("/")
        whole = self._ending([id]) + (self._ending(parts) if len(parts) > 1 else [])
        if whole:
            fits = [(_fit(parts, path), path) for path in whole]
            best = max(fit for fit, _ in fits)
            return [(fit, path) for fit, path in fits if fit == best]
        for first in range(1, len(parts)):
            if some := self._ending(parts[first:], most=2):
                return [((False, len(parts) - first, 0, False), path) for path in some]
        return []

    def _ending(self, parts: list[str], most: int | None = None) -> list[str]:
        """Return the paths that end in these parts, or `most` of them."""
        end = _end(parts)
        first, after = bisect_left(self.ends, end), bisect_left(self.ends, end[:-1] + chr(ord("/") + 1))
        return self.paths[first : after if most is None else min(after, first + most)]


def _fit(parts: list[str], path: str) -> Fit:
    """Return how well an image fits an id of which it has all parts, be they folders or written into its name."""
    names = path.split("/")
    stems = [*names[:-1], names[-1].rpartition(".")[0]]
    return True, len(parts), max(_equal(parts, names), _equal(parts, stems)), len(parts) == len(names)


def _equal(parts: list[str], others: list[str]) -> int:
    """Return how many parts are equal, counted from the last."""
    pairs = zip(reversed(parts), reversed(others), strict=False)
    return next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(parts), len(others)))


def _end(parts: list[str]) -> str:
    return "".join(f"{_plain(part)}/" for part in reversed(parts))


def _plain(name: str) -> str:
    """Return a name without suffix, and with `_` for what tools replace."""
    stem, dot, suffix = name.rpartition(".")
    return re.sub(r"[@/\\]", "_", stem if dot and f".{suffix.lower()}" in IMAGE_SUFFIXES else name)


def _images(root: Path) -> Iterator[str]:
    """Yield the paths, relative to the folder, of the images that text can name."""
    for folder, _, names in os.walk(root):
        for name in names:
            path = Path(folder, name)
            if path.suffix.lower() in IMAGE_SUFFIXES and not name.startswith("."):
                relative = path.relative_to(root).as_posix()
                if is_utf8(relative):
                    yield relative
