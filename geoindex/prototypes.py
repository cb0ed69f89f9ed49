"""Members -> geo-embeddings: what the cells and clusters of a gallery are, by their images.

A prototype is the normalised mean of member embeddings. Sums and counts are kept, so that adding or removing
an image changes a prototype exactly.
"""

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from geoindex.geocells.footprints import Footprints, footprints
from geoindex.geocells.positions import Floats

ROWS = 16_384
"""Groups that are normalised at a time: their sums are float64, and many."""


@dataclass(frozen=True, slots=True, eq=False)
class Groups(Footprints):
    """Cells, or clusters, as their members make them.

    Attributes:
        embedding: prototypes, (G, D) unit vectors.
        embedding_sum: sums of member embeddings, (G, D).
    """

    embedding: NDArray[np.float32]
    embedding_sum: Floats


def describe_groups(lat: Floats, lon: Floats, group: NDArray[np.int64], embedding_sum: Floats) -> Groups:
    """Describe groups by the positions of their members and the sums of their embeddings.

    Args:
        lat: of the members in degrees, (N,).
        lon: likewise.
        group: the group of each member, (N,); every group 0..G-1 has one.
        embedding_sum: (G, D).
    """
    places = footprints(lat, lon, group, len(embedding_sum))
    facts = {entry.name: getattr(places, entry.name) for entry in fields(places)}
    embedding = np.zeros(embedding_sum.shape, np.float32)
    for start in range(0, len(embedding), ROWS):
        embedding[start : start + ROWS] = normalise(embedding_sum[start : start + ROWS])
    return Groups(**facts, embedding=embedding, embedding_sum=embedding_sum)


def sum_slices(embeddings: NDArray[np.float16], first: NDArray[np.int64], count: NDArray[np.int64]) -> Floats:
    """Return the sum of each slice `embeddings[first : first + count]`, (G, D) in float64."""
    sums = np.empty((len(first), embeddings.shape[1]))
    for row, (start, members) in enumerate(zip(first, count, strict=True)):
        embeddings[start : start + members].sum(axis=0, dtype=np.float64, out=sums[row])
    return sums


def normalise(vectors: Floats) -> Floats:
    """Return unit vectors, (N, D); a zero vector stays zero."""
    norm = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(np.divide(vectors, norm, out=np.zeros_like(vectors), where=norm > 0))
