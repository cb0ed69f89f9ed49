"""Images -> batches of pixels, read by processes of their own or in threads, and kept on the disk while they fit."""

import json
import logging
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
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
from geoindex.shards import MISSING, stamp_of
from geoindex.sources import Source
from geoindex.store.durable import storage_errors, write_durably
from geoindex.store.unfinished import UnfinishedFile

if TYPE_CHECKING:
    from geoindex.training.classes import Rows

log = logging.getLogger(__name__)

THREADS, ROWS_AT_ONCE = 8, 256

Bytes = NDArray[np.uint8]
Mapped: TypeAlias = "np.memmap[Any, np.dtype[Any]]"


def _leave_group(worker: int) -> None:
    """Leave the process group: a stop of all of it is for the first process, which ends its workers in order."""
    if hasattr(os, "setsid"):
        os.setsid()


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
            persistent_workers=workers > 0, worker_init_fn=_leave_group,
        )  # fmt: skip

    def batches(self, order: Sequence["Rows"]) -> Iterator[Read]:
        """Yield the batches of rows, in order; one iteration at a time."""
        self._read_changed()
        if self.cache is not None and self.cache.complete:
            yield from (self.cache.read(rows) for rows in order)
        else:
            yield from self._read(order)

    def _read_changed(self) -> None:
        """Read anew what has changed since a complete cache was filled."""
        if self.cache is None or len(rows := self.cache.changed) == 0:
            return
        log.info("%d images have changed since they were prepared, and are read again", len(rows))
        for _ in self._read([rows[first : first + ROWS_AT_ONCE] for first in range(0, len(rows), ROWS_AT_ONCE)]):
            pass  # what is read is kept

    def _read(self, order: Sequence["Rows"]) -> Iterator[Read]:
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


@dataclass(frozen=True, slots=True)
class Contents:
    """What a complete file of prepared images holds, beside their pixels.

    Attributes:
        failures: reason by row of the images that could not be read.
        stamps: of the file of each image, from before it was read.
    """

    failures: dict[int, str]
    stamps: list[str]

    @classmethod
    def of(cls, path: Path) -> "Contents | None":
        """Return what a file holds; None if it is not complete."""
        try:
            facts = json.loads(done_file(path).read_text("utf-8"))
            failures = {int(row): reason for row, reason in facts["failures"].items()}
            return cls(failures, facts["stamps"]) if path.exists() else None
        except (OSError, ValueError, KeyError):
            return None

    def save(self, path: Path) -> None:
        """Say that a file is complete."""
        write_durably(done_file(path), json.dumps({"failures": self.failures, "stamps": self.stamps}).encode())

    def still(self, row: int, stamp: str) -> bool:
        """Tell whether an image is as it was, or gone, by the stamp that its file has now."""
        return stamp in (self.stamps[row], MISSING)

    def changed(self, stamps: Sequence[str]) -> list[int]:
        """Return the rows whose images are other ones by now; what could not be read is left at that."""
        return [row for row, stamp in enumerate(stamps) if row not in self.failures and not self.still(row, stamp)]

    def seen_with(self, stamps: Sequence[str]) -> "Contents":
        """Return it with the stamps of now; an image that is gone keeps its own."""
        now = [before if stamp == MISSING else stamp for before, stamp in zip(self.stamps, stamps, strict=True)]
        return replace(self, stamps=now)


def done_file(path: Path) -> Path:
    """Return where it is said that a file of prepared images is complete."""
    return path.with_suffix(".done")


