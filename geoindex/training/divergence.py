"""What ends a fit whose numbers have left the range of numbers: one sentence, instead of an index of NaNs."""

import math
from collections.abc import Iterable

import torch

from geoindex.errors import TrainingError

Weights = Iterable[torch.Tensor]


def require_finite_loss(loss: float, epoch: int, cure: str) -> None:
    """Refuse to go on with a loss that is NaN or infinite.

    Args:
        loss: of some steps.
        epoch: the running one.
        cure: what to do about it.

    Raises:
        TrainingError: if it is one of these.
    """
    if not math.isfinite(loss):
        raise TrainingError(f"The loss is NaN or infinite in epoch {epoch}; {cure}.")


def require_finite_weights(finite: bool, epoch: int, cure: str) -> None:
    """Refuse to keep weights that the last step of an epoch made NaN or infinite, which no loss tells.

    Raises:
        TrainingError: if they are not finite.
    """
    if not finite:
        raise TrainingError(f"The weights are NaN or infinite after epoch {epoch}; {cure}.")


def all_finite(weights: Weights) -> bool:
    """Tell whether every number is one."""
    return all(bool(torch.isfinite(each).all()) for each in weights)
