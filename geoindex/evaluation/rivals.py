"""What an index must be measured against: answers that need less than it does."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from geoindex.geo import haversine_km
from geoindex.metrics import geoscore

RANDOM_PAIRINGS = 10
MAX_CONSTANTS = 4096
MAX_WITNESSES = 20_000
CHUNK_QUERIES = 512

Floats = NDArray[np.float64]


def random_pairing_km(
    lat: Floats, lon: Floats, gallery_lat: Floats, gallery_lon: Floats, seed: int,
    distance_km: Callable[..., Floats] = haversine_km,
) -> Floats:  # fmt: skip
    """Return distances when each query gets the position of a random gallery image, (10 Q,)."""
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, len(gallery_lat), (RANDOM_PAIRINGS, len(lat)))
    return distance_km(lat, lon, gallery_lat[rows], gallery_lon[rows]).ravel()


def best_constant(
    gallery_lat: Floats, gallery_lon: Floats, seed: int, worth: Callable[[Floats], Floats] = geoscore
) -> tuple[float, float]:
    """Return the gallery position whose distances from the gallery are worth most; it never sees a query.

    Of large galleries a seeded sample stands as candidates and as witnesses.

    Args:
        gallery_lat: latitudes in degrees, (G,).
        gallery_lon: longitudes in degrees, (G,).
        seed: of the sample.
        worth: of distances in km; its mean decides. GeoScore, or np.negative for the least mean distance.
    """
    rng = np.random.default_rng(seed)
    candidates = _sample(rng, len(gallery_lat), MAX_CONSTANTS)
    witnesses = _sample(rng, len(gallery_lat), MAX_WITNESSES)
    lat, lon = gallery_lat[witnesses], gallery_lon[witnesses]
    scores = [worth(haversine_km(gallery_lat[c], gallery_lon[c], lat, lon)).mean() for c in candidates]
    best = candidates[int(np.argmax(scores))]
    return float(gallery_lat[best]), float(gallery_lon[best])


def _sample(rng: np.random.Generator, count: int, most: int) -> NDArray[np.int64]:
    return np.arange(count) if count <= most else np.sort(rng.choice(count, most, replace=False))


def nearest_image(queries: NDArray[np.float32], gallery: NDArray[np.float16]) -> NDArray[np.int64]:
    """Return for each query, (Q, D), the gallery row, of (G, D), with the largest inner product (1-NN)."""
    best = np.zeros(len(queries), np.int64)
    score = np.full(len(queries), -np.inf, np.float32)
    for start in range(0, len(gallery), MAX_WITNESSES):
        part = gallery[start : start + MAX_WITNESSES].astype(np.float32)
        for first in range(0, len(queries), CHUNK_QUERIES):
            chunk = slice(first, first + CHUNK_QUERIES)
            similarity = queries[chunk] @ part.T  # (chunk, part)
            row = similarity.argmax(axis=1)
            found = similarity[np.arange(len(row)), row]
            better = found > score[chunk]
            best[chunk] = np.where(better, row + start, best[chunk])
            score[chunk] = np.where(better, found, score[chunk])
    return best
