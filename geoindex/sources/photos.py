"""Turns a folder of photos with GPS in their EXIF into samples."""

import os
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from geoindex.errors import DatasetNotFoundError, EmptyDatasetError
from geoindex.images import IMAGE_SUFFIXES, ImageInput
from geoindex.progress import Progress
from geoindex.sources.exif import NO_GPS, NoPositionError, PhotoFacts, read_facts
from geoindex.sources.source import LeftOut, Scan, existing_image
from geoindex.sources.tabular import SUFFIXES as TABLE_SUFFIXES
from geoindex.types import Sample, Samples

NOT_AN_IMAGE = "not an image"
CLOSED = "folder cannot be read"
DEAD_END = "link cannot be followed"
BAD_NAME = "file name is not UTF-8"

_THREADS = 8
_CHUNK = 64


@dataclass(frozen=True)
class PhotosSource:
    """Photos in a folder and its sub-folders, placed by their EXIF; ids are paths relative to the folder.

    Hidden files and folders are not looked at; links are followed, each folder once.

    Attributes:
        root: the folder.
    """

    root: Path

    @property
    def uri(self) -> str:
        """The URI that opens this source again."""
        return f"photos:{self.root.absolute()}"

    def scan(self) -> Scan:
        """List the photos with a usable position, sorted by path.

        Raises:
            DatasetNotFoundError: if there is no such folder.
            EmptyDatasetError: if no photo has a position.
        """
        left_out = LeftOut()
        names = self._image_names(left_out)
        samples = []
        for name, facts in zip(names, _read_all([self.root / name for name in names]), strict=True):
            if isinstance(facts, str):
                left_out.add(facts, name, broken=facts != NO_GPS)
            else:
                samples.append(_sample(name, facts))
        if not samples:
            raise EmptyDatasetError(self._why_empty(len(names), left_out))
        return Scan(Samples.from_samples(samples), left_out)

    def read(self, image: str) -> ImageInput:
        """Return the path of a photo.

        Raises:
            UnreadableImageError: if there is no such file.
        """
        return existing_image(self.file_of(image))

    def file_of(self, image: str) -> Path:
        """Return the path of a photo, whether it exists or not."""
        return self.root.absolute() / image

    def _image_names(self, left_out: LeftOut) -> list[str]:
        if not self.root.is_dir():
            raise DatasetNotFoundError(f"There is no folder '{self.root}'; check the path.")
        names = []
        for path in _walk(self.root, left_out):
            name = path.relative_to(self.root).as_posix()
            if path.name.startswith(".") or path.suffix.lower() not in IMAGE_SUFFIXES:
                left_out.add(NOT_AN_IMAGE, _printable(name), broken=False)
            elif name != _printable(name):
                left_out.add(BAD_NAME, _printable(name))
            else:
                names.append(name)
        return sorted(names)

    def _why_empty(self, images: int, left_out: LeftOut) -> str:
        if images == 0 and left_out.counts.get(CLOSED):
            return f"Folder '{self.root}' holds no image that can be read ({left_out.summary()}); allow reading it."
        if images == 0:
            return f"Folder '{self.root}' holds no image; give a folder with photos or a table of positions."
        tables = sorted(p.name for p in self.root.iterdir() if p.suffix.lower() in TABLE_SUFFIXES)
        cure = f"open '{self.root / tables[0]}' instead" if tables else "give a table with their coordinates"
        return f"None of the {images} images in '{self.root}' has a usable GPS position ({left_out.summary()}); {cure}."


def _walk(root: Path, left_out: LeftOut) -> Iterator[Path]:
    """Yield the files below a folder, and hidden folders unopened; a folder reached twice is entered once."""
    entered: set[str] = set()
    waiting = [root]
    while waiting:
        folder = waiting.pop()
        real = os.path.realpath(folder)
        if real in entered:
            continue
        entered.add(real)
        for path, kind in _entries(folder, root, left_out):
            if kind == "file":
                yield path
            else:
                # links wait until the end, so that a photo's id is its real path
                waiting.insert(0 if kind == "link" else len(waiting), path)


def _entries(folder: Path, root: Path, left_out: LeftOut) -> list[tuple[Path, str]]:
    """Return what is in a folder by name, each a file, a folder or a link to one; count what cannot be opened."""
    try:
        with os.scandir(folder) as entries:
            listed = sorted(entries, key=lambda entry: entry.name)
    except OSError:
        left_out.add(CLOSED, _printable(folder.relative_to(root).as_posix()))
        return []
    found = []
    for entry in listed:
        try:
            found.append((folder / entry.name, _kind(entry)))
        except OSError:
            left_out.add(DEAD_END, _printable((folder / entry.name).relative_to(root).as_posix()))
    return found


def _kind(entry: os.DirEntry[str]) -> str:
    if entry.name.startswith(".") or not entry.is_dir():
        return "file"
    return "link" if entry.is_symlink() else "folder"


def _read_all(paths: Sequence[Path]) -> Iterator[PhotoFacts | str]:
    """Yield facts, or the reason why there are none, in order."""
    chunks = [paths[start : start + _CHUNK] for start in range(0, len(paths), _CHUNK)]
    # the filter is global, so it is set around the threads and not in them
    with (
        warnings.catch_warnings(),
        ThreadPoolExecutor(_THREADS) as pool,
        Progress("reading GPS", len(paths), "photo") as bar,
    ):
        warnings.simplefilter("ignore")
        for facts in pool.map(_read_chunk, chunks):
            bar.advance(len(facts))
            yield from facts


def _read_chunk(paths: Sequence[Path]) -> list[PhotoFacts | str]:
    return [_facts_or_reason(path) for path in paths]


def _facts_or_reason(path: Path) -> PhotoFacts | str:
    try:
        return read_facts(path)
    except NoPositionError as reason:
        return str(reason)


def _printable(name: str) -> str:
    return name.encode("utf-8", "replace").decode("utf-8")


def _sample(name: str, facts: PhotoFacts) -> Sample:
    known = {"author": facts.author, "captured_at": facts.captured_at}
    labels = {label: value for label, value in known.items() if value is not None}
    return Sample(name, facts.lat, facts.lon, name, facts.heading_deg, labels)
