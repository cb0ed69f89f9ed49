"""The photos of a game: a seeded choice out of an index's held-out split, the same for every player."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from geoindex.errors import ConfigError, EmptyDatasetError
from geoindex.evaluation.thumbnails import Thumbnails
from geoindex.index import GeoIndex
from geoindex.recipe import Recipe
from geoindex.store.generations import IndexFolder
from geoindex.store.images import stored_images

PAPER_PHOTOS = 50
"""Photos over which the paper's players were measured."""

SIDE = 1024
"""Pixels of the longer side of a photo that is shown; the index is asked for the same picture."""


@dataclass(frozen=True, slots=True)
class Photo:
    """A held-out photo.

    Attributes:
        id: of the image in the index.
        image: what its source calls it.
        lat, lon: where it was taken, in degrees.
    """

    id: str
    image: str
    lat: float
    lon: float


@dataclass(frozen=True, slots=True)
class Deck:
    """Photos in the order in which they are shown.

    Attributes:
        photos: at least one.
        source: URI of the source that they come from.
        columns: of that source.
    """

    photos: tuple[Photo, ...]
    source: str
    columns: dict[str, str]

    @property
    def key(self) -> str:
        """What tells it from other decks: a hash of its photos."""
        ids = "\n".join(photo.id for photo in self.photos)
        return hashlib.sha256(ids.encode()).hexdigest()[:16]

    def __len__(self) -> int:
        return len(self.photos)

    def pictures(self) -> Thumbnails:
        """Open the source of the photos."""
        return Thumbnails.of(self.source, self.columns)

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON types."""
        photos = [[photo.id, photo.image, photo.lat, photo.lon] for photo in self.photos]
        return {"photos": photos, "source": self.source, "columns": self.columns}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Deck":
        """Read back what `to_dict` gives."""
        return cls(tuple(Photo(*each) for each in values["photos"]), values["source"], values["columns"])


def picture_of(pictures: Thumbnails, photo: Photo) -> bytes | None:
    """Return a photo as a new JPEG, without what its file says of its place; None if it cannot be read."""
    return pictures.jpeg(photo.image, SIDE)


def draw_deck(index: GeoIndex, count: int = PAPER_PHOTOS, seed: int = 0) -> Deck:
    """Choose photos of an index's test split that can be read.

    Args:
        index: whose held-out photos they are.
        count: how many; fewer if the split has no more.
        seed: of the choice.

    Raises:
        ConfigError: if `count` is not positive.
        EmptyDatasetError: if the split has no photo, or its source hands out none.
    """
    if count < 1:
        raise ConfigError(f"A game of {count} photos cannot be played; take at least 1.")
    manifest = index.manifest
    columns = Recipe(column=tuple(manifest.recipe.get("column", ()))).columns
    pictures = Thumbnails.of(manifest.source, columns)
    chosen: list[Photo] = []
    for photo in _shuffled(index, seed):
        if picture_of(pictures, photo) is not None:
            chosen.append(photo)
        elif not chosen:
            break  # where not even the first can be read, the photos are not at hand
        if len(chosen) == count:
            break
    if not chosen:
        raise EmptyDatasetError(
            f"The index at '{index.path}' has no held-out photo that '{manifest.source}' hands out; "
            "build it with --split-by ratio, author, ..., and keep its photos where they were."
        )
    return Deck(tuple(chosen), manifest.source, columns)


def _shuffled(index: GeoIndex, seed: int) -> Iterator[Photo]:
    images = stored_images(IndexFolder(index.path), index.manifest.tables["images"])
    rows = images.rows("test")
    facts = images.facts
    for row in np.random.default_rng(seed).permutation(rows).tolist():
        named = {name: facts[name][row].as_py() for name in ("id", "image", "lat", "lon")}
        yield Photo(**named)
