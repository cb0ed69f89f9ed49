"""Geo-embeddings from stored features: a projection and the heads are fitted, the encoder stays as it is.

Minutes instead of hours, and no new pass over the images. The epoch with the best validation GeoScore is kept, the
prototypes that the fit starts from included, so the fit is never worse than they are on validation.
"""

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import log_softmax

from geoindex import geo
from geoindex.encoder.projection import Projection
from geoindex.metrics import geoscore
from geoindex.progress import Progress
from geoindex.recipe import TrainingRecipe
from geoindex.training.batches import place_batches
from geoindex.training.heads import GeoHead, LinearEmbedding
from geoindex.training.losses import geographic_contrastive, haversine_cross_entropy, soft_labels

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]

START_SCALE = 20.0
WARM_UP = 0.1
"""Share of the steps in which the learning rate grows."""

MAX_CLASSES = 32_768
"""Clusters that a batch is told from; of more, its own, their neighbours and a random sample."""

NEIGHBOURS = 16
"""Nearest clusters of each true one that a sampled batch is always told from."""


@dataclass(frozen=True, slots=True)
class LabelledFeatures:
    """Images that are fitted or validated on.

    Attributes:
        features: of the backbone, (N, D) float16.
        lat, lon: degrees, (N,).
        cell, cluster: the true ones, (N,).
    """

    features: NDArray[np.float16]
    lat: Floats
    lon: Floats
    cell: Rows
    cluster: Rows


@dataclass(frozen=True, slots=True)
class Classes:
    """Cells and clusters as classes.

    Attributes:
        cell_lat, cell_lon: centroids in degrees, (C,).
        lat, lon, cell: of the clusters, (M,).
        cell_rows, cluster_rows: prototypes under the starting projection, (C, dim) and (M, dim).
    """

    cell_lat: Floats
    cell_lon: Floats
    lat: Floats
    lon: Floats
    cell: Rows
    cell_rows: NDArray[np.float32]
    cluster_rows: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Trained:
    """What a fit ends with.

    Attributes:
        projection: features to embeddings.
        cells, clusters: geo-embeddings, (C, dim) and (M, dim).
        history: one row an epoch; row 0 are the prototypes.
        best_epoch: the one that was kept.
    """

    projection: Projection
    cells: NDArray[np.float32]
    clusters: NDArray[np.float32]
    history: list[dict[str, Any]]
    best_epoch: int


def fit_features(
    gallery: LabelledFeatures, validation: LabelledFeatures, classes: Classes, start: Projection,
    recipe: TrainingRecipe, seed: int,
) -> Trained:  # fmt: skip
    """Fit projection and heads on the gallery's features.

    Args:
        gallery: what is learned from.
        validation: what chooses the epoch; if it is empty, the last one is taken.
        classes: cells and clusters.
        start: projection to start from.
        recipe: losses, rates and epochs.
        seed: of the order of images.
    """
    fit = _Fit(gallery, validation, classes, start, recipe, seed)
    best, best_epoch = copy.deepcopy(fit.model.state_dict()), 0
    history: list[dict[str, Any]] = [{"epoch": 0, "loss": None, **fit.validate()}]
    with Progress("training", recipe.epochs, "epoch") as bar:
        for epoch in range(1, recipe.epochs + 1):
            history.append({"epoch": epoch, "loss": fit.run_epoch(epoch), **fit.validate()})
            bar.advance()
            score = history[epoch]["geoscore"]
            if score is None or score > history[best_epoch]["geoscore"]:
                best, best_epoch = copy.deepcopy(fit.model.state_dict()), epoch
            elif epoch - best_epoch >= recipe.patience:
                break
    fit.model.load_state_dict(best)
    matrix = fit.model.embedding.matrix.detach().numpy()
    projection = Projection(start.mean, matrix)
    cells, clusters = fit.model.cells.geo_embeddings(), fit.model.clusters.geo_embeddings()
    return Trained(projection, cells, clusters, history, best_epoch)


class _Model(nn.Module):
    def __init__(self, classes: Classes, start: Projection) -> None:
        super().__init__()
        self.embedding = LinearEmbedding(start.mean, start.matrix)
        self.cells = GeoHead(classes.cell_rows, START_SCALE)
        self.clusters = GeoHead(classes.cluster_rows, START_SCALE)


