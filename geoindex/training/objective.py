"""What a fit makes small: haversine losses at both levels and the contrastive loss (architecture, on the maths).

The same objective serves stored features and images, one process and many.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import log_softmax

from geoindex import geo
from geoindex.recipe import TrainingRecipe
from geoindex.training import processes
from geoindex.training.classes import Classes, Rows, Truth
from geoindex.training.heads import GeoHead
from geoindex.training.losses import (
    expected_haversine,
    geographic_contrastive,
    haversine_cross_entropy,
    soft_labels,
)
from geoindex.training.sharding import ShardedGeoHead, cluster_head

START_SCALE = 20.0
MAX_CLASSES = 32_768
"""Clusters that a batch is told from; of more, its own, their neighbours and a random sample."""

NEIGHBOURS = 16
"""Nearest clusters of each true one that a sampled batch is always told from."""

LOGITS_AT_ONCE = 2**24
"""Numbers that validation holds at a time: 64 MB a tensor of float32, whatever the number of clusters."""

KM = 1000.0
"""Expected distances are counted in thousands of km, so that their gradients are of the size of the others."""


class Objective(nn.Module):
    """Geo-embeddings as classifiers, and the loss of embeddings whose positions are known."""

    cell_xyz: Tensor
    cluster_xyz: Tensor
    cell_of: Tensor

    def __init__(self, classes: Classes, recipe: TrainingRecipe, scale: float = START_SCALE) -> None:
        super().__init__()
        self.recipe, self.classes = recipe, classes
        self.cells = GeoHead(classes.cell_rows, scale)
        self.clusters = cluster_head(classes.cluster_rows, classes.cell, scale)
        for name, values in (
            ("cell_xyz", geo.to_unit(classes.cell_lat, classes.cell_lon)),
            ("cluster_xyz", geo.to_unit(classes.lat, classes.lon)),
            ("cell_of", classes.cell),
        ):
            self.register_buffer(name, torch.from_numpy(values), persistent=False)
        self.cell_tau_km = recipe.cell_tau_km or _spacing_km(self.cell_xyz)
        self.cluster_tau_km = recipe.cluster_tau_km or _spacing_km(self.cluster_xyz)

    def forward(self, embeddings: Tensor, truth: Truth, random: np.random.Generator) -> Tensor:
        """Return (1 - alpha) haversine at both levels + alpha contrastive, a mean over the batches of all processes.

        Args:
            embeddings: unit vectors, (B, dim).
            truth: of the same images.
            random: of the sample of clusters, where there are many.
        """
        xyz = torch.from_numpy(geo.to_unit(truth.lat, truth.lon)).to(embeddings.device)
        total = (1.0 - self.recipe.alpha) * processes.share_of_mean(self._haversine(embeddings, xyz, truth, random))
        if self.recipe.alpha > 0:
            total = total + self.recipe.alpha * self._contrastive(embeddings, xyz)
        return total

    def _haversine(self, embeddings: Tensor, xyz: Tensor, truth: Truth, random: np.random.Generator) -> Tensor:
        """Return the losses of both levels together, (B,)."""
        cells = self._level(self.cells, embeddings, xyz, self.cell_xyz, truth.cell, self.cell_tau_km, None)
        some = self._candidates(truth.cluster, random)
        true = truth.cluster if some is None else np.searchsorted(some, truth.cluster)
        centroids = self.cluster_xyz if some is None else self.cluster_xyz[some]
        return cells + self._level(self.clusters, embeddings, xyz, centroids, true, self.cluster_tau_km, some)

    def _level(
        self, head: GeoHead, embeddings: Tensor, xyz: Tensor, centroids: Tensor, true: Rows, tau_km: float,
        some: Rows | None,
    ) -> Tensor:  # fmt: skip
        distance_km = distances_km(xyz, centroids)
        logits = head(embeddings, None if some is None else torch.from_numpy(some).to(embeddings.device))
        if self.recipe.loss == "expected_km":
            return expected_haversine(logits, distance_km) / KM
        own_km = distance_km.gather(1, torch.from_numpy(true).to(embeddings.device)[:, None])[:, 0]
        return haversine_cross_entropy(logits, soft_labels(distance_km, own_km, tau_km))

    def _contrastive(self, embeddings: Tensor, xyz: Tensor) -> Tensor:
        """Compare with the batches of all processes, so that the loss is that of one large batch."""
        (others, first), (places, _) = processes.gather(embeddings), processes.gather(xyz)
        own = torch.arange(first, first + len(embeddings), device=embeddings.device)
        same = own[:, None] == torch.arange(len(others), device=embeddings.device)
        losses = geographic_contrastive(
            embeddings, others, distances_km(xyz, places), same, self.recipe.temperature, self.recipe.lambda_km
        )
        return processes.share_of_mean(losses)

    def _candidates(self, true: Rows, random: np.random.Generator) -> Rows | None:
        """Return the clusters that a batch is told from, ascending; None for all."""
        count = len(self.cluster_xyz)
        if count <= MAX_CLASSES:
            return None
        own = np.unique(true)
        near = self._tree().query(self.cluster_xyz[own].cpu().numpy(), k=NEIGHBOURS)[1].ravel()
        return np.unique(np.concatenate([own, near, random.integers(count, size=MAX_CLASSES)]))

    def _tree(self) -> Any:
        if not hasattr(self, "_near"):
            self._near = _tree(self.cluster_xyz)
        return self._near

    @torch.no_grad()
    def most_probable(self, embeddings: Tensor) -> Rows:
        """Return the cluster with the largest p(c) p(m|c) of unit vectors (B, dim), (B,)."""
        if isinstance(self.clusters, ShardedGeoHead):
            return self._most_probable_of_shards(embeddings, self.clusters)
        return self._in_parts(embeddings, self.clusters, slice(None))[0]

    def _most_probable_of_shards(self, embeddings: Tensor, head: ShardedGeoHead) -> Rows:
        """Answer with the best of all processes, each of which looks at its own clusters for the images of all."""
        everyones, first = processes.gather(embeddings)
        best, log_p = self._in_parts(everyones, head.own_logits, slice(head.first, head.last))
        shape = processes.count(), len(everyones)
        bests, log_ps = (processes.gather_rows(each).reshape(shape) for each in (best + head.first, log_p))
        own = slice(first, first + len(embeddings))
        return np.asarray(np.take_along_axis(bests, log_ps.argmax(axis=0)[None], axis=0)[0, own], np.int64)

    def _in_parts(
        self, embeddings: Tensor, head: Callable[[Tensor], Tensor], part: slice
    ) -> tuple[Rows, NDArray[np.float32]]:
        """Return the best of a part of the clusters, which holds whole cells, and its log p, each (B,)."""
        cell_of = self.cell_of[part]
        if len(cell_of) == 0:
            return np.zeros(len(embeddings), np.int64), np.full(len(embeddings), -np.inf, np.float32)
        size = max(1, LOGITS_AT_ONCE // len(cell_of))
        best, log_p = [np.zeros(0, np.int64)], [np.zeros(0, np.float32)]
        for first in range(0, len(embeddings), size):
            some = embeddings[first : first + size]
            values, rows = self._log_p(some, head(some), cell_of).max(dim=1)
            best.append(rows.cpu().numpy())
            log_p.append(values.cpu().numpy())
        return np.concatenate(best), np.concatenate(log_p)

    def _log_p(self, embeddings: Tensor, logits: Tensor, cell_of: Tensor) -> Tensor:
        """Return log p(c) p(m|c) of clusters with logits, (B, K), in cells, (K,)."""
        log_cell = log_softmax(self.cells(embeddings), dim=1)
        group = cell_of.expand(len(logits), -1)
        high = torch.full_like(log_cell, -torch.inf).scatter_reduce(1, group, logits, "amax")
        total = torch.zeros_like(log_cell).scatter_add(1, group, (logits - high[:, cell_of]).exp())
        spread = high[:, cell_of] + total[:, cell_of].log()
        return log_cell[:, cell_of] + logits - spread

    def geo_embeddings(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return those of cells and clusters as unit vectors, (C, dim) and (M, dim); all processes call it together.

        Where clusters are shared out, the first process gets them all.
        """
        return self.cells.geo_embeddings(), self.clusters.geo_embeddings()


def distances_km(a: Tensor, b: Tensor) -> Tensor:
    """Return distances between unit vectors, (A, 3) and (B, 3), in km, (A, B) float32."""
    chord = torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")  # the quick way is off by kilometres
    return (2.0 * geo.EARTH_RADIUS_KM * torch.arcsin((chord / 2.0).clamp(max=1.0))).float()


def _tree(xyz: Tensor) -> Any:
    from scipy.spatial import KDTree

    return KDTree(xyz.cpu().numpy())


def _spacing_km(xyz: Tensor) -> float:
    """Return the median distance from a centroid to the nearest other one: the default of a level's tau."""
    if len(xyz) < 2:
        return geo.HALF_CIRCUMFERENCE_KM
    chord = _tree(xyz).query(xyz.cpu().numpy(), k=2)[0][:, 1]
    return max(1.0, float(np.median(geo.chord_to_km(chord))))
