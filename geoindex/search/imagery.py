"""The image level: the stored images most like a query carry a part of the probability.

The images of the best clusters are looked at, and the nearest of them share a weight by the softmax of their scaled
cosines; cells and clusters share the rest. Weight and scale are those that make the true cells of validation likeliest.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from geoindex.ann import half_products
from geoindex.estimate import Posterior
from geoindex.search.posterior import Ranking

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]

LOOKED_AT = 1024
"""Images of the best clusters that are compared with a query; the last cluster among them is taken whole."""

NEAREST = 200
"""Nearest of them that share the weight."""

SCALES = np.geomspace(5.0, 80.0, 9)
WEIGHTS = np.array([0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7])
"""Scales and weights that are tried. Some weight is always left to the cells."""


class Images(Protocol):
    """The images of an index, each in a cluster."""

    def members(self, cluster: int) -> Rows:
        """Return the images of a cluster."""

    def vectors(self, images: Rows) -> NDArray[np.float16]:
        """Return the embeddings of some images, (n, D)."""

    def places(self, images: Rows) -> tuple[Floats, Floats]:
        """Return latitudes and longitudes of some images in degrees, each (n,)."""


@dataclass(frozen=True, slots=True, eq=False)
class OrderedImages:
    """Images in the order of their clusters, before they are part of a generation.

    Attributes:
        embeddings: (G, D).
        lat, lon: in degrees, (G,).
        first: first image of each cluster, (M + 1,); the last is G.
    """

    embeddings: NDArray[np.float16]
    lat: Floats
    lon: Floats
    first: Rows

    def members(self, cluster: int) -> Rows:
        """Return the images of a cluster."""
        return np.arange(self.first[cluster], self.first[cluster + 1])

    def vectors(self, images: Rows) -> NDArray[np.float16]:
        """Return the embeddings of some images, (n, D)."""
        return self.embeddings[images]

    def places(self, images: Rows) -> tuple[Floats, Floats]:
        """Return latitudes and longitudes of some images in degrees, each (n,)."""
        return self.lat[images], self.lon[images]


@dataclass(frozen=True, slots=True)
class ImageLevel:
    """How much the stored images count.

    Attributes:
        weight: their part of the probability, above 0 and below 1.
        scale: factor on their cosines before the softmax.
    """

    weight: float
    scale: float


@dataclass(frozen=True, slots=True, eq=False)
class Near:
    """The images that are most like a query, the nearest first, each (n,).

    Attributes:
        rows: in the gallery.
        cluster: that holds each.
        cosine: with the query.
    """

    rows: Rows
    cluster: Rows
    cosine: Floats

    @classmethod
    def of(cls, images: Images, ranking: Ranking, query: NDArray[np.float32]) -> "Near":
        """Look for them in the best clusters of a query, (D,)."""
        members, looked_at = [], 0
        for cluster in ranking.clusters.tolist():
            members.append(images.members(cluster))
            looked_at += len(members[-1])
            if looked_at >= LOOKED_AT:
                break
        rows = np.concatenate(members)
        clusters = np.repeat(ranking.clusters[: len(members)], [len(each) for each in members])
        cosine = half_products(images.vectors(rows), query)
        best = np.argsort(-cosine, kind="stable")[:NEAREST]
        return cls(rows[best], clusters[best], cosine[best].astype(np.float64))

    def shares(self, scale: float) -> Floats:
        """Return how they share their weight, (n,)."""
        share = np.exp(scale * (self.cosine - self.cosine[0]))
        return np.asarray(share / share.sum())


def with_images(ranking: Ranking, images: Images, query: NDArray[np.float32], level: ImageLevel | None) -> Posterior:
    """Return the posterior of a query, (D,), with its nearest images as further points, behind all others."""
    posterior = ranking.posterior
    if level is None:
        return posterior
    near = Near.of(images, ranking, query)
    lat, lon = images.places(near.rows)
    share = level.weight * near.shares(level.scale)
    probability = np.concatenate([(1.0 - level.weight) * posterior.probability, share])
    points = np.concatenate([posterior.lat, lat]), np.concatenate([posterior.lon, lon])
    return Posterior(*points, probability, posterior.score)


def fit_image_level(
    near: Sequence[Near], cell_of_cluster: Rows, true_cell: Rows, log_p: Floats, weight: Floats
) -> ImageLevel | None:
    """Find the weight and scale that make the true cells of validation likeliest; None if no weight does.

    Args:
        near: the nearest images of each photo, (V,).
        cell_of_cluster: (M,).
        true_cell: of each photo, (V,).
        log_p: log p of that cell by the cells' own scores, (V,).
        weight: of each photo, (V,): those of one author count as one.
    """
    right = [cell_of_cluster[each.cluster] == cell for each, cell in zip(near, true_cell, strict=True)]
    best, level = float(weight @ log_p), None
    for scale in SCALES.tolist():
        p = np.array([each.shares(scale)[inside].sum() for each, inside in zip(near, right, strict=True)])
        for part in WEIGHTS.tolist():
            nats = float(weight @ np.log((1.0 - part) * np.exp(log_p) + part * p))
            if nats > best:
                best, level = nats, ImageLevel(part, scale)
    return level
