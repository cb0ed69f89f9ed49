"""How the probability of a posterior lies by distance from an answer."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class MassAround:
    """The probability around an answer.

    Attributes:
        distance_km: of the points of the posterior from it, the nearest first, (P,).
        held: probability of the nearest n points, for n from 0 to P, (P + 1,).
    """

    distance_km: Floats
    held: Floats

    @classmethod
    def of(cls, distance_km: Floats, probability: Floats) -> "MassAround":
        """Sum up the probability of points at these distances, each (P,)."""
        order, held = np.argsort(distance_km), np.zeros(len(distance_km) + 1)
        np.cumsum(probability[order], out=held[1:])
        return cls(distance_km[order], held)

    def radius_km(self, share: float = 0.5) -> float:
        """Return the distance of the first point that makes up `share` of the probability."""
        row = min(int(np.searchsorted(self.held[1:], share * self.held[-1])), len(self.distance_km) - 1)
        return float(self.distance_km[row])
