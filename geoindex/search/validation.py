"""Images that are in no gallery, to fit on."""

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Validation:
    """Images that are in no gallery, to fit on.

    Attributes:
        lat, lon: true positions in degrees, (V,).
        cell, cluster: the true ones, (V,).
        queries: embeddings, (V, D).
        group: number of the author, sequence or block of each, (V,); photos of one are not independent.
    """

    lat: NDArray[np.float64]
    lon: NDArray[np.float64]
    cell: NDArray[np.int64]
    cluster: NDArray[np.int64]
    queries: NDArray[np.float32]
    group: NDArray[np.int64]

    def take(self, rows: NDArray[np.int64]) -> "Validation":
        """Return the images at these rows."""
        return Validation(*(getattr(self, entry.name)[rows] for entry in fields(self)))

    @property
    def weight(self) -> NDArray[np.float64]:
        """What each counts, (V,): the images of a group count as one."""
        _, number, size = np.unique(self.group, return_inverse=True, return_counts=True)
        return np.asarray(1.0 / size[number])

    def spread_evenly(self, count: int) -> "Validation":
        """Return at most so many of them, not the first: tables and folders are often in the order of countries."""
        rows = np.linspace(0, len(self) - 1, min(len(self), count)).astype(np.int64)
        return self.take(rows)

    def __len__(self) -> int:
        return len(self.lat)
