"""Images -> features in bulk, shard by shard, so that a stopped run goes on where it was.

A shard is a fixed run of samples. Its features are written durably as soon as they are complete; a later run
with the same encoder and the same samples reads them back, never embeds an image twice, and tries again those
that could not be read.
"""

import hashlib
import io
import json
import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from geoindex.errors import EmptyDatasetError, EncoderError, UnreadableImageError
from geoindex.progress import Progress
from geoindex.sources import Source
from geoindex.sources.source import EmbeddedSource, LeftOut, PreparedSource
from geoindex.store.durable import storage_errors, write_durably
from geoindex.types import Samples

if TYPE_CHECKING:
    from geoindex.encoder import Encoder

SHARD_SAMPLES = 1024
BATCHES_AHEAD = 3
"""Batches that are decoded while one is encoded; bounds the memory of waiting images."""

TOO_LARGE = "its features are too large for float16"
MISSING = "missing"
"""Stamp of an image whose file is gone."""

Pixels = NDArray[np.uint8]


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


@dataclass(frozen=True, slots=True)
class Embedded:
    """Where the features of a set of samples lie.

    Attributes:
        folder: one file a shard.
        rows: rows of the samples that have features, in order.
        content: hash of the file of each, (n,) text; empty where there is no file.
        left_out: the others, by reason.
    """

    folder: Path
    rows: NDArray[np.int64]
    content: NDArray[np.str_]
    left_out: LeftOut

    def features(self) -> Iterator[NDArray[np.float16]]:
        """Yield the features shard by shard, in the order of `rows`."""
        return (_load_shard(path)[0].features for path in self._shards())

    def stamps(self) -> list[str]:
        """Return what changes when the features do."""
        return [_stamp(path) for path in self._shards()]

    def _shards(self) -> list[Path]:
        return sorted(self.folder.glob("shard-*.npz"))


def embed_samples(source: Source, samples: Samples, encoder: "Encoder | None", work: Path) -> Embedded:
    """Embed every sample, or go on with a run that was stopped.

    Args:
        source: reads the images; an `EmbeddedSource` hands out features itself.
        samples: what to embed.
        encoder: None for an `EmbeddedSource`.
        work: folder for the shards.

    Raises:
        EmptyDatasetError: if no image at all could be read.
        StorageError: if the disk refuses.
    """
    fingerprint = encoder.fingerprint if encoder else getattr(source, "fingerprint", "")
    folder = work / f"features-{_key(samples, source.uri, fingerprint)}"
    shards: list[Shard] = []
    failures: dict[int, str] = {}
    with storage_errors(work):
        folder.mkdir(parents=True, exist_ok=True)
        with Progress("embedding images", len(samples), "image") as bar:
            for start in range(0, len(samples), SHARD_SAMPLES):
                wanted = np.arange(start, min(start + SHARD_SAMPLES, len(samples)))
                path = folder / f"shard-{start // SHARD_SAMPLES:06d}.npz"
                shard = _finish_shard(path, wanted, source, samples, encoder, bar)
                shards.append(replace(shard, features=shard.features[:0]))  # they are in the file
                failures |= shard.failures
    rows = _some(np.concatenate([shard.rows for shard in shards]), failures, samples)
    return Embedded(folder, rows, np.concatenate([shard.content for shard in shards]), _left_out(failures, samples))


def _key(samples: Samples, uri: str, fingerprint: str) -> str:
    state = hashlib.blake2b(f"{fingerprint}\n{uri}\n".encode(), digest_size=12)
    for image in samples.images:
        state.update(image.encode() + b"\n")
    return state.hexdigest()


def _finish_shard(
    path: Path, rows: NDArray[np.int64], source: Source, samples: Samples, encoder: "Encoder | None", bar: Progress
) -> Shard:
    images = samples.take(rows).images
    stamps = {int(row): _stamp(source.file_of(image)) for row, image in zip(rows, images, strict=True)}
    done = _unchanged(path, stamps)
    bar.advance(len(done.rows))
    # what could not be read may have been mended since, so failures are tried again
    todo = np.setdiff1d(rows, done.rows)
    if len(todo) == 0:
        return done
    shard = _merge(done, _embed(todo, samples.take(todo), source, encoder, bar))
    _save_shard(path, shard, stamps)
    return shard


def _stamp(file: Path | None) -> str:
    """Return what changes when a file does."""
    if file is None:
        return ""
    try:
        facts = file.stat()
    except OSError:
        return MISSING
    return f"{facts.st_size} {facts.st_mtime_ns}"


def _unchanged(path: Path, stamps: dict[int, str]) -> Shard:
    """Return what an earlier run stored of the images that are as they were, or are gone."""
    try:
        stored, seen = _load_shard(path)
    except (OSError, ValueError, KeyError, BadZipFile):
        return Shard.empty()
    same = np.array([stamps[row] in (seen.get(str(row)), MISSING) for row in stored.rows.tolist()], bool)
    return Shard(stored.rows[same], stored.features[same], stored.content[same], {})


def _merge(done: Shard, more: Shard) -> Shard:
    """Put what an earlier run stored and what came now into the order of rows."""
    if len(done.rows) == 0:
        return more
    order = np.argsort(np.concatenate([done.rows, more.rows]))
    rows, features, content = (
        np.concatenate([getattr(done, name), getattr(more, name)])[order] for name in ("rows", "features", "content")
    )
    return Shard(rows, features, content, more.failures)


