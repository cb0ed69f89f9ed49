"""Members -> geo-embeddings: what the cells and clusters of a gallery are, by their images.

A prototype is the normalised mean of member embeddings. Sums and counts are kept, so that adding or removing
an image changes a prototype exactly.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoindex.geo import group_means, haversine_km

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Groups:
    """Cells, or clusters, as their members make them.

    Attributes:
        lat, lon: centroids in degrees, (G,).
        n_images: members, (G,).
        radius_km, radius95_km: distance from the centroid that holds 68 % and 95 % of the members, (G,).
        embedding: prototypes, (G, D) unit vectors.
        embedding_sum: sums of member embeddings, (G, D).
    """

    lat: Floats
    lon: Floats
    n_images: NDArray[np.int64]
    radius_km: Floats
    radius95_km: Floats
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
    count = len(embedding_sum)
    mean_lat, mean_lon = group_means(lat, lon, group, count)
    first = np.full(count, -1)
    first[group[::-1]] = np.arange(len(group))[::-1]
    # members that cancel out, such as two antipodes, have no mean: the first stands for them
    mean_lat = np.where(np.isnan(mean_lat), lat[first], mean_lat)
    mean_lon = np.where(np.isnan(mean_lon), lon[first], mean_lon)
    distance_km = haversine_km(lat, lon, mean_lat[group], mean_lon[group])
    return Groups(
        mean_lat,
        mean_lon,
        np.bincount(group, minlength=count),
        group_quantile(distance_km, group, count, 0.68),
        group_quantile(distance_km, group, count, 0.95),
        normalise(embedding_sum).astype(np.float32),
        embedding_sum,
    )


def sum_slices(embeddings: NDArray[np.float16], first: NDArray[np.int64], count: NDArray[np.int64]) -> Floats:
    """Return the sum of each slice `embeddings[first : first + count]`, (G, D) in float64."""
    sums = [embeddings[a : a + n].sum(axis=0, dtype=np.float64) for a, n in zip(first, count, strict=True)]
    return np.stack(sums)


def group_quantile(values: Floats, group: NDArray[np.int64], count: int, share: float) -> Floats:
    """Return for each group the smallest member value that at least `share` of the members do not exceed."""
    order = np.lexsort((values, group))
    size = np.bincount(group, minlength=count)
    first = np.cumsum(size) - size
    # 0.68 * 75 is a hair above 51: without the margin the 52nd of 75 would stand for the 51st
    held = np.ceil(share * size - 1e-9).astype(np.int64)
    return np.asarray(values[order][first + held - 1])


def normalise(vectors: Floats) -> Floats:
    """Return unit vectors, (N, D); a zero vector stays zero."""
    norm = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(np.divide(vectors, norm, out=np.zeros_like(vectors), where=norm > 0))
