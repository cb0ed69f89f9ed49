"""Images -> features in bulk, shard by shard, so that a stopped run goes on where it was.

A shard is a fixed run of samples. Its features are written durably as soon as they are complete, while the next
shard is encoded. A later run with the same encoder and the same samples reads them back, never embeds an image
twice, and tries again those that could not be read.
"""

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice, tee
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from geoindex.errors import EmptyDatasetError, EncoderError, UnreadableImageError
from geoindex.lookahead import work_ahead
from geoindex.progress import Progress
from geoindex.shards import Shard, ShardWriter, stamp_of
from geoindex.sources import Source
from geoindex.sources.source import EmbeddedSource, LeftOut, PreparedSource
from geoindex.store.durable import storage_errors
from geoindex.types import Samples

if TYPE_CHECKING:
    from geoindex.encoder import Encoder
    from geoindex.encoder.preprocessing import Preprocessing

SHARD_SAMPLES = 1024
TOO_LARGE = "its features are too large for float16"
Pixels = NDArray[np.uint8]


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
        return stored_features(self._shards())

    def runs(self, shards: int) -> Iterator[tuple[slice, list[Path]]]:
        """Yield runs of so many shards: which of `rows` they hold, one or more, and their files."""
        files = self._shards()
        for first in range(0, len(files), shards):
            start, stop = np.searchsorted(self.rows, [first * SHARD_SAMPLES, (first + shards) * SHARD_SAMPLES]).tolist()
            if stop > start:
                yield slice(start, stop), files[first : first + shards]

    def stamps(self) -> list[str]:
        """Return what changes when the features do."""
        return [stamp_of(path) for path in self._shards()]

    def _shards(self) -> list[Path]:
        return sorted(self.folder.glob("shard-*.npz"), key=_number)


def stored_features(files: Iterable[Path]) -> Iterator[NDArray[np.float16]]:
    """Yield the features of shards, each (n, D)."""
    return (Shard.load(path)[0].features for path in files)


def embed_samples(
    source: Source, samples: Samples, encoder: "Encoder | None", work: Path, make: "ShardMaker | None" = None
) -> Embedded:
    """Embed every sample, or go on with a run that was stopped.

    Args:
        source: reads the images; an `EmbeddedSource` hands out features itself.
        samples: what to embed.
        encoder: None for an `EmbeddedSource`.
        work: folder for the shards.
        make: makes what is left of each shard; None: `make_shards`, in this process.

    Raises:
        EmptyDatasetError: if no image at all could be read.
        StorageError: if the disk refuses.
    """
    fingerprint = encoder.fingerprint if encoder else getattr(source, "fingerprint", "")
    folder = work / f"features-{_key(samples, source.uri, fingerprint)}"
    with storage_errors(work):
        folder.mkdir(parents=True, exist_ok=True)
        with Progress("embedding images", len(samples), "image") as bar:
            made = (make or make_shards)(_parts(folder, source, samples, bar), source, encoder, bar)
            by_path = dict(_finish(made))
    shards = [by_path[path] for path in sorted(by_path, key=_number)]
    failures = {row: reason for shard in shards for row, reason in shard.failures.items()}
    rows = _some(np.concatenate([shard.rows for shard in shards]), failures, samples)
    return Embedded(folder, rows, np.concatenate([shard.content for shard in shards]), unread(failures, samples))


def _number(path: Path) -> int:
    """Return the number of a shard, which has seven digits from a billion samples on."""
    return int(path.stem.rpartition("-")[2])


def _key(samples: Samples, uri: str, fingerprint: str) -> str:
    state = hashlib.blake2b(f"{fingerprint}\n{uri}\n".encode(), digest_size=12)
    for image in samples.images:
        state.update(image.encode() + b"\n")
    return state.hexdigest()