def _embed(rows: NDArray[np.int64], part: Samples, source: Source, encoder: "Encoder | None", bar: Progress) -> Shard:
    if encoder is not None:
        return _embed_shard(rows, part, source, encoder, bar)
    assert isinstance(source, EmbeddedSource)
    features = source.features(part).astype(np.float16)
    bar.advance(len(rows))
    return Shard(rows, features, np.full(len(rows), "", np.str_), {})


@dataclass(frozen=True, slots=True)
class Prepared:
    """An image as an encoder wants it.

    Attributes:
        pixels: (3, S, S).
        content: hash of its file; empty where there is none.
    """

    pixels: Pixels
    content: str


def _embed_shard(rows: NDArray[np.int64], part: Samples, source: Source, encoder: "Encoder", bar: Progress) -> Shard:
    kept: list[tuple[int, str]] = []
    features: list[NDArray[np.float16]] = []
    failures: dict[int, str] = {}
    items = list(zip(rows.tolist(), part.images, strict=True))
    batches = [items[i : i + encoder.batch_size] for i in range(0, len(items), encoder.batch_size)]
    for batch, prepared in zip(batches, _prepare_ahead(batches, source, encoder), strict=True):
        encoded = iter(_encode([p.pixels for p in prepared if isinstance(p, Prepared)], encoder))
        for (row, _), result in zip(batch, prepared, strict=True):
            found = result if isinstance(result, str) else next(encoded)
            if isinstance(found, str) or isinstance(result, str):
                failures[row] = str(found)
            else:
                kept.append((row, result.content))
                features.append(found)
        bar.advance(len(batch))
    if not kept:
        return replace(Shard.empty(encoder.dim), failures=failures)
    numbers, content = zip(*kept, strict=True)
    return Shard(np.array(numbers, np.int64), np.stack(features), np.array(content, np.str_), failures)


def _encode(pixels: list[Pixels], encoder: "Encoder") -> list[NDArray[np.float16] | str]:
    """Return the features of each image, or why it has none; one that fails costs its batch nothing but time."""
    if not pixels:
        return []
    try:
        features = encoder.features(np.stack(pixels))
    except EncoderError as error:
        if len(pixels) == 1:
            return [str(error).rstrip(".")]
        return [found for image in pixels for found in _encode([image], encoder)]
    fits = np.abs(features).max(axis=1) <= np.finfo(np.float16).max
    return [f.astype(np.float16) if ok else TOO_LARGE for f, ok in zip(features, fits, strict=True)]


def _prepare_ahead(
    batches: list[list[tuple[int, str]]], source: Source, encoder: "Encoder"
) -> Iterator[list[Prepared | str]]:
    """Decode batches in threads, a few ahead of the encoder; an image that fails gives its reason."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        waiting: deque[list[Future[Prepared | str]]] = deque()
        todo = iter(batches)
        try:
            for batch in islice(todo, BATCHES_AHEAD):
                waiting.append([pool.submit(_prepare, image, source, encoder) for _, image in batch])
            while waiting:
                done = [future.result() for future in waiting.popleft()]
                for batch in islice(todo, 1):
                    waiting.append([pool.submit(_prepare, image, source, encoder) for _, image in batch])
                yield done
        finally:
            pool.shutdown(cancel_futures=True)


def _prepare(image: str, source: Source, encoder: "Encoder") -> Prepared | str:
    from geoindex.images import content_hash, load_image

    kept = source.prepared(image) if isinstance(source, PreparedSource) else None
    try:
        if kept is not None and source.file_of(image) is None:
            return Prepared(kept, "")  # such as a scene, which would be drawn again for nothing
        file = source.read(image)
        pixels = kept if kept is not None else encoder.prepare(load_image(file, min_side=encoder.min_side, name=image))
        return Prepared(pixels, content_hash(file))
    except UnreadableImageError as error:
        return error.reason


def _save_shard(path: Path, shard: Shard, stamps: dict[int, str]) -> None:
    buffer = io.BytesIO()
    facts = {"failures": shard.failures, "stamps": stamps}
    text = np.frombuffer(json.dumps(facts).encode(), np.uint8)
    np.savez(buffer, rows=shard.rows, features=shard.features, content=shard.content, facts=text)
    write_durably(path, buffer.getvalue())


def _load_shard(path: Path) -> tuple[Shard, dict[str, str]]:
    """Return a stored shard, and the stamp of each of its images by row."""
    with path.open("rb") as file, np.load(file) as stored:
        facts = json.loads(stored["facts"].tobytes())
        failures = {int(row): reason for row, reason in facts["failures"].items()}
        return Shard(stored["rows"], stored["features"], stored["content"], failures), facts["stamps"]


def _left_out(failures: dict[int, str], samples: Samples) -> LeftOut:
    left_out = LeftOut()
    for row, reason in failures.items():
        left_out.add(reason, samples[row].id)
    return left_out


def _some(rows: NDArray[np.int64], failures: dict[int, str], samples: Samples) -> NDArray[np.int64]:
    if len(rows) == 0:
        row, reason = next(iter(failures.items()))
        raise EmptyDatasetError(
            f"None of the {len(samples)} images could be read; the first, '{samples[row].id}': {reason}. "
            "Check that the image paths fit the folder that they are relative to."
        )
    return rows
