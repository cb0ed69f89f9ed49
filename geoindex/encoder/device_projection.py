"""The projection where features are computed, so that a query goes on to the search without leaving the device."""

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from geoindex.encoder.device import Vectors, full_precision, is_full, to_host
from geoindex.encoder.projection import Projection

if TYPE_CHECKING:
    import torch

LEAST = float(np.finfo(np.float32).tiny)

KEPT = 4
"""Projections that stay on their devices."""


def project(projection: Projection, features: Vectors) -> Vectors:
    """Turn features (N, D) into unit vectors (N, dim) where they are, as `Projection.apply` does; here if it is full.

    Raises:
        EncoderError: if the features have another length.
    """
    if isinstance(features, np.ndarray):
        return projection.apply(features)
    import torch

    projection.check_shape(features.shape)
    try:
        with torch.inference_mode(), full_precision(features.device):
            return _projected(features, *_there(projection, features.device))
    except RuntimeError as error:
        if not is_full(error):
            raise
    return projection.apply(to_host(features))


def _projected(features: "torch.Tensor", mean: "torch.Tensor", matrix: "torch.Tensor") -> "torch.Tensor":
    projected = (features - mean) @ matrix
    # scaled first, so that squares neither overflow nor vanish
    projected = projected / projected.abs().amax(dim=1, keepdim=True).clamp(min=LEAST)
    unit: torch.Tensor = projected / projected.norm(dim=1, keepdim=True).clamp(min=LEAST)
    return unit


@lru_cache(maxsize=KEPT)
def _there(projection: Projection, device: "torch.device") -> "tuple[torch.Tensor, torch.Tensor]":
    import torch

    mean, matrix = (torch.from_numpy(np.array(values)) for values in (projection.mean, projection.matrix))
    return mean.to(device), matrix.to(device)
