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
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from geoindex.errors import EmptyDatasetError, UnreadableImageError
from geoindex.progress import Progress
from geoindex.sources import Source
from geoindex.sources.source import EmbeddedSource, LeftOut
from geoindex.store.durable import storage_errors, write_durably
from geoindex.types import Samples

if TYPE_CHECKING:
    from geoindex.encoder import Encoder

SHARD_SAMPLES = 1024
BATCHES_AHEAD = 3
"""Batches that are decoded while one is encoded; bounds the memory of waiting images."""

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Shard:
    """Features of a run of samples.

    Attributes:
        rows: rows of the samples that have features, (n,).
        features: their features, (n, D) float16.
        failures: reason by row of the samples that could not be read.
    """

    rows: NDArray[np.int64]
    features: NDArray[np.float16]
    failures: dict[int, str]


@dataclass(frozen=True, slots=True)
class Embedded:
    """Where the features of a set of samples lie.

    Attributes:
        folder: one file a shard.
        rows: rows of the samples that have features, in order.
        left_out: the others, by reason.
    """

    folder: Path
    rows: NDArray[np.int64]
    left_out: LeftOut

    def features(self) -> Iterator[NDArray[np.float16]]:
        """Yield the features shard by shard, in the order of `rows`."""
        return (_load_shard(path).features for path in sorted(self.folder.glob("shard-*.npz")))


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
    rows: list[NDArray[np.int64]] = []
    failures: dict[int, str] = {}
    with storage_errors(work):
        folder.mkdir(parents=True, exist_ok=True)
        with Progress("embedding images", len(samples), "image") as bar:
            for start in range(0, len(samples), SHARD_SAMPLES):
                wanted = np.arange(start, min(start + SHARD_SAMPLES, len(samples)))
                path = folder / f"shard-{start // SHARD_SAMPLES:06d}.npz"
                shard = _finish_shard(path, wanted, source, samples, encoder, bar)
                rows.append(shard.rows)
                failures |= shard.failures
    return Embedded(folder, _some(np.concatenate(rows), failures, samples), _left_out(failures, samples))


def _key(samples: Samples, uri: str, fingerprint: str) -> str:
    state = hashlib.blake2b(f"{fingerprint}\n{uri}\n".encode(), digest_size=12)
    for image in samples.images:
        state.update(image.encode() + b"\n")
    return state.hexdigest()


def _finish_shard(
    path: Path, rows: NDArray[np.int64], source: Source, samples: Samples, encoder: "Encoder | None", bar: Progress
) -> Shard:
    done = _load_shard(path) if path.exists() else None
    if done is not None:
        bar.advance(len(done.rows))
        if not done.failures:
            return done
        rows = np.array(sorted(done.failures))  # what could not be read may have been mended since
    part = samples.take(rows)
    if encoder is None:
        assert isinstance(source, EmbeddedSource)
        shard = Shard(rows, source.features(part).astype(np.float16), {})
        bar.advance(len(rows))
    else:
        shard = _embed_shard(rows, part, source, encoder, bar)
    shard = shard if done is None else _merge(done, shard)
    _save_shard(path, shard)
    return shard


def _merge(done: Shard, more: Shard) -> Shard:
    """Put what an earlier run could read and what could be read since into the order of rows."""
    rows = np.concatenate([done.rows, more.rows])
    order = np.argsort(rows)
    return Shard(rows[order], np.concatenate([done.features, more.features])[order], more.failures)


def _embed_shard(rows: NDArray[np.int64], part: Samples, source: Source, encoder: "Encoder", bar: Progress) -> Shard:
    kept: list[int] = []
    features: list[NDArray[np.float32]] = []
    failures: dict[int, str] = {}
    items = list(zip(rows.tolist(), part.images, strict=True))
    batches = [items[i : i + encoder.batch_size] for i in range(0, len(items), encoder.batch_size)]
    for batch, prepared in zip(batches, _prepare_ahead(batches, source, encoder), strict=True):
        pixels = [p for p in prepared if isinstance(p, np.ndarray)]
        if pixels:
            features.append(encoder.features(np.stack(pixels)))
        for (row, _), result in zip(batch, prepared, strict=True):
            if isinstance(result, str):
                failures[row] = result
            else:
                kept.append(row)
        bar.advance(len(batch))
    stacked = np.concatenate(features) if features else np.zeros((0, encoder.dim), np.float32)
    return Shard(np.array(kept, np.int64), stacked.astype(np.float16), failures)


def _prepare_ahead(
    batches: list[list[tuple[int, str]]], source: Source, encoder: "Encoder"
) -> Iterator[list[Pixels | str]]:
    """Decode batches in threads, a few ahead of the encoder; an image that fails gives its reason."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        waiting: deque[list[Future[Pixels | str]]] = deque()
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


def _prepare(image: str, source: Source, encoder: "Encoder") -> Pixels | str:
    from geoindex.images import load_image

    try:
        return encoder.prepare(load_image(source.read(image), min_side=encoder.min_side, name=image))
    except UnreadableImageError as error:
        return error.reason


def _save_shard(path: Path, shard: Shard) -> None:
    buffer = io.BytesIO()
    failures = np.frombuffer(json.dumps(shard.failures).encode(), np.uint8)
    np.savez(buffer, rows=shard.rows, features=shard.features, failures=failures)
    write_durably(path, buffer.getvalue())


def _load_shard(path: Path) -> Shard:
    with np.load(path) as stored:
        failures = json.loads(stored["failures"].tobytes())
        return Shard(stored["rows"], stored["features"], {int(row): reason for row, reason in failures.items()})


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
