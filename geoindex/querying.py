"""Photos -> predictions: decode, prepare, encode, project, search, answer, with the time of each step."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from geoindex.encoder import Encoder
from geoindex.encoder.device import Vectors, to_host
from geoindex.encoder.projection import mean_direction
from geoindex.errors import ConfigError, EncoderError, UnreadableImageError
from geoindex.images import ImageInput, ImageLimits, image_name, is_one_image, load_image
from geoindex.live import LiveSnapshot
from geoindex.lookahead import work_ahead
from geoindex.prediction import Prediction
from geoindex.progress import Stages
from geoindex.search.options import QueryOptions
from geoindex.snapshot import Snapshot

BATCH_IMAGES = 32
"""Images of a forward pass."""

Pixels = NDArray[np.uint8]
Features: TypeAlias = Vectors
Rows = TypeVar("Rows", NDArray[np.float32], Vectors)


@dataclass(frozen=True, slots=True)
class PreparedQuery:
    """Photos of one place, as an encoder wants them.

    Attributes:
        pixels: (V, 3, S, S), one photo or several.
        snapshot: the generation whose encoder that is.
        encoder: the encoder.
        stages: how long it took.
    """

    pixels: Pixels
    snapshot: Snapshot
    encoder: Encoder
    stages: Stages


def prepare_query(images: Sequence[ImageInput], snapshot: Snapshot, limits: ImageLimits) -> PreparedQuery:
    """Decode photos of one place for the encoder of a generation.

    Raises:
        UnreadableImageError: if one cannot be decoded.
        EncoderError: if the encoder cannot be loaded.
    """
    encoder, stages = snapshot.encoder.get(), Stages()
    pixels = [_pixels(image, encoder, stages, limits) for image in images]
    together = pixels[0][None] if len(pixels) == 1 else np.stack(pixels)
    return PreparedQuery(together, snapshot, encoder, stages)


def _pixels(image: ImageInput, encoder: Encoder, stages: Stages, limits: ImageLimits) -> Pixels:
    with stages("decode"):
        decoded = load_image(image, min_side=encoder.min_side, limits=limits)
    with stages("prepare"):
        return encoder.prepare(decoded)


def encode_queries(queries: Sequence[PreparedQuery], stages: Stages) -> list[Features]:
    """Return the features of queries for one encoder, each (V, feature_dim), in forward passes of `BATCH_IMAGES`.

    Those that a GPU computes stay there.
    """
    encoder = queries[0].encoder
    with stages("encode"):
        pixels = queries[0].pixels if len(queries) == 1 else np.concatenate([query.pixels for query in queries])
        parts = (pixels[i : i + BATCH_IMAGES] for i in range(0, len(pixels), BATCH_IMAGES))
        own = isinstance(encoder, Encoder)  # and not what users made
        features = _together([(encoder.features_there if own else encoder.features)(part) for part in parts])
        if not own and not np.isfinite(to_host(features)).all():
            raise EncoderError(f"Encoder '{encoder.spec}' gives features that are not finite; correct it.")
    return list(_apart(features, [len(query.pixels) for query in queries]))


def embed_features(features: Sequence[Features], snapshot: Snapshot, stages: Stages) -> Vectors:
    """Return the embedding of each query, (Q, dim): the mean of those of its photos, normalised again."""
    with stages("project"):
        embeddings = snapshot.embed(_together(features))
        if len(embeddings) == len(features):
            return embeddings  # a photo each
        return np.stack([mean_direction(each) for each in _apart(to_host(embeddings), map(len, features))])


def _together(parts: Sequence[Vectors]) -> Vectors:
    """Return vectors of one device, (n, D) each, as (N, D)."""
    if len(parts) == 1:
        return parts[0]
    if any(isinstance(part, np.ndarray) for part in parts):
        return np.concatenate([to_host(part) for part in parts])
    import torch

    return torch.cat([part for part in parts if isinstance(part, torch.Tensor)])


def _apart(rows: Rows, sizes: Iterable[int]) -> Iterator[Rows]:
    """Yield rows in parts of these sizes."""
    start = 0
    for size in sizes:
        yield rows[start : start + size]
        start += size


def answer_features(
    features: Sequence[Features], snapshot: Snapshot, options: QueryOptions, stages: Stages
) -> list[Prediction]:
    """Answer queries that are encoded, each (V, feature_dim); they share the times evenly."""
    return snapshot.answer(embed_features(features, snapshot, stages), options, stages)


def answer_views(live: LiveSnapshot, images: Sequence[ImageInput], options: QueryOptions) -> Prediction:
    """Say where several photos of one place were taken.

    Raises:
        UnreadableImageError: if one cannot be decoded.
        ConfigError: if they are no list of one or more.
    """
    views = list(images) if isinstance(images, Iterable) and not is_one_image(images) else []
    if not views:
        raise ConfigError("query_views needs one or more images of one place, as a list; for one photo, take [photo].")
    ready = prepare_query(views, live.get(), ImageLimits())
    features = encode_queries([ready], ready.stages)
    return answer_features(features, ready.snapshot, options, ready.stages)[0]


def answer_images(
    live: LiveSnapshot, images: Iterable[ImageInput], options: QueryOptions, on_error: str
) -> Iterator[Prediction | UnreadableImageError]:
    """Say where each photo was taken, in order, while the next batches are decoded.

    Args:
        live: what answers.
        images: any number of them.
        options: how to answer.
        on_error: raise at the first unreadable image, after the answers before it; or return the error in its place.

    Raises:
        ConfigError: if they are one image, or none at all.
    """
    if is_one_image(images):
        raise ConfigError(f"query_images needs a list of images, and {image_name(images)} is one; take [photo].")
    if not isinstance(images, Iterable):
        raise ConfigError(f"query_images needs a list of images, not {images!r}.")
    return _answers(live, images, options, on_error)


def _answers(
    live: LiveSnapshot, images: Iterable[ImageInput], options: QueryOptions, on_error: str
) -> Iterator[Prediction | UnreadableImageError]:
    in_place = UnreadableImageError if on_error == "return" else ()
    with closing(work_ahead(_tasks(live, images), _prepare)) as batches:
        for batch in batches:
            errors = [(i, done) for i, done in enumerate(batch) if isinstance(done, Exception)]
            fatal = [(i, error) for i, error in errors if not isinstance(error, in_place)]
            yield from _answer_batch(live, batch[: fatal[0][0]] if fatal else batch, options)
            if fatal:
                raise fatal[0][1]


@dataclass(frozen=True, slots=True)
class _Task:
    """An image to prepare for the encoder of the generation that is live when it is read."""

    image: ImageInput
    snapshot: Snapshot


_Tasks: TypeAlias = "list[_Task | Exception]"


def _tasks(live: LiveSnapshot, images: Iterable[ImageInput]) -> Iterator[_Tasks]:
    """Yield batches for one generation each; an error of whoever gives the images waits for its turn behind them."""
    batch: _Tasks = []
    try:
        for image in images:
            if not batch:
                snapshot = live.get()
            batch.append(_Task(image, snapshot))
            if len(batch) == BATCH_IMAGES:
                yield batch
                batch = []
    except Exception as error:
        batch.append(error)
    if batch:
        yield batch


def _prepare(task: _Task | Exception) -> PreparedQuery | Exception:
    if isinstance(task, Exception):
        return task
    try:
        return prepare_query([task.image], task.snapshot, ImageLimits())
    except Exception as error:
        return error


def _answer_batch(
    live: LiveSnapshot, batch: list[PreparedQuery | Exception], options: QueryOptions
) -> Iterator[Prediction | UnreadableImageError]:
    """Answer a batch in which all errors are those of unreadable images."""
    ready = [done for done in batch if isinstance(done, PreparedQuery)]
    answers = iter(_answer_all(live, ready, options) if ready else ())
    for done in batch:
        yield done if isinstance(done, UnreadableImageError) else next(answers)


def _answer_all(live: LiveSnapshot, ready: list[PreparedQuery], options: QueryOptions) -> list[Prediction]:
    snapshot, stages = live.following(ready[0].snapshot), Stages()
    for query in ready:
        stages.add(query.stages)
    return answer_features(encode_queries(ready, stages), snapshot, options, stages)
