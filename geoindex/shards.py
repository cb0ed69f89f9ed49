"""Features of a fixed run of samples on the disk: a shard, and what tells whether it still holds.

A shard is one .npz file. Beside the features it has a stamp of each image's file, so that a later run embeds again
only what changed.
"""

import contextvars
import io
import json
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from geoindex.store.buckets import Place
from geoindex.store.durable import write_durably

MISSING = "missing"
"""Stamp of an image whose file is gone."""


@dataclass(frozen=True, slots=True)
class Shard:
    """Features of a run of samples.

    Attributes:
        rows: rows of the samples that have features, (n,).
        features: their features, (n, D) float16.
        content: hash of the file of each, (n,) text; empty where there is no file.
        failures: reason by row of the samples that could not be read.
    """

    rows: NDArray[np.int64]
    features: NDArray[np.float16]
    content: NDArray[np.str_]
    failures: dict[int, str]

    @classmethod
    def empty(cls, dim: int = 0) -> "Shard":
        """Return a shard without samples."""
        return cls(np.zeros(0, np.int64), np.zeros((0, dim), np.float16), np.zeros(0, np.str_), {})

    @classmethod
    def load(cls, path: Path) -> tuple["Shard", dict[str, str]]:
        """Return a stored shard, and the stamp of each of its images by row."""
        with path.open("rb") as file, np.load(file) as stored:
            facts = json.loads(stored["facts"].tobytes())
            failures = {int(row): reason for row, reason in facts["failures"].items()}
            return cls(stored["rows"], stored["features"], stored["content"], failures), facts["stamps"]

    @classmethod
    def unchanged(cls, path: Path, stamps: dict[int, str]) -> "Shard":
        """Return what an earlier run stored of the images that are as they were, or are gone."""
        try:
            stored, seen = cls.load(path)
        except (OSError, ValueError, KeyError, BadZipFile):
            return cls.empty()
        return stored.take(
            np.array([stamps[row] in (seen.get(str(row)), MISSING) for row in stored.rows.tolist()], bool)
        )

    def save(self, path: Path, stamps: dict[int, str]) -> None:
        """Write it durably."""
        buffer = io.BytesIO()
        facts = {"failures": self.failures, "stamps": stamps}
        text = np.frombuffer(json.dumps(facts).encode(), np.uint8)
        np.savez(buffer, rows=self.rows, features=self.features, content=self.content, facts=text)
        write_durably(path, buffer.getvalue())

    def take(self, chosen: NDArray[np.bool_]) -> "Shard":
        """Return some of its samples, none of which failed."""
        return Shard(self.rows[chosen], self.features[chosen], self.content[chosen], {})

    def without_features(self) -> "Shard":
        """Return it with its features left in the file."""
        return replace(self, features=self.features[:0].copy())  # a view would keep all of them

    def joined(self, more: "Shard") -> "Shard":
        """Put what an earlier run stored and what came now into the order of rows."""
        if len(self.rows) == 0:
            return more
        order = np.argsort(np.concatenate([self.rows, more.rows]))
        rows, features, content = (
            np.concatenate([getattr(self, name), getattr(more, name)])[order]
            for name in ("rows", "features", "content")
        )
        return Shard(rows, features, content, more.failures)


def stamp_of(file: Place | None) -> str:
    """Return what changes when a file does."""
    if file is None:
        return ""
    try:
        facts = file.stat()
    except OSError:
        return MISSING
    return f"{facts.st_size} {facts.st_mtime_ns}"


class ShardWriter:
    """Writes one shard while the next is made; a context manager that ends when all are on the disk."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1)
        self._pending: Future[None] | None = None

    def save(self, shard: Shard, path: Path, stamps: dict[int, str]) -> None:
        """Begin to write a shard, once the one before is written.

        Raises:
            OSError: if the one before could not be written.
        """
        self._wait()
        # whether to wait for the disk is said by the context
        self._pending = self._thread.submit(contextvars.copy_context().run, shard.save, path, stamps)

    def _wait(self) -> None:
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    def __enter__(self) -> "ShardWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, *exc: object) -> None:
        self._thread.shutdown()
        if kind is None:
            self._wait()
