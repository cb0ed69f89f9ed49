"""Query vector -> ranked candidates: top-k geocells, then every cluster in them, with probabilities.

p(c) is the softmax of scaled cell scores over all cells, p(m|c) the softmax of scaled cluster scores inside
the cell, p(m) = p(c) p(m|c). With the prior on, cells and clusters also weigh by their share of the gallery.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoindex.ann import NO_CLUSTER, TwoStageIndex, top_columns
from geoindex.estimate import Posterior

Floats = NDArray[np.float64]

DEFAULT_SCALE = 20.0
"""Logit scale where validation cannot fit one: a cosine 0.05 higher makes a cell e times likelier."""

SCALE_BOUNDS = (0.1, 500.0)
CHUNK_QUERIES = 256


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
    """

    cell_lat: Floats
    cell_lon: Floats
    cell_images: NDArray[np.int64]
    lat: Floats
    lon: Floats
    images: NDArray[np.int64]
    cell: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Ranking:
    """What the search says of one query.

    Attributes:
        clusters: clusters of the probed cells by falling probability, (K,).
        scores: cosine with each, (K,).
        probability: p(m) of each, (K,).
        posterior: the same with the unprobed cells behind, for the rules of estimation.
    """

    clusters: NDArray[np.int64]
    scores: Floats
    probability: Floats
    posterior: Posterior


def rank_clusters(
    ann: TwoStageIndex, geography: Geography, scales: Scales, queries: NDArray[np.float32], top_cells: int
) -> list[Ranking]:
    """Rank the clusters of the `top_cells` most probable cells for each query, (Q, D) unit vectors."""
    rankings: list[Ranking] = []
    for start in range(0, len(queries), CHUNK_QUERIES):
        chunk = queries[start : start + CHUNK_QUERIES]
        log_cells = cell_log_probability(ann.cell_scores(chunk), geography, scales)
        # not by score: with the prior on, the most probable cluster is often in a cell that scores lower
        clusters, scores = ann.clusters_in(chunk, top_columns(log_cells, top_cells))
        # one that lost its last photo is no answer
        for row, found in enumerate((clusters != NO_CLUSTER) & (geography.images[clusters] > 0)):
            kept = scores[row, found].astype(np.float64)
            rankings.append(_rank(clusters[row, found], kept, log_cells[row], geography, scales))
    return rankings


def cell_log_probability(scores: NDArray[np.float32], geography: Geography, scales: Scales) -> Floats:
    """Return log p(c) for every cell, (Q, C)."""
    logits = scales.cell * scores.astype(np.float64)
    if scales.prior:
        logits = logits + np.log(np.maximum(geography.cell_images, 1))
    logits[:, geography.cell_images == 0] = -np.inf  # no photo, no chance
    return _log_softmax(logits)


def _log_softmax(logits: Floats) -> Floats:
    logits = logits - logits.max(axis=-1, keepdims=True)
    return np.asarray(logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True)))


def _rank(
    clusters: NDArray[np.int64], scores: Floats, log_cells: Floats, geography: Geography, scales: Scales
) -> Ranking:
    log_p = log_cells[geography.cell[clusters]] + _log_within(clusters, scores, geography, scales)
    order = np.argsort(-log_p, kind="stable")
    clusters, scores, probability = clusters[order], scores[order], np.exp(log_p[order])
    unprobed = geography.cell_images > 0
    unprobed[geography.cell[clusters]] = False
    posterior = Posterior(
        np.concatenate([geography.lat[clusters], geography.cell_lat[unprobed]]),
        np.concatenate([geography.lon[clusters], geography.cell_lon[unprobed]]),
        np.concatenate([probability, np.exp(log_cells[unprobed])]),
        scores,
    )
    return Ranking(clusters, scores, probability, posterior)


def _log_within(clusters: NDArray[np.int64], scores: Floats, geography: Geography, scales: Scales) -> Floats:
    """Return log p(m|c) of the clusters, which are all those of their cells."""
    logits = scales.cluster * scores
    if scales.prior:
        logits = logits + np.log(geography.images[clusters])
    cells, group = np.unique(geography.cell[clusters], return_inverse=True)
    highest = np.full(len(cells), -np.inf)
    np.maximum.at(highest, group, logits)
    total = np.bincount(group, np.exp(logits - highest[group]), len(cells))
    return np.asarray(logits - (highest + np.log(total))[group])


@dataclass(frozen=True, slots=True)
class ScaleFit:
    """Scales fitted on validation.

    Attributes:
        scales: the fitted scales.
        queries: validation queries that were used.
        cell_nats, cluster_nats: mean -log p of the true cell, and of the true cluster inside it.
        cell_nats_uniform: the same for equally likely cells, the floor.
    """

    scales: Scales
    queries: int
    cell_nats: float
    cluster_nats: float
    cell_nats_uniform: float


def fit_scales(
    ann: TwoStageIndex,
    geography: Geography,
    queries: NDArray[np.float32],
    cell_of: NDArray[np.int64],
    cluster_of: NDArray[np.int64],
    prior: bool | None,
) -> ScaleFit:
    """Find the scales that make the true cells and clusters of validation queries likeliest.

    Args:
        ann: the index.
        geography: of its cells and clusters.
        queries: embeddings, (Q, D).
        cell_of: the true cell of each, (Q,).
        cluster_of: the true cluster of each, (Q,).
        prior: on, off, or None: whichever makes the true cells likelier.
    """
    cells = ann.cell_scores(queries)
    clusters, scores = ann.clusters_in(queries, cell_of[:, None])  # (Q, K), all those of the true cell
    inside = np.where(clusters == NO_CLUSTER, -np.inf, scores.astype(np.float64))
    share = np.log(geography.images[clusters])
    true_column = (clusters == cluster_of[:, None]).argmax(axis=1)

    def fit(prior: bool) -> ScaleFit:
        def cell_nats(scale: float) -> float:
            return _nats(cell_log_probability(cells, geography, Scales(cell=scale, prior=prior)), cell_of)

        def cluster_nats(scale: float) -> float:
            return _nats(_log_softmax(scale * inside + prior * share), true_column)

        cell, cluster = _minimise(cell_nats), _minimise(cluster_nats)
        uniform = float(np.log(cells.shape[1]))
        return ScaleFit(Scales(cell, cluster, prior), len(cells), cell_nats(cell), cluster_nats(cluster), uniform)

    return min(map(fit, [False, True] if prior is None else [prior]), key=lambda found: found.cell_nats)


def _nats(log_probability: Floats, column: NDArray[np.int64]) -> float:
    """Return the mean of -log p in one column of each row."""
    return -float(log_probability[np.arange(len(column)), column].mean())


def _minimise(loss: Callable[[float], float]) -> float:
    from scipy.optimize import minimize_scalar

    low, high = np.log(SCALE_BOUNDS)
    found = minimize_scalar(lambda x: loss(float(np.exp(x))), bounds=(low, high), method="bounded")
    return float(np.exp(found.x))