class PixelCache:
    """Prepared images in one file, so that later epochs neither decode nor draw again.

    Until every image is in it, it has a name that nobody else takes, so that nobody takes half a file for whole.
    """

    def __init__(self, path: Path, count: int, size: int, stamps: Sequence[str] | None = None) -> None:
        """Open a complete file, or make one without its contents; half a file is not trusted.

        Args:
            path: of the file.
            count: images.
            size: side of each.
            stamps: of the file of each image now; None: those of a complete file are not looked at.
        """
        self.path, found = path, Contents.of(path)
        changed = found.changed(stamps) if found and stamps is not None else []
        self._unfinished: UnfinishedFile | None = None
        with storage_errors(path.parent):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._pixels = (
                np.lib.format.open_memmap(path, "r+" if changed else "r")
                if found
                else self._begin((count, 3, size, size))
            )
        before = found or Contents({}, [""] * count)
        self._contents = before if stamps is None else before.seen_with(stamps)
        self._seen = np.full(count, found is not None)
        self._seen[changed] = False

    def _begin(self, shape: tuple[int, ...]) -> Mapped:
        """Make a file without its contents."""
        self._forget()
        self._unfinished = UnfinishedFile(self.path)
        pixels = np.lib.format.open_memmap(self._unfinished.path, "w+", np.uint8, shape)
        self._unfinished.take_room()
        return pixels

    def _forget(self) -> None:
        """Remove what others would take for complete, first what says so."""
        done_file(self.path).unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)

    @property
    def complete(self) -> bool:
        """Tell whether every image is in it."""
        return bool(self._seen.all())

    @property
    def changed(self) -> "Rows":
        """Rows of a complete file whose images are other ones by now."""
        return np.flatnonzero(~self._seen) if self._unfinished is None else np.zeros(0, np.int64)

    def keep(self, read: Read) -> None:
        """Store a batch, and why images could not be read."""
        if self.complete:
            return
        self._pixels[read.rows] = read.pixels.numpy()
        self._seen[read.rows] = True
        self._seen[list(read.failures)] = True
        self._contents.failures.update(read.failures)
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
            self._contents.save(self.path)

    def read(self, rows: "Rows") -> Read:
        """Return a batch, without the images that could not be read when it was filled."""
        known = self._contents.failures
        failures = {row: known[row] for row in rows.tolist() if row in known}
        if failures:
            rows = rows[~np.isin(rows, list(failures))]
        return Read(rows, torch.from_numpy(self._pixels[rows]), failures)


class KeptImages:
    """A source whose images were read before, and are handed out as they were prepared."""

    def __init__(self, source: Source, images: Sequence[str], path: Path, contents: Contents) -> None:
        self.uri, self.scan, self.file_of, self._read = source.uri, source.scan, source.file_of, source.read
        self._made_of = source, images, path
        self._row = {image: row for row, image in enumerate(images)}
        self._pixels: Bytes = np.load(path, mmap_mode="r")
        self._contents = contents

    def __reduce__(self) -> tuple[Any, ...]:
        return kept_images, self._made_of  # the file is large, and a copy of it no map

    def prepared(self, image: str) -> Bytes | None:
        """Return the pixels of an image, (3, S, S); None if it could not be read then, or is another one by now."""
        row = self._row[image]
        if row in self._contents.failures or not self._contents.still(row, stamp_of(self.file_of(image))):
            return None
        pixels: Bytes = self._pixels[row]
        return pixels

    def read(self, image: str) -> ImageInput:
        """Read an image anew."""
        return self._read(image)


def kept_images(source: Source, images: Sequence[str], path: Path) -> Source:
    """Return a source with the images that a complete file holds, or as it is, such as where nobody sees the file."""
    contents = Contents.of(path)
    return source if contents is None else KeptImages(source, images, path, contents)


def _collate(items: list[tuple[int, Bytes | str]]) -> Read:
    good = [(row, pixels) for row, pixels in items if not isinstance(pixels, str)]
    failures = {row: reason for row, reason in items if isinstance(reason, str)}
    rows = np.array([row for row, _ in good], np.int64)
    pixels = np.stack([pixels for _, pixels in good]) if good else np.zeros((0, 3, 1, 1), np.uint8)
    return Read(rows, torch.from_numpy(pixels), failures)
