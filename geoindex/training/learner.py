"""Models that learn from images: a backbone, what turns its features into answers, and the loss of a batch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import normalize

from geoindex.encoder.preprocessing import Preprocessing
from geoindex.encoder.projection import Projection
from geoindex.recipe import FineTuningRecipe, TrainingRecipe
from geoindex.training import processes
from geoindex.training.auxiliary import AuxiliaryHeads
from geoindex.training.classes import Classes, Floats, Rows, Truth
from geoindex.training.heads import LinearEmbedding
from geoindex.training.objective import Objective


@dataclass(frozen=True, slots=True)
class Batch:
    """What a step learns from.

    Attributes:
        pixels: prepared images, (B, 3, S, S) uint8.
        truth: where they were taken.
        place: number of the place of each, (B,); images of one place are views of it.
        labels: class by label name, (B,) each, -1 where the source does not know it.
    """

    pixels: Tensor
    truth: Truth
    place: Rows
    labels: Mapping[str, Rows]


class Learner(nn.Module):
    """Pixels to features; what comes after them, and the loss, is up to its kinds."""

    mean: Tensor
    std: Tensor

    def __init__(self, backbone: nn.Module, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.backbone = backbone
        for name, values in (("mean", preprocessing.mean), ("std", preprocessing.std)):
            self.register_buffer(name, 255.0 * torch.tensor(values).view(3, 1, 1), persistent=False)

    def features(self, pixels: Tensor) -> Tensor:
        """Return the backbone's features of images, (B, 3, S, S) from 0 to 255, as (B, D) float32."""
        outputs = self.backbone((pixels.float() - self.mean) / self.std)
        pooled = outputs[0] if isinstance(outputs, tuple) else outputs  # captioning towers add their tokens
        wide: Tensor = pooled.float()
        return wide

    def forward(self, pixels: Tensor, batch: Batch, random: np.random.Generator) -> Tensor:
        """Return the loss of a batch whose pixels were varied, (B, 3, S, S)."""
        raise NotImplementedError

    def answers(self, pixels: Tensor) -> Floats:
        """Return where images were taken, (B, 2): latitudes and longitudes in degrees."""
        raise NotImplementedError

    def heads(self) -> list[nn.Parameter]:
        """Return the weights that learn at the rate of geo-embeddings."""
        raise NotImplementedError

    def maps(self) -> list[nn.Parameter]:
        """Return the weights that learn at the rate of the projection."""
        return []


class RetrievalLearner(Learner):
    """Pixels to embeddings, which are compared with the geo-embeddings of cells and clusters."""

    def __init__(
        self, backbone: nn.Module, preprocessing: Preprocessing, start: Projection, classes: Classes,
        training: TrainingRecipe, tuning: FineTuningRecipe, label_counts: Mapping[str, int],
    ) -> None:  # fmt: skip
        super().__init__(backbone, preprocessing)
        self.tuning = tuning
        self.embedding = LinearEmbedding(start.mean, start.matrix)
        self.objective = Objective(classes, training)
        self.auxiliary = AuxiliaryHeads(len(start.mean), label_counts)

    def embed(self, pixels: Tensor) -> Tensor:
        """Return unit vectors, (B, dim)."""
        features = self.features(pixels)
        with torch.autocast(pixels.device.type, enabled=False):
            unit: Tensor = self.embedding(features)
        return unit

    def forward(self, pixels: Tensor, batch: Batch, random: np.random.Generator) -> Tensor:
        """Return haversine, contrastive and auxiliary losses together."""
        features = self.features(pixels)
        with torch.autocast(pixels.device.type, enabled=False):
            embeddings = self.embedding(features)
            truth = batch.truth
            if self.tuning.views > 1:
                pooled, rows = mean_of_views(embeddings, batch.place, self.tuning.views)
                embeddings, truth = torch.cat([embeddings, pooled]), _with(truth, rows)
            loss: Tensor = self.objective(embeddings, truth, random)
            for losses in self.auxiliary(features, batch.labels):
                loss = loss + self.tuning.auxiliary_weight * processes.share_of_mean(losses)
        return loss

    def answers(self, pixels: Tensor) -> Floats:
        """Return the centroids of the most probable clusters."""
        dim = self.embedding.matrix.shape[1]
        embeddings = self.embed(pixels) if len(pixels) else self.embedding.matrix.new_zeros(0, dim)
        with torch.autocast(pixels.device.type, enabled=False):
            best, classes = self.objective.most_probable(embeddings.float()), self.objective.classes
        return np.stack([classes.lat[best], classes.lon[best]], axis=1)

    def heads(self) -> list[nn.Parameter]:
        """Return geo-embeddings and the heads of other labels."""
        return [*self.objective.parameters(), *self.auxiliary.parameters()]

    def maps(self) -> list[nn.Parameter]:
        """Return the projection."""
        return [self.embedding.matrix]

    def projection(self) -> Projection:
        """Return the embedding as the index stores it."""
        mean: NDArray[np.float32] = self.embedding.mean.cpu().numpy()
        matrix: NDArray[np.float32] = self.embedding.matrix.detach().cpu().numpy()
        return Projection(mean.copy(), matrix.copy())


def mean_of_views(embeddings: Tensor, place: Sequence[int] | Rows, views: int) -> tuple[Tensor, Rows]:
    """Return the normalised mean embedding of up to `views` images of each place that has two, and its first row."""
    groups: dict[int, list[int]] = {}
    for row, number in enumerate(np.asarray(place).tolist()):
        groups.setdefault(number, []).append(row)
    several = [rows[:views] for rows in groups.values() if len(rows) > 1]
    first = np.array([rows[0] for rows in several], np.int64)
    if not several:
        return embeddings[:0], first
    return normalize(torch.stack([embeddings[rows].mean(dim=0) for rows in several]), dim=1), first


def _with(truth: Truth, rows: Rows) -> Truth:
    return truth.take(np.concatenate([np.arange(len(truth)), rows]))
