"""Rows that only the synthetic Earth can have: from pixels alone, and from the very causes of each scene.

Beside them one sees how hard that Earth is, and how much of what its pictures tell an encoder has learned.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from geoindex.evaluation.report import Row
from geoindex.geo import haversine_km
from geoindex.images import load_image
from geoindex.metrics import measure
from geoindex.sources.synthetic import SyntheticEarth
from geoindex.store.images import StoredImages

SIDE = 32
"""Pixels a side that raw pixels are compared at."""

CHUNK_QUERIES = 256

Floats = NDArray[np.float32]


def pixel_row(earth: SyntheticEarth, images: StoredImages) -> Row:
    """Return how far off the most similar picture is: 1-NN on raw pixels, at `SIDE` a side, of the test split."""
    return _nearest_row("1-NN, raw pixels", images, lambda name: _pixels(earth, name))


def oracle_row(earth: SyntheticEarth, images: StoredImages) -> Row:
    """Return how far off the scene of the most similar causes is: 1-NN on what no camera sees directly.

    Causes are what depends on the place, such as climate, soil, script and driving side; the position is none of them.
    """
    return _nearest_row("oracle: 1-NN, causes", images, lambda name: earth.causes(name).place_features(), scaled=True)


def _pixels(earth: SyntheticEarth, name: str) -> Floats:
    small = load_image(earth.read(name)).resize((SIDE, SIDE))
    return np.asarray(small, np.float32).ravel()


def _nearest_row(name: str, images: StoredImages, describe: Callable[[str], Floats], scaled: bool = False) -> Row:
    gallery, asked = images.rows("train"), images.rows("test")
    vectors = {}
    for split, rows in (("gallery", gallery), ("asked", asked)):
        locators = images.facts["image"].take(rows).to_pylist()
        vectors[split] = np.stack([describe(locator) for locator in locators])
    if scaled:
        mean, spread = vectors["gallery"].mean(axis=0), vectors["gallery"].std(axis=0) + 1e-6
        vectors = {split: (values - mean) / spread for split, values in vectors.items()}
    nearest = gallery[_nearest(vectors["asked"], vectors["gallery"])]
    off_km = haversine_km(images.lat[nearest], images.lon[nearest], images.lat[asked], images.lon[asked])
    return Row(name, measure(off_km), "floor")


def _nearest(queries: Floats, gallery: Floats) -> NDArray[np.int64]:
    """Return the row of the gallery with the least Euclidean distance, (Q,)."""
    squares = (gallery.astype(np.float64) ** 2).sum(axis=1)
    chunks = [queries[first : first + CHUNK_QUERIES] for first in range(0, len(queries), CHUNK_QUERIES)]
    return np.concatenate([(squares - 2.0 * (chunk @ gallery.T)).argmin(axis=1) for chunk in chunks])
