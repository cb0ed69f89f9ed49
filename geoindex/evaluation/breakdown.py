"""Errors of all queries -> metrics of the queries of each country and continent."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoindex.evaluation.continents import CONTINENTS
from geoindex.evaluation.intervals import Estimate, estimate_mean, interval_of
from geoindex.metrics import Convention, Metrics, measure
from geoindex.places import nearest_labels

ELSEWHERE = "elsewhere"
"""The continent of a country that GeoNames does not know."""

FEWEST = 5
"""Queries that a country needs before it can be called weak; with fewer, one photo decides."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Part:
    """The queries of one country or continent.

    Attributes:
        name: of the country or continent.
        metrics: of the answers to its queries.
        low, high: ends of the 95 % interval of each; of a few queries they say little.
    """

    name: str
    metrics: Metrics
    low: Metrics
    high: Metrics


@dataclass(frozen=True, slots=True)
class Origins:
    """Where queries were taken, by the nearest named place, each (Q,)."""

    country: NDArray[np.str_]
    continent: NDArray[np.str_]

    @classmethod
    def of(cls, lat: Floats, lon: Floats) -> "Origins":
        """Look up positions in degrees, (Q,)."""
        codes = nearest_labels(lat, lon, "country_code")
        continent = [CONTINENTS.get(code, ELSEWHERE) for code in codes]
        return cls(np.array(nearest_labels(lat, lon, "country")), np.array(continent))


def parts_of(distance_km: Floats, groups: NDArray[Any], convention: Convention, seed: int = 0) -> tuple[Part, ...]:
    """Return the metrics of each group of queries, (Q,), the largest group first."""

    def part(name: str, km: Floats) -> Part:
        return Part(name, measure(km, convention), *interval_of(km, seed, convention))

    names, group, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    order: Sequence[int] = np.argsort(-sizes, kind="stable").tolist()
    return tuple(part(str(names[k]), distance_km[group == k]) for k in order)


@dataclass(frozen=True, slots=True)
class Standing:
    """How well the queries of one country or continent are answered.

    Attributes:
        part: its queries and their metrics.
        geoscore: mean GeoScore of its queries, with its 95 % interval.
    """

    part: Part
    geoscore: Estimate

    @property
    def judged(self) -> bool:
        """Whether it has enough queries to be called weak or strong."""
        return self.part.metrics.count >= FEWEST


def standings_of(distance_km: Floats, groups: NDArray[Any], convention: Convention, seed: int) -> tuple[Standing, ...]:
    """Return the standing of each group of queries, (Q,): those with enough queries first, then by rising GeoScore."""
    found = []
    for part in parts_of(distance_km, groups, convention):
        inside = groups == part.name
        estimate = estimate_mean(convention.geoscore(distance_km[inside]), groups[inside], seed)
        assert estimate is not None  # a group has a query
        found.append(Standing(part, estimate))
    return tuple(sorted(found, key=lambda each: (not each.judged, each.geoscore.value)))
