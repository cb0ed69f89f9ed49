"""The most similar photos of the gallery, and where they crowd: k-NN with kernel density estimation.

As in Vo, Jacobs, Hays, "Revisiting IM2GPS in the Deep Learning Era" (ICCV 2017), with the settings of its published
program (k, weights, width of the kernel, distance to which the peak is snapped), on the sphere instead of a grid of
degrees.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoindex.ann import top_columns
from geoindex.geo import haversine_km, to_unit

NEIGHBOURS = 100
"""Photos that vote."""

SIGMA_DEGREES = 4.0
"""Width of the kernel; a degree is 111 km."""

SHARPNESS = 10
"""A photo weighs by the inverse of the squared distance between the embeddings, to this power."""

SNAP_KM = 100.0
"""The answer is the most similar photo within this of the peak."""

LEAST_SQUARE = 1e-6
"""Squared distance that stands for less, as between copies of a photo: half precision tells no less apart."""

CHUNK_QUERIES = 512
CHUNK_IMAGES = 20_000
CHUNK_VOTES = 64
"""Queries and photos that are compared at a time, and queries whose neighbours are: a few dozen MB each."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The most similar photos of Q queries, the most similar first, (Q, k) each.

    Attributes:
        rows: of the gallery.
        similarity: cosines.
    """

    rows: NDArray[np.int64]
    similarity: NDArray[np.float32]


def nearest_images(queries: NDArray[np.float32], gallery: NDArray[np.floating], count: int = NEIGHBOURS) -> Neighbours:
    """Return for each query, (Q, D), the rows of (G, D) with the largest inner products, by brute force."""
    best = Neighbours(np.zeros((len(queries), 0), np.int64), np.zeros((len(queries), 0), np.float32))
    for start in range(0, len(gallery), CHUNK_IMAGES):
        part = gallery[start : start + CHUNK_IMAGES].astype(np.float32)
        best = _merged(best, queries, part, start, count)
    return best


def _merged(
    best: Neighbours, queries: NDArray[np.float32], part: NDArray[np.float32], start: int, count: int
) -> Neighbours:
    """Return the best of those found before and of a part of the gallery whose first row is `start`."""
    found = []
    for first in range(0, len(queries), CHUNK_QUERIES):
        chunk = slice(first, first + CHUNK_QUERIES)
        similarity = np.concatenate([best.similarity[chunk], queries[chunk] @ part.T], axis=1)
        columns = top_columns(similarity, min(count, similarity.shape[1]))
        new = np.broadcast_to(np.arange(start, start + len(part)), (len(similarity), len(part)))
        rows = np.concatenate([best.rows[chunk], new], axis=1)
        found.append([np.take_along_axis(values, columns, axis=1) for values in (rows, similarity)])
    return Neighbours(*(np.concatenate(parts) for parts in zip(*found, strict=True)))


def density_points(near: Neighbours, gallery_lat: Floats, gallery_lon: Floats) -> Floats:
    """Return where the neighbours of each query crowd, (Q, 2) degrees.

    The density is a sum of Gaussians at the positions of the neighbours. Its peak is looked for at those positions.

    Args:
        near: of Q queries.
        gallery_lat: latitudes in degrees, (G,).
        gallery_lon: longitudes in degrees, (G,).
    """
    chunks = [slice(first, first + CHUNK_VOTES) for first in range(0, len(near.rows), CHUNK_VOTES)]
    return np.concatenate(
        [
            _peaks(near.similarity[chunk], gallery_lat[near.rows[chunk]], gallery_lon[near.rows[chunk]])
            for chunk in chunks
        ]
    )


def _peaks(similarity: NDArray[np.float32], lat: Floats, lon: Floats) -> Floats:
    """Return the snapped peak of each row of neighbours, (q, k) -> (q, 2)."""
    xyz, query = to_unit(lat, lon), np.arange(len(lat))  # (q, k, 3)
    apart = np.degrees(np.arccos(np.clip(xyz @ xyz.transpose(0, 2, 1), -1.0, 1.0)))  # (q, k, k)
    squares = np.maximum(2.0 - 2.0 * similarity.astype(np.float64), LEAST_SQUARE)
    weight = (squares[:, :1] / squares) ** SHARPNESS  # that of the most similar is 1
    density = (np.exp(-0.5 * (apart / SIGMA_DEGREES) ** 2) @ weight[:, :, None])[:, :, 0]
    peak = density.argmax(axis=1)
    near_km = haversine_km(lat, lon, lat[query, peak][:, None], lon[query, peak][:, None])
    snapped = (near_km < SNAP_KM).argmax(axis=1)  # the first is the most similar; the peak itself is one
    return np.stack([lat[query, snapped], lon[query, snapped]], axis=1)
