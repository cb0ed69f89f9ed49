"""Query vector -> ranked candidates: top-k geocells, then every cluster in them, with probabilities.

p(c) is the softmax of scaled cell scores over all cells, p(m|c) the softmax of scaled cluster scores inside
the cell, p(m) = p(c) p(m|c). With the prior on, cells and clusters also weigh by their share of the gallery.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoindex.ann import NO_CLUSTER, TwoStageIndex
from geoindex.estimate import Posterior
from geoindex.lookahead import available_cores
from geoindex.search.first_stage import LEAST, FirstStage

Floats = NDArray[np.float64]

DEFAULT_SCALE = 20.0
"""Logit scale where validation cannot fit one: a cosine 0.05 higher makes a cell e times likelier."""

TINY = np.finfo(np.float64).tiny
CHUNK_QUERIES = 64
"""Queries that one thread answers together, where their clusters take no more than `CHUNK_BYTES`."""

RANKED_TOGETHER = 256
"""Rankings that are held at a time by whoever goes through many: one knows every cell, and its posterior too."""

CHUNK_BYTES, ENTRY_BYTES = 2**27, 40
"""Memory of a thread, and what a cluster of a probed cell takes of it: number, score, log p, and their order."""


@dataclass(frozen=True, slots=True)
class Scales:
    """How scores become probabilities.

    Attributes:
        cell, cluster: factors on cosines before the softmax of each level.
        prior: whether the gallery's density counts.
    """

    cell: float = DEFAULT_SCALE
    cluster: float = DEFAULT_SCALE
    prior: bool = False


@dataclass(frozen=True, slots=True)
class Geography:
    """Where cells and clusters lie and how many images they hold.

    Attributes:
        cell_lat, cell_lon, cell_images: (C,).
        lat, lon, images, cell: of the clusters, (M,), ordered by cell.
        stand_in: the cluster at whose place a cell lies, (C,), -1 where that is the cell's own centroid.
    """

    cell_lat: Floats
    cell_lon: Floats
    cell_images: NDArray[np.int64]
    lat: Floats
    lon: Floats
    images: NDArray[np.int64]
    cell: NDArray[np.int64]
    stand_in: NDArray[np.int64] | None = None

    def within(self, inside: NDArray[np.bool_]) -> "Geography":
        """Return it with cells that are inside in part where the largest of their clusters inside, (M,), is."""
        whole = np.bincount(self.cell, ~inside & (self.images > 0), len(self.cell_lat)) == 0
        rows = np.flatnonzero(inside & ~whole[self.cell])
        rows = rows[np.lexsort((-self.images[rows], self.cell[rows]))]
        cells, first = np.unique(self.cell[rows], return_index=True)
        stand_in = np.full(len(self.cell_lat), -1)
        stand_in[cells] = rows[first]
        moved = stand_in >= 0
        lat = np.where(moved, self.lat[stand_in], self.cell_lat)
        lon = np.where(moved, self.lon[stand_in], self.cell_lon)
        return replace(self, cell_lat=lat, cell_lon=lon, stand_in=stand_in)


@dataclass(frozen=True, slots=True)
class Weights:
    """What is added to the logits of cells and clusters before the softmax of their level.

    Attributes:
        cell: (C,); -inf for a cell that cannot be the answer.
        cluster: (M,); -inf likewise.
        held: images of each cell that may be the answer, (C,).
    """

    cell: NDArray[np.float32]
    cluster: NDArray[np.float32]
    held: Floats

    @classmethod
    def of(cls, geography: Geography, prior: bool, inside: NDArray[np.bool_] | None = None) -> "Weights":
        """Weigh by what each holds of the gallery.

        Args:
            geography: of the index.
            prior: whether cells and clusters with more photos are likelier.
            inside: the clusters that may be the answer, (M,); None: all. A cell of which some may counts by the share
                of its photos that they hold.
        """
        images = geography.images if inside is None else np.where(inside, geography.images, 0)
        held = np.bincount(geography.cell, weights=images, minlength=len(geography.cell_images)).astype(np.float64)
        with np.errstate(divide="ignore"):  # no photo, no chance
            cell, cluster = np.log(held, dtype=np.float32), np.log(images, dtype=np.float32)
        if not prior:
            cell -= np.log(np.maximum(geography.cell_images, 1), dtype=np.float32)
            cluster[images > 0] = 0.0
        return cls(cell, cluster, held)

    @property
    def open_nats(self) -> float:
        """Entropy over the cells of a photo that could be anywhere: by the images there or, if less, by the weights."""
        weight = np.exp(self.cell.astype(np.float64))
        return min(_entropy(self.held), _entropy(weight)) if self.held.any() else 0.0


def _entropy(weight: Floats) -> float:
    """Return the entropy of shares in proportion to weights, one of them above 0, in nats."""
    share = weight[weight > 0] / weight.sum()
    return -float((share * np.log(share)).sum())


@dataclass(frozen=True)
class Ranking:
    """What the search says of one query.

    Attributes:
        clusters: clusters of the probed cells by falling probability, (K,).
        scores: cosine with each, (K,).
        probability: p(m) of each, (K,).
        logits: of every cell, (C,).
        log_total: log of the sum of their exponentials.
        geography: where they lie.
        open_nats: entropy of a photo that could be anywhere, as the gallery's images lie in the cells.
    """

    clusters: NDArray[np.int64]
    scores: NDArray[np.float32]
    probability: Floats
    logits: NDArray[np.float32]
    log_total: float
    geography: Geography
    open_nats: float

    @cached_property
    def possible(self) -> NDArray[np.bool_]:
        """Whether each cell may be the answer, (C,)."""
        return np.isfinite(self.logits)

    @cached_property
    def unprobed(self) -> NDArray[np.int64]:
        """The cells that may be the answer and were not probed, (U,)."""
        left = self.possible.copy()
        left[self.geography.cell[self.clusters]] = False
        return np.flatnonzero(left)

    @property
    def locatability(self) -> float:
        """How much the photo tells: 0 for cells as open as the gallery's own, "anywhere", to 1 for a single one.

        It is 1 less the entropy of the cells in that of the gallery's images over them.
        """
        log_p = self.logits[self.possible].astype(np.float64) - self.log_total
        nats = -float((np.exp(log_p) * log_p).sum())
        return min(max(1.0 - nats / self.open_nats, 0.0), 1.0) if self.open_nats > 0.0 else 1.0

    @cached_property
    def posterior(self) -> Posterior:
        """Where the photo may have been taken: the clusters, and the unprobed cells behind, for the rules."""
        clusters, cells, geography = self.clusters, self.unprobed, self.geography
        return Posterior(
            np.concatenate([geography.lat[clusters], geography.cell_lat[cells]]),
            np.concatenate([geography.lon[clusters], geography.cell_lon[cells]]),
            np.concatenate([self.probability, np.exp(self.logits[cells] - self.log_total)]),
            self.scores.astype(np.float64),
        )


@dataclass(frozen=True, slots=True)
class Breadth:
    """How far a search looks.

    Attributes:
        top_cells: most cells that are probed.
        top_p: fewer are probed once they hold this share of the probability.
    """

    top_cells: int
    top_p: float = 1.0


@dataclass(frozen=True)
class Ranker:
    """Ranks clusters for queries.

    Attributes:
        ann: geo-embeddings of cells and clusters.
        geography: where they lie.
        scales: how scores become probabilities.
        weights: what is added to the logits.
    """

    ann: TwoStageIndex
    geography: Geography
    scales: Scales
    weights: Weights

    @classmethod
    def of(
        cls, ann: TwoStageIndex, geography: Geography, scales: Scales, inside: NDArray[np.bool_] | None = None
    ) -> "Ranker":
        """Return one that answers with all clusters, or with those inside, (M,)."""
        weights = Weights.of(geography, scales.prior, inside)
        return cls(ann, geography if inside is None else geography.within(inside), scales, weights)

    @cached_property
    def open_nats(self) -> float:
        """Entropy of a photo that could be anywhere."""
        return self.weights.open_nats

    def rank(self, queries: NDArray[np.float32], breadth: Breadth) -> list[Ranking]:
        """Rank the clusters of the most probable cells for each query, (Q, D) unit vectors.

        A cell is chosen by its exact probability. p(c) of the others rests on scores that may be off by the bound of
        `CellScan.estimate`, up to 0.018 of a cosine, and so may log p of all by that times the scale; typically by a
        tenth of it.
        """
        size = self._chunk_queries(breadth.top_cells)
        chunks = [queries[start : start + size] for start in range(0, len(queries), size)]
        if len(chunks) < 2:
            return [ranking for chunk in chunks for ranking in self._rank_chunk(chunk, breadth)]
        with ThreadPoolExecutor(available_cores(), initializer=_one_thread) as pool:
            done = pool.map(lambda chunk: self._rank_chunk(chunk, breadth), chunks)
            return [ranking for chunk in done for ranking in chunk]

    def _chunk_queries(self, top_cells: int) -> int:
        """Return how many queries a thread answers together, in about `CHUNK_BYTES` at the most."""
        longest = int(self.ann.list_sizes.max(initial=1))
        a_query = min(top_cells, self.ann.n_cells) * (4 * self.ann.dim + ENTRY_BYTES * longest)
        return min(CHUNK_QUERIES, max(1, CHUNK_BYTES // a_query))

    def _rank_chunk(self, queries: NDArray[np.float32], breadth: Breadth) -> list[Ranking]:
        cells = self._first_stage.probe(np.float32(self.scales.cell) * queries, breadth.top_cells, breadth.top_p)
        clusters, scores = self.ann.clusters_in(queries, cells.probed)
        log_p = (self._log_within(clusters, scores) + cells.log_p[:, :, None]).reshape(len(queries), -1)
        clusters, scores = clusters.reshape(log_p.shape), scores.reshape(log_p.shape)
        row, order = np.arange(len(queries))[:, None], np.argsort(-log_p, axis=1)
        ranked = log_p[row, order]
        _order_ties(order, ranked, clusters)
        clusters, scores, log_p = clusters[row, order], scores[row, order], ranked
        # those without a chance come last: the empty ends of lists, and clusters without a photo
        found, probability = np.isfinite(log_p).sum(axis=1).tolist(), np.exp(log_p)
        return [
            Ranking(clusters[q, :n], scores[q, :n], probability[q, :n], cells.logits[q], cells.log_total[q],
                    self.geography, self.open_nats)
            for q, n in enumerate(found)
        ]  # fmt: skip

    @cached_property
    def _first_stage(self) -> FirstStage:
        return FirstStage(self.ann.cells, self.weights.cell)

    def _log_within(self, clusters: NDArray[np.int64], scores: NDArray[np.float32]) -> Floats:
        """Return log p(m|c) of the clusters of the probed cells, (Q, k, W)."""
        logits = self.scales.cluster * scores.astype(np.float64)
        logits += self.weights.cluster[clusters]
        logits[clusters == NO_CLUSTER] = -np.inf
        return log_softmax(logits)


def _order_ties(order: NDArray[np.int64], ranked: Floats, clusters: NDArray[np.int64]) -> None:
    """Let clusters of the same log p come by their number.

    Args:
        order: by falling log p, (Q, N); changed where there are ties.
        ranked: log p in that order, (Q, N).
        clusters: (Q, N), not in it.
    """
    tied = (ranked[:, 1:] == ranked[:, :-1]) & (ranked[:, 1:] > -np.inf)
    if not tied.any():
        return  # sorting by both is slow, and ties are rare
    for q in np.flatnonzero(tied.any(axis=1)):
        order[q] = order[q][np.lexsort((clusters[q][order[q]], -ranked[q]))]


def _one_thread() -> None:
    """Keep FAISS to the thread that calls it: the chunks of a batch share the cores."""
    import faiss

    faiss.omp_set_num_threads(1)


def log_softmax(logits: NDArray[Any]) -> NDArray[Any]:
    """Return log p of the last axis; -inf where nothing has a chance."""
    logits = logits - np.maximum(logits.max(axis=-1, keepdims=True, initial=-np.inf), LEAST)
    total = np.exp(logits).sum(axis=-1, keepdims=True)
    return np.asarray(logits - np.log(np.maximum(total, TINY)))