@dataclass(frozen=True, slots=True)
class Part:
    """What a shard will hold.

    Attributes:
        path: its file.
        done: what an earlier run stored of it, without the features.
        samples: what is left to embed.
        rows: their rows, (n,).
        stamps: stamp of every image of the shard by row, from before any was read; empty if nothing is left.
    """

    path: Path
    done: Shard
    samples: Samples
    rows: NDArray[np.int64]
    stamps: dict[int, str]

    def batches(self, size: int) -> list[list[tuple[int, str]]]:
        """Return rows and images that are left, in batches."""
        items = list(zip(self.rows.tolist(), self.samples.images, strict=True))
        return [items[i : i + size] for i in range(0, len(items), size)]

    def with_done(self, more: Shard) -> Shard:
        """Return what came now together with what an earlier run stored."""
        if len(self.done.rows) == 0:
            return more
        stored, _ = Shard.load(self.path)
        return stored.take(np.isin(stored.rows, self.done.rows)).joined(more)


def _parts(folder: Path, source: Source, samples: Samples, bar: Progress) -> Iterator[Part]:
    for start in range(0, len(samples), SHARD_SAMPLES):
        rows = np.arange(start, min(start + SHARD_SAMPLES, len(samples)))
        path = folder / f"shard-{start // SHARD_SAMPLES:06d}.npz"
        images = samples.take(rows).images
        stamps = {int(row): stamp_of(source.file_of(image)) for row, image in zip(rows, images, strict=True)}
        done = Shard.unchanged(path, stamps).without_features()
        bar.advance(len(done.rows))
        # what could not be read may have been mended since, so failures are tried again
        todo = np.setdiff1d(rows, done.rows)
        yield Part(path, done, samples.take(todo), todo, stamps if len(todo) else {})


def _finish(made: Iterator[tuple[Part, Shard]]) -> Iterator[tuple[Path, Shard]]:
    """Write each shard while the next is made, and yield it without its features."""
    with ShardWriter() as writer:
        for part, more in made:
            shard = part.done
            if len(part.rows):
                shard = part.with_done(more)
                writer.save(shard, part.path, part.stamps)
            yield part.path, shard.without_features()


ShardMaker: TypeAlias = Callable[[Iterator[Part], Source, "Encoder | None", Progress], Iterator[tuple[Part, Shard]]]
"""Makes what is left of shards, in any order, and counts their images."""


def make_shards(
    parts: Iterator[Part], source: Source, encoder: "Encoder | None", bar: Progress
) -> Iterator[tuple[Part, Shard]]:
    """Make what is left of each shard in this process."""
    return _copied(parts, source, bar) if encoder is None else _encoded(parts, source, encoder, bar)


@dataclass(frozen=True, slots=True)
class Prepared:
    """An image as an encoder wants it.

    Attributes:
        pixels: (3, S, S).
        content: hash of its file; empty where there is none.
    """

    pixels: Pixels
    content: str


Batch: TypeAlias = "list[tuple[int, Prepared | str]]"
"""Rows, with the image of each as an encoder wants it, or the reason why there is none."""


def _copied(parts: Iterator[Part], source: Source, bar: Progress) -> Iterator[tuple[Part, Shard]]:
    assert isinstance(source, EmbeddedSource)
    for part in parts:
        yield part, copy_shard(part, source)
        bar.advance(len(part.rows))


def copy_shard(part: Part, source: EmbeddedSource) -> Shard:
    """Return what is left of a shard, of a source that has features already."""
    if len(part.rows) == 0:
        return Shard.empty(source.dim)
    features = source.features(part.samples).astype(np.float16)
    return Shard(part.rows, features, np.full(len(part.rows), "", np.str_), {})


