"""Resampled queries -> how far a figure could be off by the choice of queries: percentile bootstrap (Efron 1979)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoindex.metrics import GEOINDEX, Convention, Metrics, balanced_weights, finite_distances, summaries

DRAWS = 1000
"""Resamples of the queries; the ends of a 95 % interval rest on 25 of them each."""

MOST_COUNTS = 20_000_000
LEAST_DRAWS = 200
"""Of very many queries fewer resamples are made, whose intervals are narrow anyway: seconds instead of minutes."""

LEVEL = 0.95

CHUNK_COUNTS = 4_000_000
"""Counts held at a time, over draws and queries."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Estimate:
    """The mean of a figure over queries, and how sure it is.

    Attributes:
        value: mean over all queries that have the figure.
        low, high: ends of its 95 % interval.
        balanced: mean over countries of the mean in each.
        count: queries that have it.
    """

    value: float
    low: float
    high: float
    balanced: float
    count: int


@dataclass(frozen=True, slots=True)
class Spread:
    """Ends of the 95 % intervals of metrics, and the metrics with every country counted alike.

    Attributes:
        low, high: of each metric by itself.
        balanced: metrics in which every country counts alike.
        balanced_low, balanced_high: of each of these.
    """

    low: Metrics
    high: Metrics
    balanced: Metrics
    balanced_low: Metrics
    balanced_high: Metrics


def spread_of(
    distance_km: Floats, countries: NDArray[Any], seed: int, convention: Convention = GEOINDEX, draws: int | None = None
) -> Spread:
    """Say how sure the metrics of a set of distances are.

    Args:
        distance_km: (Q,), or (R Q,) for R answers to each of Q queries, which are resampled together.
        countries: of the queries, (Q,).
        seed: of the resampling.
        convention: what counts as closer, and whether scores are rounded.
        draws: resamples; None: as many as are usual for so many queries.
    """
    distances, repeats = finite_distances(distance_km), np.size(distance_km) // len(countries)
    balanced = balanced_weights(countries)
    found: list[Floats] = []
    alike: list[Floats] = []
    for counts in resampled(len(countries), seed, draws):
        found.append(summaries(distances, np.tile(counts, repeats), convention))
        alike.append(summaries(distances, np.tile(_rebalanced(counts, countries), repeats), convention))
    low, high = ends(np.concatenate(found))
    balanced_low, balanced_high = ends(np.concatenate(alike))
    middle = summaries(distances, np.tile(balanced, repeats)[None], convention)[0]
    values = (low, high, middle, balanced_low, balanced_high)
    return Spread(*(Metrics.of(distances.size, value) for value in values))


def interval_of(distance_km: Floats, seed: int, convention: Convention = GEOINDEX) -> tuple[Metrics, Metrics]:
    """Return the ends of the interval of each metric of distances, (Q,)."""
    distances = finite_distances(distance_km)
    drawn = [summaries(distances, counts, convention) for counts in resampled(len(distances), seed)]
    low, high = ends(np.concatenate(drawn))
    return Metrics.of(distances.size, low), Metrics.of(distances.size, high)


def estimate_mean(values: Floats, countries: NDArray[Any], seed: int, draws: int | None = None) -> Estimate | None:
    """Return the mean of what queries have, (Q,), NaN where one has nothing; None if none has anything."""
    known = np.isfinite(values)
    if not known.any():
        return None
    values, countries = values[known], countries[known]
    means = [counts @ values / len(values) for counts in resampled(len(values), seed, draws)]
    low, high = ends(np.concatenate(means)[:, None])
    balanced = float(balanced_weights(countries) @ values)
    return Estimate(float(values.mean()), float(low[0]), float(high[0]), balanced, len(values))


def resampled(count: int, seed: int, draws: int | None = None) -> Iterator[Floats]:
    """Yield how often each of `count` queries is drawn in resamples of that size, a few resamples at a time, (b, N)."""
    draws = draws or max(LEAST_DRAWS, min(DRAWS, MOST_COUNTS // count))
    rng = np.random.default_rng(seed)
    at_once = max(1, CHUNK_COUNTS // count)
    for start in range(0, draws, at_once):
        rows = min(at_once, draws - start)
        drawn = rng.integers(count, size=(rows, count)) + count * np.arange(rows)[:, None]
        yield np.bincount(drawn.ravel(), minlength=rows * count).reshape(rows, count).astype(np.float64)


def ends(draws: Floats) -> tuple[Floats, Floats]:
    """Return the ends of the interval of each column of (B, M), each (M,)."""
    low, high = np.quantile(draws, [(1.0 - LEVEL) / 2.0, (1.0 + LEVEL) / 2.0], axis=0)
    return np.asarray(low), np.asarray(high)


def _rebalanced(counts: Floats, countries: NDArray[Any]) -> Floats:
    """Weigh resampled queries, (b, N), so that every country that was drawn counts alike."""
    names, group = np.unique(countries, return_inverse=True)
    order = np.argsort(group, kind="stable")
    starts = np.searchsorted(group[order], np.arange(len(names)))
    drawn = np.add.reduceat(counts[:, order], starts, axis=1)  # of each country, (b, K)
    return np.asarray(counts / np.maximum(drawn, 1.0)[:, group])
