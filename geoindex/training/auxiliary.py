"""Labels that are learned along with the position: what tells climates apart also tells places apart.

The heads are thrown away after the fit; only the backbone keeps what they taught it.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from geoindex.errors import ConfigError
from geoindex.types import LABELS

MONTH = "month"
"""Not a label of a source, but taken from captured_at."""

CHOICES = (*LABELS, MONTH)


class AuxiliaryHeads(nn.Module):
    """A linear classifier of the features for each label."""

    def __init__(self, dim: int, counts: Mapping[str, int]) -> None:
        """Take the length of features and the number of classes by label."""
        super().__init__()
        self.heads = nn.ModuleDict({name: nn.Linear(dim, count) for name, count in counts.items()})

    def forward(self, features: Tensor, labels: Mapping[str, NDArray[np.int64]]) -> Iterator[Tensor]:
        """Yield the losses of the images whose label is known, label by label."""
        for name, head in self.heads.items():
            target = torch.from_numpy(labels[name]).to(features.device)
            known = target >= 0
            yield cross_entropy(head(features[known]), target[known], reduction="none")


def encode_labels(name: str, values: Sequence[str | None]) -> tuple[NDArray[np.int64], int]:
    """Return the class of each value, (N,), -1 where there is none, and the number of classes.

    Args:
        name: one of `CHOICES`, month for values of captured_at.
        values: text of each image, (N,).

    Raises:
        ConfigError: if no value is known.
    """
    if name == MONTH:
        values = [value[5:7] if value and value[4:5] == "-" else None for value in values]
    known = np.array([value or "" for value in values], np.str_)
    names, classes = np.unique(known, return_inverse=True)
    missing = int(len(names) > 0 and names[0] == "")
    if len(names) == missing:
        raise ConfigError(f"No image has the label '{name}' of finetuning.auxiliary; leave it out.")
    return classes.astype(np.int64) - missing, len(names) - missing


def label_of(name: str) -> str:
    """Return the label of a source from which a target is taken.

    Raises:
        ConfigError: if there is no such target.
    """
    if name not in CHOICES:
        raise ConfigError(f"'{name}' cannot be an auxiliary target; choose among {', '.join(CHOICES)}.")
    return "captured_at" if name == MONTH else name