def _encoded(parts: Iterator[Part], source: Source, encoder: "Encoder", bar: Progress) -> Iterator[tuple[Part, Shard]]:
    """Encode what is left of each shard; images of the next batches are decoded meanwhile, over the end of a shard."""
    parts, ahead = tee(parts)
    batches = (batch for part in ahead for batch in part.batches(encoder.batch_size))
    with closing(
        work_ahead(batches, lambda item: (item[0], prepare_image(item[1], source, encoder.preprocessing)))
    ) as prepared:
        for part in parts:
            count = len(part.batches(encoder.batch_size))
            yield part, encode_shard(_counted(islice(prepared, count), bar), encoder)


def _counted(batches: Iterator[Batch], bar: Progress) -> Iterator[Batch]:
    for batch in batches:
        yield batch
        bar.advance(len(batch))


def encode_shard(batches: Iterable[Batch], encoder: "Encoder") -> Shard:
    """Encode batches of rows."""
    kept: list[tuple[int, str]] = []
    features: list[NDArray[np.float16]] = []
    failures: dict[int, str] = {}
    for batch, results in _encoded_ahead(batches, encoder):
        encoded = iter(results)
        for row, result in batch:
            found = result if isinstance(result, str) else next(encoded)
            if isinstance(found, str) or isinstance(result, str):
                failures[row] = str(found)
            else:
                kept.append((row, result.content))
                features.append(found)
    if not kept:
        return replace(Shard.empty(encoder.dim), failures=failures)
    numbers, content = zip(*kept, strict=True)
    return Shard(np.array(numbers, np.int64), np.stack(features), np.array(content, np.str_), failures)


Encoded: TypeAlias = "list[NDArray[np.float16] | str]"
"""The features of each image, (D,), or why it has none."""


def _encoded_ahead(batches: Iterable[Batch], encoder: "Encoder") -> Iterator[tuple[Batch, Encoded]]:
    """Encode the readable images of each batch; the next one is put together meanwhile, so that no model waits."""
    waiting = deque[tuple[Batch, Future[Encoded]]]()
    model = ThreadPoolExecutor(1)
    try:
        for batch in batches:
            pixels = [result.pixels for _, result in batch if isinstance(result, Prepared)]
            stacked = np.stack(pixels) if pixels else np.zeros((0, 0), np.uint8)
            waiting.append((batch, model.submit(_encode, stacked, encoder)))
            if len(waiting) > 1:
                batch, future = waiting.popleft()
                yield batch, future.result()
        for batch, future in waiting:
            yield batch, future.result()
    finally:
        model.shutdown(cancel_futures=True)


def _encode(pixels: Pixels, encoder: "Encoder") -> Encoded:
    """Encode images, (B, 3, S, S); one that fails costs its batch nothing but time."""
    if len(pixels) == 0:
        return []
    try:
        features = encoder.features(pixels)
    except EncoderError as error:
        if len(pixels) == 1:
            return [str(error).rstrip(".")]
        features = None
    if features is None:  # behind the error, which holds what was computed so far
        return [found for image in pixels for found in _encode(image[None], encoder)]
    fits = np.abs(features).max(axis=1) <= np.finfo(np.float16).max
    return [f.astype(np.float16) if ok else TOO_LARGE for f, ok in zip(features, fits, strict=True)]


def prepare_image(image: str, source: Source, wanted: "Preprocessing") -> Prepared | str:
    """Return an image as an encoder wants it, or the reason why it cannot be read."""
    from geoindex.images import content_hash, load_image, read_file

    kept = source.prepared(image) if isinstance(source, PreparedSource) else None
    try:
        if kept is not None and source.file_of(image) is None:
            return Prepared(kept, "")  # such as a scene, which would be drawn again for nothing
        file = read_file(source.read(image), name=image)  # once, for its hash and for its pixels
        pixels = kept if kept is not None else wanted.apply(load_image(file, min_side=wanted.scaled, name=image))
        return Prepared(pixels, content_hash(file))
    except UnreadableImageError as error:
        return error.reason


def unread(failures: Mapping[int, str], samples: Samples) -> LeftOut:
    """Return the samples whose images could not be read, of reasons by row."""
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
