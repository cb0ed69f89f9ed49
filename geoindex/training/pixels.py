"""Images -> batches of pixels, read by processes of their own or in threads, and kept on the disk while they fit."""

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from geoindex.encoder.preprocessing import Preprocessing
from geoindex.errors import UnreadableImageError
from geoindex.images import ImageInput, load_image
from geoindex.sources import Source
from geoindex.store.durable import storage_errors, write_durably
from geoindex.store.unfinished import UnfinishedFile

if TYPE_CHECKING:
    from geoindex.training.classes import Rows

THREADS = 8

Bytes = NDArray[np.uint8]
Mapped: TypeAlias = "np.memmap[Any, np.dtype[Any]]"


@dataclass(frozen=True, slots=True)
class Read:
    """What came of a batch of images.

    Attributes:
        rows: of the images that could be read, (B,).
        pixels: theirs, (B, 3, S, S) uint8.
        failures: reason by row of the others.
    """

    rows: "Rows"
    pixels: Tensor
    failures: dict[int, str]

    def pin_memory(self) -> "Read":
        """Move the pixels to memory from which a GPU can fetch them while it computes."""
        return Read(self.rows, self.pixels.pin_memory(), self.failures)


@dataclass(frozen=True)
class PreparedImages(Dataset[Any]):
    """Images of a source, as the encoder wants them; a row that cannot be read gives its reason.

    Attributes:
        source: reads them.
        images: where the source finds each.
        preprocessing: of the encoder.
    """

    source: Source
    images: Sequence[str]
    preprocessing: Preprocessing

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, row: int) -> tuple[int, Bytes | str]:
        name = self.images[row]
        try:
            image = load_image(self.source.read(name), min_side=self.preprocessing.scaled, name=name)
            return row, self.preprocessing.apply(image)
        except UnreadableImageError as error:
            return row, error.reason

    def __getitems__(self, rows: Sequence[int]) -> list[tuple[int, Bytes | str]]:
        """Read a batch; decoders let other threads run."""
        with ThreadPoolExecutor(THREADS) as threads:
            return list(threads.map(self.__getitem__, rows))


class PixelReader:
    """Reads batches in a given order."""

    def __init__(
        self, prepared: PreparedImages, cache: "PixelCache | None" = None, workers: int = 0, pin: bool = False
    ) -> None:
        """Take images, a cache that is filled on the way, and how to read.

        Args:
            prepared: the images.
            cache: None for none.
            workers: processes that read; 0 for threads of this one.
            pin: move batches to memory that a GPU can fetch from.
        """
        self.prepared, self.cache = prepared, cache
        self._order: list[list[int]] = []
        self._loader = DataLoader(
            prepared, batch_sampler=_Following(self), collate_fn=_collate, num_workers=workers, pin_memory=pin,
            multiprocessing_context="spawn" if workers else None,  # never fork after threads
            persistent_workers=workers > 0,
        )  # fmt: skip

    def batches(self, order: Sequence["Rows"]) -> Iterator[Read]:
        """Yield the batches of rows, in order; one iteration at a time."""
        if self.cache is not None and self.cache.complete:
            yield from (self.cache.read(rows) for rows in order)
            return
        self._order = [rows.tolist() for rows in order]
        for read in self._loader:
            if self.cache is not None:
                self.cache.keep(read)
            yield read


class _Following:
    """The order that a reader was last asked for; its loader, with its processes, outlives it."""

    def __init__(self, reader: PixelReader) -> None:
        self._reader = reader

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self._reader._order)

    def __len__(self) -> int:
        return len(self._reader._order)


