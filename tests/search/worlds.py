"""Cells and clusters with random geo-embeddings."""

import numpy as np

from geoindex.ann import TwoStageIndex
from geoindex.search.posterior import Breadth, Geography, Ranker, Scales

DIM = 8


def unit(rng, *shape):
    vectors = rng.standard_normal(shape).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


class World:
    """Cells and clusters with random geo-embeddings at random places; every cell has a cluster."""

    def __init__(self, seed, n_cells=9, n_clusters=40):
        rng = self.rng = np.random.default_rng(seed)
        self.cells, self.clusters = unit(rng, n_cells, DIM), unit(rng, n_clusters, DIM)
        self.cell_of = np.sort(np.concatenate([np.arange(n_cells), rng.integers(0, n_cells, n_clusters - n_cells)]))
        self.images = rng.integers(1, 50, n_clusters)
        self.cell_images = np.bincount(self.cell_of, self.images).astype(np.int64)
        self.geography = Geography(
            rng.uniform(-80, 80, n_cells), rng.uniform(-180, 180, n_cells), self.cell_images,
            rng.uniform(-80, 80, n_clusters), rng.uniform(-180, 180, n_clusters), self.images, self.cell_of,
        )  # fmt: skip
        self.ann = TwoStageIndex.build(self.cells, self.clusters, self.cell_of)

    def probabilities(self, query, scales):
        """p(c) of every cell and p(m) of every cluster, written out from their definitions."""
        cell_weight = np.exp(scales.cell * (self.cells.astype(float) @ query))
        weight = np.exp(scales.cluster * (self.clusters.astype(float) @ query))
        if scales.prior:
            cell_weight, weight = cell_weight * self.cell_images, weight * self.images
        p_cell = cell_weight / cell_weight.sum()
        within = weight / np.bincount(self.cell_of, weight)[self.cell_of]
        return p_cell, p_cell[self.cell_of] * within

    def planted(self, count, scale_cell, scale_cluster, prior=False):
        """Queries whose true cells and clusters are drawn from the posterior of these scales."""
        queries = unit(self.rng, count, DIM)
        _, p = zip(*(self.probabilities(q, Scales(scale_cell, scale_cluster, prior)) for q in queries), strict=True)
        cluster = np.array([self.rng.choice(len(row), p=row / row.sum()) for row in p])
        return queries, self.cell_of[cluster], cluster

    def rank(self, scales, queries, top_cells, **options):
        """Rankings of queries."""
        ranker = Ranker.of(self.ann, self.geography, scales, options.pop("inside", None))
        return ranker.rank(queries, Breadth(top_cells, **options))
