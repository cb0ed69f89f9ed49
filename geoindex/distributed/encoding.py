"""Images -> features on a Ray cluster, in a pool of encoders; the first process writes the shards.

Encoders on GPUs are fed by tasks that decode, on any computer; one without a GPU decodes for itself, on its own core.
What is on the disk is the same as without Ray, and so a run goes on where another one stopped, with Ray or without.
Workers read the images by the same paths as the first process; they write nothing.
"""

import logging
import pickle
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from geoindex.embed import Batch, Part, copy_shard, encode_shard, prepare_image
from geoindex.encoder.device import choose_batch_size
from geoindex.errors import ClusterError
from geoindex.images import ABSENT
from geoindex.progress import Progress
from geoindex.recipe import EncoderRecipe
from geoindex.shards import MISSING, Shard
from geoindex.sources import Source
from geoindex.sources.source import EmbeddedSource

if TYPE_CHECKING:
    from geoindex.encoder import Encoder
    from geoindex.encoder.preprocessing import Preprocessing

CHUNK_IMAGES = 128
"""Images of a task: 19 MB of pixels at 224 a side, and little enough that many computers end together; for a GPU as
many as it takes at once, if that is more."""

COPIED_SHARDS = 16
"""Shards of a task where features are only copied: less work than that is less than what a task costs."""

Row = dict[str, Any]
T = TypeVar("T")


def make_shards_on_ray(
    parts: Iterator[Part], source: Source, encoder: "Encoder | None", bar: Progress
) -> Iterator[tuple[Part, Shard]]:
    """Make what is left of each shard on the cluster that this process is connected to, in any order.

    Raises:
        ClusterError: if a worker does not see the images that this process sees.
    """
    todo = []
    for part in parts:
        if len(part.rows):
            todo.append(part)
        else:
            yield part, Shard.empty()
    if todo:
        yield from _copied(todo, source, bar) if encoder is None else _encoded(todo, source, encoder, bar)


def _copied(parts: list[Part], source: Source, bar: Progress) -> Iterator[tuple[Part, Shard]]:
    assert isinstance(source, EmbeddedSource)
    groups = [range(first, min(first + COPIED_SHARDS, len(parts))) for first in range(0, len(parts), COPIED_SHARDS)]
    rows = [{"parts": list(group), "of": pickle.dumps([parts[n] for n in group])} for group in groups]
    for row in _dataset(rows).map(_Copying(source), num_cpus=1).iter_rows():
        for number, shard in zip(row["parts"], pickle.loads(row["shards"]), strict=True):
            yield parts[number], shard
            bar.advance(len(parts[number].rows))


def _encoded(parts: list[Part], source: Source, encoder: "Encoder", bar: Progress) -> Iterator[tuple[Part, Shard]]:
    encoded = _on_gpus(parts, source, encoder) if gpus_for(encoder) else _on_cores(parts, source, encoder)
    waiting: dict[int, list[Shard]] = {}
    for row in encoded.iter_rows():
        number, shard = row["part"], pickle.loads(row["shard"])
        part, found = parts[number], waiting.setdefault(number, [])
        _require_seen(part, shard)
        found.append(shard)
        bar.advance(len(shard.rows) + len(shard.failures))
        if sum(len(each.rows) + len(each.failures) for each in found) == len(part.rows):
            yield part, _joined(waiting.pop(number))


def _dataset(rows: list[Row]) -> Any:
    """Return rows as a data set of Ray, each a task of its own."""
    import ray
    from ray.data import DataContext

    logging.getLogger("ray.data").setLevel("ERROR")
    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    return ray.data.from_items(rows, override_num_blocks=len(rows))


def _chunks(parts: list[Part], size: int) -> list[Row]:
    """Return the images of each task, of one shard each."""
    return [{"part": n, "items": pickle.dumps(items)} for n, part in enumerate(parts) for items in part.batches(size)]


def _on_gpus(parts: list[Part], source: Source, encoder: "Encoder") -> Any:
    chunks = _chunks(parts, max(CHUNK_IMAGES, choose_batch_size(encoder.recipe.batch_size, "cuda")))
    decoded = _dataset(chunks).map(_Decoding(source, encoder.preprocessing), num_cpus=1)
    pool = _pool(min(gpus_for(encoder), len(chunks)))
    return decoded.map(_Encoding, fn_constructor_args=packed(encoder), num_gpus=1, compute=pool)


def _on_cores(parts: list[Part], source: Source, encoder: "Encoder") -> Any:
    import ray

    chunks = _chunks(parts, CHUNK_IMAGES)
    pool = _pool(max(1, min(int(ray.cluster_resources().get("CPU", 1)), len(chunks))))
    return _dataset(chunks).map(_Embedding, fn_constructor_args=(source, *packed(encoder)), num_cpus=1, compute=pool)


