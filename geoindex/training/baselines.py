"""What geocells are measured against: networks that answer with a point of their own (paper section 4.1)."""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from geoindex import geo
from geoindex.encoder.preprocessing import Preprocessing
from geoindex.training import processes
from geoindex.training.classes import Floats, Truth
from geoindex.training.learner import Batch, Learner
from geoindex.training.losses import haversine
from geoindex.training.objective import KM

DEGREES = (90.0, 180.0)
"""What the two outputs of a head for latitude and longitude are counted in, so that both are of the size of 1."""


class DegreesHead(nn.Module):
    """Latitude and longitude as two plain numbers, which know nothing of the antimeridian: the paper's baseline."""

    def __init__(self, dim: int, truth: Truth) -> None:
        """Start from features of `dim` numbers and the mean position."""
        super().__init__()
        self.linear = nn.Linear(dim, 2)
        _start_at(self.linear, np.array([truth.lat.mean(), truth.lon.mean()]) / DEGREES)

    def forward(self, features: Tensor) -> Tensor:
        """Return unit vectors, (B, 3)."""
        lat, lon = (self.linear(features) * features.new_tensor(DEGREES).deg2rad()).unbind(dim=1)
        return torch.stack([lat.cos() * lon.cos(), lat.cos() * lon.sin(), lat.sin()], dim=1)


class UnitHead(nn.Module):
    """A point as the direction of three numbers: no edge of the map, no pole."""

    def __init__(self, dim: int, truth: Truth) -> None:
        """Start from features of `dim` numbers and the mean position."""
        super().__init__()
        self.linear = nn.Linear(dim, 3)
        _start_at(self.linear, geo.to_unit(truth.lat, truth.lon).mean(axis=0))

    def forward(self, features: Tensor) -> Tensor:
        """Return unit vectors, (B, 3)."""
        return normalize(self.linear(features), dim=1)


class RegressionLearner(Learner):
    """Pixels to a point; the loss is its distance from the truth."""

    def __init__(self, backbone: nn.Module, preprocessing: Preprocessing, head: DegreesHead | UnitHead) -> None:
        super().__init__(backbone, preprocessing)
        self.head = head

    def points(self, pixels: Tensor) -> Tensor:
        """Return unit vectors of answers, (B, 3) float32."""
        features = self.features(pixels)
        with torch.autocast(pixels.device.type, enabled=False):
            xyz: Tensor = self.head(features)
        return xyz

    def forward(self, pixels: Tensor, batch: Batch, random: np.random.Generator) -> Tensor:
        """Return the mean distance in thousands of km."""
        truth = torch.from_numpy(geo.to_unit(batch.truth.lat, batch.truth.lon)).to(pixels.device)
        return processes.share_of_mean(haversine(self.points(pixels), truth) / KM)

    def answers(self, pixels: Tensor) -> Floats:
        """Return the points in degrees."""
        return np.stack(geo.from_unit(self.points(pixels).cpu().numpy()), axis=1)

    def heads(self) -> list[nn.Parameter]:
        """Return the head."""
        return list(self.head.parameters())


def _start_at(linear: nn.Linear, outputs: Floats) -> None:
    """Let a layer start with these outputs, whatever its inputs: the best that one can say without looking."""
    with torch.no_grad():
        linear.weight.zero_()
        linear.bias.copy_(torch.from_numpy(outputs))
