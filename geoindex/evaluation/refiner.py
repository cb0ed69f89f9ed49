"""PIGEON's refiner over the cells, clusters and photos of an index.

Written from the description of Haas, Skreta, Alberti, Finn, "PIGEON: Predicting Image Geolocations" (CVPR 2024), with
the faults of the published program corrected: the photo inside the cluster is the one most like the query, not the one
least like it; an answer too far from the first guess gives way to that guess, not to a cluster of its cell; and what no
photo is left of is passed over, instead of standing at 0, 0.

Embeddings here have length 1, so distances between them are at most 2 and the published temperatures leave prototypes
less say against the cells than they had there.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoindex.ann import NO_CLUSTER, top_columns
from geoindex.geo import haversine_km
from geoindex.search.posterior import CHUNK_QUERIES, Ranking, log_softmax
from geoindex.search.searcher import Searcher

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Refiner:
    """Settings.

    Attributes:
        top_cells: most probable cells that are looked into.
        cap_km: most that an answer may lie from the centroid of the most probable cell.
        temperature: divides the distances from the prototypes before their softmax over those cells.
    """

    top_cells: int
    cap_km: float
    temperature: float

    def points(self, searcher: Searcher, queries: NDArray[np.float32], rankings: Sequence[Ranking]) -> Floats:
        """Answer queries, (Q, D) unit vectors, whose cells are ranked already; (Q, 2) degrees."""
        chunks = [slice(first, first + CHUNK_QUERIES) for first in range(0, len(queries), CHUNK_QUERIES)]
        clusters = np.concatenate([self._clusters(searcher, queries[c], rankings[c]) for c in chunks])
        lat, lon = searcher.sidecar.gallery.places(nearest_members(searcher, queries, clusters))
        guess = np.array([ranking.logits.argmax() for ranking in rankings])
        geography = searcher.geography
        guess_lat, guess_lon = geography.cell_lat[guess], geography.cell_lon[guess]
        near = haversine_km(lat, lon, guess_lat, guess_lon) <= self.cap_km
        return np.stack([np.where(near, lat, guess_lat), np.where(near, lon, guess_lon)], axis=1)

    def _clusters(self, searcher: Searcher, queries: NDArray[np.float32], rankings: Sequence[Ranking]) -> Rows:
        """Return the cluster that each query is put into, (q,)."""
        logits = np.stack([ranking.logits for ranking in rankings]).astype(np.float64)
        cells = top_columns(logits, min(self.top_cells, logits.shape[1]))
        clusters, distance = _closest_prototypes(searcher, queries, cells)
        score = np.take_along_axis(logits, cells, axis=1) + log_softmax(-distance / self.temperature)
        return np.asarray(clusters[np.arange(len(queries)), score.argmax(axis=1)])


PIGEON = Refiner(top_cells=5, cap_km=1000.0, temperature=1.6)
"""As published for Street View."""

PIGEOTTO = Refiner(top_cells=40, cap_km=100_000.0, temperature=0.6)
"""As published for photos of any kind; the cap is more than the Earth has."""


def _closest_prototypes(searcher: Searcher, queries: NDArray[np.float32], cells: Rows) -> tuple[Rows, Floats]:
    """Return the closest cluster with photos in each of some cells of each query, and its distance, (q, k) each."""
    clusters, similarity = searcher.ann.clusters_in(queries, cells)  # (q, k, W)
    held = (clusters != NO_CLUSTER) & (searcher.geography.images[clusters] > 0)
    similarity = np.where(held, similarity, -np.inf)
    best = similarity.argmax(axis=2)[:, :, None]
    closest = np.take_along_axis(clusters, best, axis=2)[:, :, 0]
    found = np.take_along_axis(similarity, best, axis=2)[:, :, 0].astype(np.float64)
    return closest, np.sqrt(np.maximum(2.0 - 2.0 * found, 0.0))


def nearest_members(searcher: Searcher, queries: NDArray[np.float32], clusters: Rows) -> Rows:
    """Return the photo of a cluster, one for each query, (Q,), that is most like the query, (Q, D); (Q,)."""
    gallery, rows = searcher.sidecar.gallery, np.empty(len(clusters), np.int64)
    order = np.argsort(clusters, kind="stable")
    for asking in np.split(order, np.flatnonzero(np.diff(clusters[order])) + 1):
        members = gallery.members(int(clusters[asking[0]]))
        similarity = gallery.vectors(members).astype(np.float32) @ queries[asking].T
        rows[asking] = members[similarity.argmax(axis=0)]
    return rows
