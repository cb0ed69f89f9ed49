"""Scales of the posterior, fitted on validation: what makes the true cells and clusters likeliest."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoindex.ann import NO_CLUSTER, TwoStageIndex
from geoindex.search.posterior import Floats, Geography, Scales, Weights, log_softmax

SCALE_BOUNDS = (0.1, 500.0)


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
    weight: Floats | None = None,
) -> ScaleFit:
    """Find the scales that make the true cells and clusters of validation queries likeliest.

    Args:
        ann: the index.
        geography: of its cells and clusters.
        queries: embeddings, (Q, D).
        cell_of: the true cell of each, (Q,).
        cluster_of: the true cluster of each, (Q,).
        prior: on, off, or None: whichever makes the true cells likelier.
        weight: of each query, (Q,): those of one author count as one; None: all the same.
    """
    cells = ann.cells.exact(queries).astype(np.float64)
    # those of the true cell, (Q, W)
    clusters, scores = (found[:, 0] for found in ann.clusters_in(queries, cell_of[:, None]))
    inside = np.where(clusters == NO_CLUSTER, -np.inf, scores.astype(np.float64))
    true_column = (clusters == cluster_of[:, None]).argmax(axis=1)

    share = np.full(len(cells), 1.0 / len(cells)) if weight is None else weight / weight.sum()

    def fit(prior: bool) -> ScaleFit:
        weights = Weights.of(geography, prior)

        def cell_nats(scale: float) -> float:
            return _nats(log_softmax(scale * cells + weights.cell), cell_of, share)

        def cluster_nats(scale: float) -> float:
            return _nats(log_softmax(scale * inside + weights.cluster[clusters]), true_column, share)

        cell, cluster = _minimise(cell_nats), _minimise(cluster_nats)
        uniform = float(np.log(cells.shape[1]))
        return ScaleFit(Scales(cell, cluster, prior), len(cells), cell_nats(cell), cluster_nats(cluster), uniform)

    return min(map(fit, [False, True] if prior is None else [prior]), key=lambda found: found.cell_nats)


def _nats(log_probability: Floats, column: NDArray[np.int64], share: Floats) -> float:
    """Return the mean of -log p in one column of each row, each row by its share."""
    return -float(share @ log_probability[np.arange(len(column)), column])


def _minimise(loss: Callable[[float], float]) -> float:
    from scipy.optimize import minimize_scalar

    low, high = np.log(SCALE_BOUNDS)
    found = minimize_scalar(lambda x: loss(float(np.exp(x))), bounds=(low, high), method="bounded")
    return float(np.exp(found.x))