def gpus_for(encoder: "Encoder") -> int:
    """Return how many GPUs of the cluster the encoder may be on."""
    import ray

    wanted = encoder.recipe.device.partition(":")[0] in ("auto", "cuda")
    return int(ray.cluster_resources().get("GPU", 0)) if wanted else 0


def _pool(size: int) -> Any:
    """Return a pool of so many actors, that works with fewer where a computer is lost."""
    from ray.data import ActorPoolStrategy

    return ActorPoolStrategy(min_size=1, max_size=size, initial_size=size)


def packed(encoder: "Encoder") -> tuple[Row, EncoderRecipe]:
    """Put an encoder where every worker can have it, whatever files the others see; with how it is to compute."""
    import ray

    with tempfile.TemporaryDirectory() as folder:
        encoder.save(Path(folder) / "encoder")
        files = {path.name: path.read_bytes() for path in (Path(folder) / "encoder").iterdir()}
    unpictured = replace(encoder.recipe, image_size=None, mean=None, std=None)  # what is packed has its own
    return {"files": ray.put(files)}, unpictured  # inside something, since Ray warns of a bare one


def unpacked(files: Row, recipe: EncoderRecipe, device: str | None = None) -> "Encoder":
    """Load what `packed` gave, on a device; None: that of the recipe."""
    import ray

    from geoindex.encoder import load_encoder

    with tempfile.TemporaryDirectory() as folder:
        for name, data in ray.get(files["files"]).items():
            (Path(folder) / name).write_bytes(data)
        return load_encoder(folder, recipe if device is None else replace(recipe, device=device))


def _require_seen(part: Part, shard: Shard) -> None:
    """Refuse to lose what only the worker does not see."""
    for row, reason in shard.failures.items():
        if reason == ABSENT and part.stamps.get(row) not in ("", MISSING):
            image = part.samples.images[int(np.searchsorted(part.rows, row))]
            raise ClusterError(
                f"A worker of the Ray cluster does not see the image '{image}' that is here; mount the images at the "
                "same path on every computer."
            )


def _joined(shards: list[Shard]) -> Shard:
    """Put the parts of a shard together, in the order of rows."""
    whole = shards[0]
    for shard in shards[1:]:
        joined = whole.joined(shard)
        whole = Shard(joined.rows, joined.features, joined.content, whole.failures | shard.failures)
    return whole


class _Copying:
    """A task: features that a source has, of some shards."""

    def __init__(self, source: EmbeddedSource) -> None:
        self.source = source

    def __call__(self, row: Row) -> Row:
        shards = [copy_shard(part, self.source) for part in pickle.loads(row["of"])]
        return {"parts": row["parts"], "shards": pickle.dumps(shards)}


class _Decoding:
    """A task: images as the encoder wants them."""

    def __init__(self, source: Source, wanted: "Preprocessing") -> None:
        self.source, self.wanted = source, wanted

    def __call__(self, row: Row) -> Row:
        import torch  # noqa: F401 - resizes as it does where the encoder is

        prepared = _prepared(pickle.loads(row["items"]), self.source, self.wanted)
        return {"part": row["part"], "pixels": pickle.dumps(prepared)}


class _Encoding:
    """An actor: an encoder of what tasks have decoded."""

    def __init__(self, files: Row, recipe: EncoderRecipe) -> None:
        self.encoder = unpacked(files, recipe)

    def __call__(self, row: Row) -> Row:
        batches = _batches(pickle.loads(row["pixels"]), self.encoder.batch_size)
        return {"part": row["part"], "shard": pickle.dumps(encode_shard(batches, self.encoder))}


class _Embedding:
    """An actor: an encoder that decodes for itself."""

    def __init__(self, source: Source, files: Row, recipe: EncoderRecipe) -> None:
        self.source, self.encoder = source, unpacked(files, recipe)

    def __call__(self, row: Row) -> Row:
        encoder, items = self.encoder, pickle.loads(row["items"])
        batches = (_prepared(some, self.source, encoder.preprocessing) for some in _batches(items, encoder.batch_size))
        return {"part": row["part"], "shard": pickle.dumps(encode_shard(batches, encoder))}


def _prepared(items: list[tuple[int, str]], source: Source, wanted: "Preprocessing") -> Batch:
    return [(number, prepare_image(image, source, wanted)) for number, image in items]


def _batches(items: list[T], size: int) -> Iterator[list[T]]:
    return (items[start : start + size] for start in range(0, len(items), size))
