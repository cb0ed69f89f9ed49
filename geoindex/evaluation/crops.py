"""Several crops of a photo -> one query: the mean of their embeddings, as rivals look at a photo more than once."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from geoindex.encoder.device import BATCH_SIZE
from geoindex.encoder.projection import Projection, mean_direction
from geoindex.errors import ConfigError, EmptyDatasetError, UnreadableImageError
from geoindex.images import content_hash, load_image, read_file
from geoindex.lookahead import work_ahead
from geoindex.progress import Progress
from geoindex.sources.source import LeftOut, Source
from geoindex.types import Samples

if TYPE_CHECKING:
    from PIL.Image import Image

    from geoindex.encoder import Encoder
    from geoindex.encoder.preprocessing import Preprocessing

MARGIN = 256 / 224
"""Shortest side over that of a crop, where there are crops at the corners; as torchvision's models are measured."""

Pixels = NDArray[np.uint8]
Views: TypeAlias = "Callable[[Image, Preprocessing], list[Pixels]]"


@dataclass(frozen=True, slots=True)
class EmbeddedViews:
    """Photos as queries.

    Attributes:
        rows: of the samples that could be read, (n,).
        vectors: their unit vectors, (n, D).
        content: hash of the file of each, (n,); empty where there is none.
        left_out: the others, by reason.
    """

    rows: NDArray[np.int64]
    vectors: NDArray[np.float32]
    content: list[str]
    left_out: LeftOut


def embed_crops(
    source: Source, samples: Samples, encoder: "Encoder", projection: Projection, crops: str
) -> EmbeddedViews:
    """Embed every photo as the mean of the embeddings of its crops, normalised again.

    Args:
        source: reads the images.
        samples: what to embed.
        encoder: of the index.
        projection: of the index.
        crops: out of `CROPS`.

    Raises:
        EmptyDatasetError: if no image could be read.
    """
    kept: list[int] = []
    vectors: list[NDArray[np.float32]] = []
    hashes: list[str] = []
    left_out = LeftOut()
    with Progress("embedding crops", len(samples), "image") as bar:
        for row, found in _prepared(source, samples, encoder, views_of(crops)):
            if isinstance(found, str):
                left_out.add(found, samples[row].id)
            else:
                kept.append(row)
                vectors.append(mean_direction(projection.apply(encoder.features(found[0]))))
                hashes.append(found[1])
            bar.advance(1)
    if not kept:
        raise EmptyDatasetError(
            f"None of the {len(samples)} images could be read ({left_out.summary()}); check --root or --source."
        )
    return EmbeddedViews(np.array(kept, np.int64), np.stack(vectors), hashes, left_out)


def views_of(crops: str) -> Views:
    """Return what turns a photo into its crops.

    Raises:
        ConfigError: if there is none of this name.
    """
    if crops not in CROPS:
        raise ConfigError(f"No crops '{crops}'; choose one of {', '.join(CROPS)}.")
    return CROPS[crops]


def _prepared(
    source: Source, samples: Samples, encoder: "Encoder", views: Views
) -> Iterator[tuple[int, tuple[Pixels, str] | str]]:
    """Yield the row of each sample with its crops, (K, 3, S, S), and the hash of its file, or why there are none."""
    images = samples.images

    def prepare(row: int) -> tuple[Pixels, str] | str:
        try:
            file = read_file(source.read(images[row]), name=images[row])
            image = load_image(file, min_side=round(encoder.min_side * MARGIN) + 1, name=images[row])
            return np.stack(views(image, encoder.preprocessing)), content_hash(file)
        except UnreadableImageError as error:
            return error.reason

    size = min(encoder.batch_size, BATCH_SIZE)  # photos that are decoded ahead, each several crops
    batches = [list(range(start, min(start + size, len(images)))) for start in range(0, len(images), size)]
    with closing(work_ahead(batches, prepare)) as prepared:
        for rows, results in zip(batches, prepared, strict=True):
            yield from zip(rows, results, strict=True)


def _centre(image: "Image", wanted: "Preprocessing") -> list[Pixels]:
    return [wanted.apply(image)]


def _three(image: "Image", wanted: "Preprocessing") -> list[Pixels]:
    """Return both ends and the middle along the longer side."""
    scaled = _scaled(image, wanted, wanted.size)
    spare = scaled.width - wanted.size, scaled.height - wanted.size
    return [_cut(scaled, wanted.size, round(spare[0] * part), round(spare[1] * part)) for part in (0.0, 0.5, 1.0)]


def _five(image: "Image", wanted: "Preprocessing") -> list[Pixels]:
    """Return the four corners and the centre of a photo that is a little larger than they are."""
    scaled = _scaled(image, wanted, round(wanted.size * MARGIN))
    right, bottom = scaled.width - wanted.size, scaled.height - wanted.size
    corners = [(0, 0), (right, 0), (0, bottom), (right, bottom), (round(right / 2), round(bottom / 2))]
    return [_cut(scaled, wanted.size, left, top) for left, top in corners]


def _ten(image: "Image", wanted: "Preprocessing") -> list[Pixels]:
    """Return the same five and their mirror images."""
    five = _five(image, wanted)
    return five + [np.ascontiguousarray(crop[:, :, ::-1]) for crop in five]


def _scaled(image: "Image", wanted: "Preprocessing", side: int) -> "Image":
    """Return a photo whose shortest side is `side`."""
    from PIL import Image

    width, height = replace(wanted, resize="shortest", size=side, crop_pct=1.0).resized(image.width, image.height)
    return image.resize((width, height), Image.Resampling[wanted.interpolation.upper()])


def _cut(image: "Image", side: int, left: int, top: int) -> Pixels:
    square = image.crop((left, top, left + side, top + side))
    return np.ascontiguousarray(np.asarray(square).transpose(2, 0, 1))


CROPS: Mapping[str, Views] = {"centre": _centre, "three": _three, "five": _five, "ten": _ten}
"""By name. centre: what the encoder always sees. three: both ends and the middle. ten: as GeoCLIP, the corners, the
centre and their mirror images. five: ten without mirror images, which turn writing and traffic around."""
