"""Rows that only the synthetic Earth can have: from pixels alone, and from the very causes of each scene.

Beside them one sees how hard that Earth is, and how much of what its pictures tell an encoder has learned.
"""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from geoindex.evaluation.report import Row
from geoindex.geo import haversine_km
from geoindex.images import load_image
from geoindex.metrics import measure
from geoindex.sources import Source
from geoindex.sources.source import PreparedSource
from geoindex.sources.synthetic import SyntheticEarth
from geoindex.store.images import StoredImages

if TYPE_CHECKING:
    from PIL.Image import Image

SIDE = 32
"""Pixels a side that raw pixels are compared at."""

CHUNK = 256
"""Pictures that a process describes at a time, and queries that are compared at a time."""

Floats = NDArray[np.float32]
Workers: TypeAlias = Literal["threads", "processes"]


def pixel_row(scenes: Source, images: StoredImages) -> Row:
    """Return how far off the most similar picture is: 1-NN on raw pixels, at `SIDE` a side, of the test split."""
    pixels = partial(_pixels, scenes)
    gallery, asked = (_described(images.rows(split), images, pixels, "threads") for split in ("train", "test"))
    return _nearest_row("1-NN, raw pixels", images, gallery, asked)


def oracle_row(earth: SyntheticEarth, images: StoredImages) -> Row:
    """Return how far off the scene of the most similar causes is: 1-NN on what no camera sees directly.

    Causes are what depends on the place, such as climate, soil, script and driving side; the position is none of them.
    Each counts in standard deviations over the gallery.
    """
    causes = partial(_causes, earth)
    gallery, asked = (_described(images.rows(split), images, causes, "processes") for split in ("train", "test"))
    mean, spread = gallery.mean(axis=0), gallery.std(axis=0) + 1e-6
    return _nearest_row("oracle: 1-NN, causes", images, (gallery - mean) / spread, (asked - mean) / spread)


def _pixels(scenes: Source, names: list[str]) -> Floats:
    small = [_picture(scenes, name).resize((SIDE, SIDE)) for name in names]
    return np.stack([np.asarray(picture, np.float32).ravel() for picture in small])


def _picture(scenes: Source, name: str) -> "Image":
    """Return a scene, as it was drawn before if that was kept."""
    from PIL import Image

    kept = scenes.prepared(name) if isinstance(scenes, PreparedSource) else None
    return load_image(scenes.read(name)) if kept is None else Image.fromarray(np.moveaxis(kept, 0, -1))


def _causes(earth: SyntheticEarth, names: list[str]) -> Floats:
    return np.stack([earth.causes(name).place_features() for name in names])


def _described(
    rows: NDArray[np.int64], images: StoredImages, describe: Callable[[list[str]], Floats], workers: Workers
) -> Floats:
    """Return what workers make of the images of some rows, (N, D)."""
    from joblib import Parallel, delayed

    names = images.facts["image"].take(rows).to_pylist()
    chunks = [names[first : first + CHUNK] for first in range(0, len(names), CHUNK)]
    return np.concatenate(Parallel(n_jobs=-1, prefer=workers)(delayed(describe)(chunk) for chunk in chunks))


def _nearest_row(name: str, images: StoredImages, gallery: Floats, asked: Floats) -> Row:
    rows, asking = images.rows("train"), images.rows("test")
    nearest = rows[_nearest(asked, gallery)]
    off_km = haversine_km(images.lat[nearest], images.lon[nearest], images.lat[asking], images.lon[asking])
    return Row(name, measure(off_km), "floor")


def _nearest(queries: Floats, gallery: Floats) -> NDArray[np.int64]:
    """Return the row of the gallery with the least Euclidean distance, (Q,)."""
    squares = (gallery.astype(np.float64) ** 2).sum(axis=1)
    chunks = [queries[first : first + CHUNK] for first in range(0, len(queries), CHUNK)]
    return np.concatenate([(squares - 2.0 * (chunk @ gallery.T)).argmin(axis=1) for chunk in chunks])
