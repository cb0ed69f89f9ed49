"""Cosine classifiers whose rows are geo-embeddings: what is learned is what the index stores."""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import normalize

SCALES = (1.0, 200.0)
"""Bounds of a logit scale: softer it says nothing, sharper it is sure of everything."""


class GeoHead(nn.Module):
    """One level, cells or clusters: logits are scaled cosines with the geo-embeddings, without bias.

    Retrieval by inner product with `geo_embeddings` ranks the classes as the logits do.
    """

    def __init__(self, rows: NDArray[np.float32], scale: float) -> None:
        """Start from prototypes, (K, dim), and a logit scale."""
        super().__init__()
        self.rows = nn.Parameter(torch.tensor(rows))
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale)))

    @property
    def scale(self) -> Tensor:
        """Factor on cosines, inside `SCALES`."""
        return self.log_scale.clamp(*map(math.log, SCALES)).exp()

    def forward(self, embeddings: Tensor, classes: Tensor | None = None) -> Tensor:
        """Return logits of unit vectors (B, dim) for all classes (B, K), or for some, (B, len(classes))."""
        rows = self.rows if classes is None else self.rows[classes]
        return self.scale * (embeddings @ normalize(rows, dim=1).T)

    def geo_embeddings(self) -> NDArray[np.float32]:
        """Return the rows as unit vectors, (K, dim)."""
        rows: NDArray[np.float32] = normalize(self.rows.detach(), dim=1).cpu().numpy()
        return rows


class LinearEmbedding(nn.Module):
    """Features to unit vectors: centre, multiply, normalise; the trained form of `Projection`."""

    mean: Tensor

    def __init__(self, mean: NDArray[np.float32], matrix: NDArray[np.float32]) -> None:
        """Start from a projection: mean (D,), which stays, and matrix (D, dim)."""
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean))
        self.matrix = nn.Parameter(torch.tensor(matrix))

    def forward(self, features: Tensor) -> Tensor:
        """Return embeddings of features, (B, D) -> (B, dim)."""
        return normalize((features - self.mean) @ self.matrix, dim=1)