class PixelCache:
    """Prepared images in one file, so that later epochs neither decode nor draw again.

    Until every image is in it, it has a name that nobody else takes, so that nobody takes half a file for whole.
    """

    def __init__(self, path: Path, count: int, size: int) -> None:
        """Open a complete file, or make one without its contents; half a file is not trusted."""
        self.path, self._done = path, path.with_suffix(".done")
        self._unfinished: UnfinishedFile | None = None
        with storage_errors(path.parent):
            path.parent.mkdir(parents=True, exist_ok=True)
            found = self._done.exists() and path.exists()
            self._pixels = np.lib.format.open_memmap(path, "r") if found else self._begin((count, 3, size, size))
        self._seen = np.full(count, found)
        self._failures: dict[int, str] = read_failures(path) if found else {}

    def _begin(self, shape: tuple[int, ...]) -> Mapped:
        """Make a file without its contents."""
        self._forget()
        self._unfinished = UnfinishedFile(self.path)
        pixels = np.lib.format.open_memmap(self._unfinished.path, "w+", np.uint8, shape)
        self._unfinished.take_room()
        return pixels

    def _forget(self) -> None:
        """Remove what others would take for complete, first what says so."""
        self._done.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)

    @property
    def complete(self) -> bool:
        """Tell whether every image is in it."""
        return bool(self._seen.all())

    def keep(self, read: Read) -> None:
        """Store a batch, and why images could not be read."""
        if self.complete:
            return
        self._pixels[read.rows] = read.pixels.numpy()
        self._seen[read.rows] = True
        self._seen[list(read.failures)] = True
        self._failures |= read.failures
        if self.complete:
            self._finish()

    def _finish(self) -> None:
        """Write all of it to the disk, and say so."""
        with storage_errors(self.path):
            self._pixels.flush()
            if self._unfinished is not None:
                self._forget()
                self._unfinished.finish()
                self._unfinished = None
            write_durably(self._done, json.dumps(self._failures).encode())

    def read(self, rows: "Rows") -> Read:
        """Return a batch, without the images that could not be read when it was filled."""
        failures = {row: self._failures[row] for row in rows.tolist() if row in self._failures}
        if failures:
            rows = rows[~np.isin(rows, list(failures))]
        return Read(rows, torch.from_numpy(self._pixels[rows]), failures)


def read_failures(path: Path) -> dict[int, str]:
    """Return why images of a complete file could not be read, by row."""
    return {int(row): reason for row, reason in json.loads(path.with_suffix(".done").read_text() or "{}").items()}


class KeptImages:
    """A source whose images were read before, and are handed out as they were prepared."""

    def __init__(self, source: Source, images: Sequence[str], path: Path) -> None:
        self.uri, self.scan, self.file_of, self._read = source.uri, source.scan, source.file_of, source.read
        self._made_of = source, images, path
        self._row = {image: row for row, image in enumerate(images)}
        self._pixels: Bytes = np.load(path, mmap_mode="r")
        self._failures = read_failures(path)

    def __reduce__(self) -> tuple[Any, ...]:
        return _kept_or_read, self._made_of  # the file is large, and a copy of it no map

    def prepared(self, image: str) -> Bytes | None:
        """Return the pixels of an image, (3, S, S); None if it could not be read then."""
        row = self._row[image]
        pixels: Bytes = self._pixels[row]
        return None if row in self._failures else pixels

    def read(self, image: str) -> ImageInput:
        """Read an image anew."""
        return self._read(image)


def _kept_or_read(source: Source, images: Sequence[str], path: Path) -> Source:
    """Return the kept images in another process, or the source on a computer that does not see their file."""
    return KeptImages(source, images, path) if path.with_suffix(".done").exists() else source


def _collate(items: list[tuple[int, Bytes | str]]) -> Read:
    good = [(row, pixels) for row, pixels in items if not isinstance(pixels, str)]
    failures = {row: reason for row, reason in items if isinstance(reason, str)}
    rows = np.array([row for row, _ in good], np.int64)
    pixels = np.stack([pixels for _, pixels in good]) if good else np.zeros((0, 3, 1, 1), np.uint8)
    return Read(rows, torch.from_numpy(pixels), failures)