class _Fit:
    """Model, optimiser and data of one fit."""

    def __init__(
        self, gallery: LabelledFeatures, validation: LabelledFeatures, classes: Classes, start: Projection,
        recipe: TrainingRecipe, seed: int,
    ) -> None:  # fmt: skip
        self.gallery, self.validation, self.classes, self.recipe, self.seed = gallery, validation, classes, recipe, seed
        self.model = _Model(classes, start)
        self.cell_xyz = _unit(classes.cell_lat, classes.cell_lon)
        self.cluster_xyz = _unit(classes.lat, classes.lon)
        self.cell_tau_km = recipe.cell_tau_km or _spacing_km(self.cell_xyz)
        self.cluster_tau_km = recipe.cluster_tau_km or _spacing_km(self.cluster_xyz)
        self.optimiser = torch.optim.AdamW(self._groups(), lr=recipe.lr)
        steps = recipe.epochs * sum(1 for _ in self._batches(1))
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimiser, lambda step: _rate(step, steps))

    def _groups(self) -> list[dict[str, Any]]:
        model, decay = self.model, self.recipe.weight_decay
        rates = self.recipe.lr * self.recipe.projection_rate
        return [
            {"params": [model.cells.rows, model.clusters.rows], "weight_decay": decay},
            {"params": [model.embedding.matrix], "lr": rates, "weight_decay": decay},
            {"params": [model.cells.log_scale, model.clusters.log_scale], "weight_decay": 0.0},
        ]

    def _batches(self, epoch: int) -> Iterator[Rows]:
        return place_batches(self.gallery.cluster, self.recipe.places, self.recipe.images, self.seed, epoch)

    def run_epoch(self, epoch: int) -> float:
        """Take one step a batch and return the mean loss."""
        self.model.train()
        losses = []
        for number, rows in enumerate(self._batches(epoch)):
            self.optimiser.zero_grad(set_to_none=True)
            loss = self.loss(rows, np.random.default_rng([self.seed, epoch, number]))
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.clip)
            self.optimiser.step()
            self.schedule.step()
            losses.append(loss.item())
        return float(np.mean(losses))

    def loss(self, rows: Rows, random: np.random.Generator) -> Tensor:
        """Return (1 - alpha) haversine at both levels + alpha contrastive, of some images."""
        data, recipe, model = self.gallery, self.recipe, self.model
        embeddings = model.embedding(torch.from_numpy(data.features[rows].astype(np.float32)))
        xyz = _unit(data.lat[rows], data.lon[rows])
        cells = _level_loss(model.cells, embeddings, xyz, self.cell_xyz, data.cell[rows], self.cell_tau_km, None)
        some = self._candidates(data.cluster[rows], random)
        true = data.cluster[rows] if some is None else np.searchsorted(some, data.cluster[rows])
        centroids = self.cluster_xyz if some is None else self.cluster_xyz[some]
        clusters = _level_loss(model.clusters, embeddings, xyz, centroids, true, self.cluster_tau_km, some)
        total = (1.0 - recipe.alpha) * (cells + clusters)
        if recipe.alpha > 0:
            same = torch.eye(len(rows), dtype=torch.bool)
            between_km = _distances_km(xyz, xyz)
            total = total + recipe.alpha * geographic_contrastive(
                embeddings, embeddings, between_km, same, recipe.temperature, recipe.lambda_km
            )
        return total

    def _candidates(self, true: Rows, random: np.random.Generator) -> Rows | None:
        """Return the clusters that a batch is told from, ascending; None for all."""
        count = len(self.cluster_xyz)
        if count <= MAX_CLASSES:
            return None
        own = np.unique(true)
        near = _tree(self.cluster_xyz).query(self.cluster_xyz[own].numpy(), k=NEIGHBOURS)[1].ravel()
        return np.unique(np.concatenate([own, near, random.integers(count, size=MAX_CLASSES)]))

    @torch.no_grad()
    def validate(self) -> dict[str, float | None]:
        """Return median km and GeoScore of the most probable cluster on validation."""
        data = self.validation
        if len(data.lat) == 0:
            return {"median_km": None, "geoscore": None}
        self.model.eval()
        best = [self._most_probable(data.features[i : i + 1024]) for i in range(0, len(data.lat), 1024)]
        row = np.concatenate(best)
        off_km = geo.haversine_km(data.lat, data.lon, self.classes.lat[row], self.classes.lon[row])
        return {"median_km": float(np.median(off_km)), "geoscore": float(geoscore(off_km).mean())}

    def _most_probable(self, features: NDArray[np.float16]) -> Rows:
        embeddings = self.model.embedding(torch.from_numpy(features.astype(np.float32)))
        log_cell = log_softmax(self.model.cells(embeddings), dim=1)
        logits = self.model.clusters(embeddings)
        cell = torch.from_numpy(self.classes.cell)
        group = cell.expand(len(logits), -1)
        high = torch.full_like(log_cell, -torch.inf).scatter_reduce(1, group, logits, "amax")
        total = torch.zeros_like(log_cell).scatter_add(1, group, (logits - high[:, cell]).exp())
        best: Rows = (log_cell[:, cell] + logits - high[:, cell] - total[:, cell].log()).argmax(dim=1).numpy()
        return best


def _level_loss(
    head: GeoHead, embeddings: Tensor, xyz: Tensor, centroids: Tensor, true: Rows, tau_km: float, some: Rows | None
) -> Tensor:
    distance_km = _distances_km(xyz, centroids)
    own_km = distance_km[torch.arange(len(true)), torch.from_numpy(true)]
    logits = head(embeddings, None if some is None else torch.from_numpy(some))
    return haversine_cross_entropy(logits, soft_labels(distance_km, own_km, tau_km))


def _unit(lat: Floats, lon: Floats) -> Tensor:
    return torch.from_numpy(geo.to_unit(lat, lon))


def _distances_km(a: Tensor, b: Tensor) -> Tensor:
    """Return distances between unit vectors, (A, 3) and (B, 3), in km, (A, B) float32."""
    chord = torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")  # the quick way is off by kilometres
    return (2.0 * geo.EARTH_RADIUS_KM * torch.arcsin((chord / 2.0).clamp(max=1.0))).float()


def _tree(xyz: Tensor) -> Any:
    from scipy.spatial import KDTree

    return KDTree(xyz.numpy())


def _spacing_km(xyz: Tensor) -> float:
    """Return the median distance from a centroid to the nearest other one: the default of a level's tau."""
    if len(xyz) < 2:
        return geo.HALF_CIRCUMFERENCE_KM
    chord = _tree(xyz).query(xyz.numpy(), k=2)[0][:, 1]
    return max(1.0, float(np.median(geo.chord_to_km(chord))))


def _rate(step: int, steps: int) -> float:
    """Return the share of the learning rate at a step: linear warm-up, then half a cosine down to zero."""
    warm = max(1, int(WARM_UP * steps))
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1.0 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))
