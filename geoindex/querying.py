"""Photos -> predictions: decode, prepare, encode, project, search, answer, with the time of each step."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from geoindex.encoder.projection import mean_direction
from geoindex.errors import ConfigError, UnreadableImageError
from geoindex.images import ImageInput, load_image
from geoindex.live import LiveSnapshot
from geoindex.lookahead import work_ahead
from geoindex.prediction import Prediction
from geoindex.progress import Stages
from geoindex.search.options import QueryOptions
from geoindex.snapshot import Snapshot

if TYPE_CHECKING:
    from geoindex.encoder import Encoder

BATCH_IMAGES = 32
"""Images of a forward pass."""

Pixels = NDArray[np.uint8]


def answer_views(live: LiveSnapshot, images: Sequence[ImageInput], options: QueryOptions) -> Prediction:
    """Say where several photos of one place were taken.

    Raises:
        UnreadableImageError: if one cannot be decoded.
        ConfigError: if they are no list of one or more.
    """
    views = [] if isinstance(images, str | bytes) else list(images)
    if not views:
        raise ConfigError("query_views needs one or more images of one place, as a list; for one photo, take [photo].")
    snapshot, stages = live.get(), Stages()
    encoder = snapshot.encoder.get()
    pixels = [_pixels(image, encoder, stages) for image in views]
    with stages("encode"):
        parts = (np.stack(pixels[i : i + BATCH_IMAGES]) for i in range(0, len(views), BATCH_IMAGES))
        features = np.concatenate([encoder.features(part) for part in parts])
    with stages("project"):
        embedding = mean_direction(snapshot.projection.apply(features))
    return snapshot.answer(embedding[None], options, stages)[0]


def answer_images(
    live: LiveSnapshot, images: Iterable[ImageInput], options: QueryOptions, on_error: str
) -> Iterator[Prediction | UnreadableImageError]:
    """Say where each photo was taken, in order, while the next batches are decoded.

    Args:
        live: what answers.
        images: any number of them.
        options: how to answer.
        on_error: raise at the first unreadable image, after the answers before it; or return the error in its place.
    """
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
    encoder: "Encoder"


@dataclass(frozen=True, slots=True)
class _Prepared:
    """The pixels of an image, (3, S, S), for whom they are, and how long they took."""

    pixels: Pixels
    snapshot: Snapshot
    encoder: "Encoder"
    stages: Stages


_Tasks: TypeAlias = "list[_Task | Exception]"


def _tasks(live: LiveSnapshot, images: Iterable[ImageInput]) -> Iterator[_Tasks]:
    """Yield batches for one generation each; an error of whoever gives the images waits for its turn behind them."""
    batch: _Tasks = []
    try:
        for image in images:
            if not batch:
                snapshot = live.get()
                encoder = snapshot.encoder.get()
            batch.append(_Task(image, snapshot, encoder))
            if len(batch) == BATCH_IMAGES:
                yield batch
                batch = []
    except Exception as error:
        batch.append(error)
    if batch:
        yield batch


def _prepare(task: _Task | Exception) -> _Prepared | Exception:
    if isinstance(task, Exception):
        return task
    stages = Stages()
    try:
        return _Prepared(_pixels(task.image, task.encoder, stages), task.snapshot, task.encoder, stages)
    except Exception as error:
        return error


def _pixels(image: ImageInput, encoder: "Encoder", stages: Stages) -> Pixels:
    with stages("decode"):
        decoded = load_image(image, min_side=encoder.min_side)
    with stages("prepare"):
        return encoder.prepare(decoded)


def _answer_batch(
    live: LiveSnapshot, batch: list[_Prepared | Exception], options: QueryOptions
) -> Iterator[Prediction | UnreadableImageError]:
    """Answer a batch in which all errors are those of unreadable images."""
    ready = [done for done in batch if isinstance(done, _Prepared)]
    answers = iter(_answer_all(live, ready, options) if ready else ())
    for done in batch:
        yield done if isinstance(done, UnreadableImageError) else next(answers)


def _answer_all(live: LiveSnapshot, ready: list[_Prepared], options: QueryOptions) -> list[Prediction]:
    encoder, snapshot, stages = ready[0].encoder, live.following(ready[0].snapshot), Stages()
    for done in ready:
        stages.add(done.stages)
    with stages("encode"):
        features = encoder.features(np.stack([done.pixels for done in ready]))
    with stages("project"):
        embeddings = snapshot.projection.apply(features)
    return snapshot.answer(embeddings, options, stages)
