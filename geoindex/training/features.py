"""Geo-embeddings from stored features: a projection and the heads are fitted, the encoder stays as it is.

Minutes instead of hours, and no new pass over the images. The epoch with the best validation GeoScore is kept, the
prototypes that the fit starts from included, so the fit is never worse than they are on validation.
"""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from geoindex.encoder.projection import Projection
from geoindex.progress import Progress
from geoindex.recipe import TrainingRecipe
from geoindex.training.batches import place_batches
from geoindex.training.classes import Classes, Rows, Truth
from geoindex.training.divergence import all_finite, require_finite_loss, require_finite_weights
from geoindex.training.heads import LinearEmbedding
from geoindex.training.objective import Objective
from geoindex.training.schedule import rate_at

WARM_UP = 0.1
ROWS_AT_ONCE = 1024
CURE = "lower training.lr and training.clip, or take training.method none"


@dataclass(frozen=True, slots=True)
class LabelledFeatures:
    """Images that are fitted or validated on.

    Attributes:
        features: of the backbone, (N, D) float16.
        truth: where they were taken.
    """

    features: NDArray[np.float16]
    truth: Truth


@dataclass(frozen=True, slots=True)
class Start:
    """What a fit may start from.

    Attributes:
        classes: cells and clusters with their geo-embeddings.
        projection: features to the space of these.
    """

    classes: Classes
    projection: Projection


@dataclass(frozen=True, slots=True)
class Trained:
    """What a fit ends with.

    Attributes:
        projection: features to embeddings.
        cells, clusters: geo-embeddings, (C, dim) and (M, dim).
        history: one row an epoch; row 0 is what it started from.
        best_epoch: the one that was kept.
    """

    projection: Projection
    cells: NDArray[np.float32]
    clusters: NDArray[np.float32]
    history: list[dict[str, Any]]
    best_epoch: int


def fit_features(
    gallery: LabelledFeatures, validation: LabelledFeatures, starts: Sequence[Start], recipe: TrainingRecipe, seed: int
) -> Trained:
    """Fit projection and heads on the gallery's features.

    Args:
        gallery: what is learned from.
        validation: what chooses the epoch; if it is empty, the last one is taken.
        starts: what to start from; the best on validation is taken, the first without one.
        recipe: losses, rates and epochs.
        seed: of the order of images.

    Raises:
        TrainingError: if the loss or the weights are NaN or infinite after an epoch.
    """
    fits = [_Fit(gallery, validation, start, recipe, seed) for start in starts]
    fit = max(fits, key=lambda each: each.validate()["geoscore"] or 0.0)
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
    embedding = fit.model.embedding
    projection = Projection(embedding.mean.numpy(), embedding.matrix.detach().numpy())
    return Trained(projection, *fit.model.objective.geo_embeddings(), history, best_epoch)


class _Model(nn.Module):
    def __init__(self, start: Start, recipe: TrainingRecipe) -> None:
        super().__init__()
        self.embedding = LinearEmbedding(start.projection.mean, start.projection.matrix)
        self.objective = Objective(start.classes, recipe)


class _Fit:
    """Model, optimiser and data of one fit."""

    def __init__(
        self, gallery: LabelledFeatures, validation: LabelledFeatures, start: Start, recipe: TrainingRecipe, seed: int
    ) -> None:
        self.gallery, self.validation, self.recipe, self.seed = gallery, validation, recipe, seed
        self.model = _Model(start, recipe)
        self.optimiser = torch.optim.AdamW(self._groups(), lr=recipe.lr)
        steps = recipe.epochs * sum(1 for _ in self._batches(1))
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.optimiser, lambda step: rate_at((step + 1) / max(1, steps), WARM_UP)
        )

    def _groups(self) -> list[dict[str, Any]]:
        model, decay = self.model, self.recipe.weight_decay
        rates = self.recipe.lr * self.recipe.projection_rate
        heads = model.objective.cells, model.objective.clusters
        return [
            {"params": [head.rows for head in heads], "weight_decay": decay},
            {"params": [model.embedding.matrix], "lr": rates, "weight_decay": decay},
            {"params": [head.log_scale for head in heads], "weight_decay": 0.0},
        ]

    def _batches(self, epoch: int) -> Iterator[Rows]:
        return place_batches(self.gallery.truth.cluster, self.recipe.places, self.recipe.images, self.seed, epoch)

    def run_epoch(self, epoch: int) -> float:
        """Take one step a batch and return the mean loss.

        Raises:
            TrainingError: if that or a weight is then NaN or infinite.
        """
        self.model.train()
        losses = []
        for number, rows in enumerate(self._batches(epoch)):
            self.optimiser.zero_grad(set_to_none=True)
            embeddings = self.model.embedding(_tensor(self.gallery.features[rows]))
            random = np.random.default_rng([self.seed, epoch, number])
            loss = self.model.objective(embeddings, self.gallery.truth.take(rows), random)
            loss.backward()
            nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.clip)
            self.optimiser.step()
            self.schedule.step()
            losses.append(loss.item())
        loss = float(np.mean(losses))
        require_finite_loss(loss, epoch, CURE)
        require_finite_weights(all_finite(self.model.parameters()), epoch, CURE)
        return loss

    @torch.no_grad()
    def validate(self) -> dict[str, float | None]:
        """Return median km and GeoScore of the most probable cluster on validation."""
        features, objective = self.validation.features, self.model.objective
        self.model.eval()
        parts = [features[first : first + ROWS_AT_ONCE] for first in range(0, len(features), ROWS_AT_ONCE)]
        found = [objective.most_probable(self.model.embedding(_tensor(part))) for part in parts]
        best = np.concatenate(found) if found else np.zeros(0, np.int64)
        return self.validation.truth.errors(objective.classes.lat[best], objective.classes.lon[best])


def _tensor(features: NDArray[np.float16]) -> torch.Tensor:
    return torch.from_numpy(features.astype(np.float32))
