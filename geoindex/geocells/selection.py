"""Which setting divides positions best: every setting is scored as the cells that it would give.

One OPTICS run per `min_samples` serves every `xi`. Outliers go to the nearest centroid, centroids are recomputed
(paper section 3.3), and the scores are taken on nearest-centroid cells: haversine silhouette, haversine
Davies-Bouldin index and error floor.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from geoindex import geo
from geoindex.geocells.hdbscan import hdbscan_labels
from geoindex.geocells.optics import Ground, xi_labels
from geoindex.geocells.positions import (
    THREADS_FROM,
    Floats,
    Rows,
    centroids,
    checked_positions,
    nearest_site,
    occupied_sites,
)
from geoindex.progress import track

SILHOUETTE_ROWS = 1000
"""Positions whose silhouette is taken, each against all others; their mean has a standard error of about 0.01."""


@dataclass(frozen=True, slots=True)
class Trials:
    """What is tried.

    Attributes:
        min_samples: neighbourhood sizes.
        xi: steepness that bounds a cluster, tried with each size; of OPTICS alone.
        seed: draws the positions whose silhouettes are taken.
        method: optics or hdbscan.
    """

    min_samples: tuple[int, ...]
    xi: tuple[float, ...]
    seed: int
    method: str = "optics"


@dataclass(frozen=True, slots=True)
class Setting:
    """A neighbourhood size and, for OPTICS, the steepness that bounds a cluster."""

    min_samples: int
    xi: float | None


@dataclass(frozen=True, slots=True)
class Score:
    """How well a setting divides the positions.

    Attributes:
        setting: what was tried.
        n_clusters: cells that hold a position.
        share_outliers: share of positions that belonged to no cluster, before they went to the nearest centroid.
        silhouette: mean haversine silhouette, -1 to 1, higher is better; None for a single cell.
        silhouette_error: its standard error from sampling.
        n_silhouette: positions whose silhouette was taken.
        davies_bouldin: haversine Davies-Bouldin index, lower is better; None for a single cell.
        error_floor_km: median distance from a position to its site.
        site_xyz: unit vectors of the sites, (n_clusters, 3).
    """

    setting: Setting
    n_clusters: int
    share_outliers: float
    silhouette: float | None
    silhouette_error: float | None
    n_silhouette: int
    davies_bouldin: float | None
    error_floor_km: float
    site_xyz: Floats = field(repr=False, compare=False)

    def to_dict(self) -> dict[str, float | int | None]:
        """Return setting and figures as a flat row of the sweep's table."""
        return {
            "min_samples": self.setting.min_samples,
            "xi": self.setting.xi,
            "n_clusters": self.n_clusters,
            "share_outliers": self.share_outliers,
            "silhouette": self.silhouette,
            "silhouette_error": self.silhouette_error,
            "n_silhouette": self.n_silhouette,
            "davies_bouldin": self.davies_bouldin,
            "error_floor_km": self.error_floor_km,
        }


Labelled: TypeAlias = Callable[[int], Iterator[tuple[Setting, Rows]]]
"""Turns a neighbourhood size into the settings that have it, each with the label of every position, -1 for outliers."""


def sweep(lat: ArrayLike, lon: ArrayLike, trials: Trials) -> list[Score]:
    """Score every setting on these positions (one or more); neighbourhood sizes run side by side.

    Raises:
        CoordinateError: if a position is not on Earth.
        ConfigError: if a `min_samples` is under 2.
        MissingExtraError: if HDBSCAN is not installed.
    """
    from joblib import Parallel, cpu_count, delayed

    lats, lons = checked_positions(lat, lon)
    xyz = geo.to_unit(lats, lons)
    gauge = Silhouette(xyz, trials.seed)
    labelled = _hdbscan_trials(xyz) if trials.method == "hdbscan" else _optics_trials(lats, lons, trials)

    def scored(size: int) -> list[Score]:
        return [_score(setting, xyz, labels, gauge) for setting, labels in labelled(size)]

    side_by_side = trials.method == "optics" and len(xyz) >= THREADS_FROM  # HDBSCAN has threads of its own
    jobs = min(len(trials.min_samples), cpu_count()) if side_by_side else 1
    parallel = Parallel(jobs, backend="threading", return_as="generator")
    found = parallel(delayed(scored)(size) for size in trials.min_samples)
    if len(xyz) >= THREADS_FROM:
        found = track(found, "geocell settings", total=len(trials.min_samples), unit="neighbourhood size")
    return [score for scores in found for score in scores]


def _optics_trials(lat: Floats, lon: Floats, trials: Trials) -> Labelled:
    ground = Ground(lat, lon, trials.min_samples)

    def labelled(size: int) -> Iterator[tuple[Setting, Rows]]:
        ordering = ground.walk(size)
        for steepness in trials.xi:
            yield Setting(size, steepness), xi_labels(ordering, steepness, size)

    return labelled


def _hdbscan_trials(xyz: Floats) -> Labelled:
    def labelled(size: int) -> Iterator[tuple[Setting, Rows]]:
        yield Setting(size, None), hdbscan_labels(xyz, size)

    return labelled


def choose(scores: Sequence[Score], min_cells: int, max_cells: int) -> Score:
    """Choose among the settings whose count of cells lies in `min_cells`..`max_cells`.

    They are ranked by silhouette and by Davies-Bouldin index; the lowest mean rank wins, then the lower error floor,
    then the one tried first. If no count lies inside, the one nearest to the range (as a ratio) wins, then the lower
    error floor.
    """
    inside = [s for s in scores if min_cells <= s.n_clusters <= max_cells]
    if not inside:
        return min(scores, key=lambda s: (_ratio_to_range(s.n_clusters, min_cells, max_cells), s.error_floor_km))
    by_silhouette = _ranks([-1.0 if s.silhouette is None else s.silhouette for s in inside], descending=True)
    by_index = _ranks([math.inf if s.davies_bouldin is None else s.davies_bouldin for s in inside])
    keys = [(a + b, s.error_floor_km) for a, b, s in zip(by_silhouette, by_index, inside, strict=True)]
    return inside[keys.index(min(keys))]


class Silhouette:
    """Haversine silhouettes of a seeded sample of positions, each against all positions."""

    def __init__(self, xyz: Floats, seed: int) -> None:
        count = min(len(xyz), SILHOUETTE_ROWS)
        self.rows = np.sort(np.random.default_rng(seed).choice(len(xyz), count, replace=False))
        self._xyz = xyz

    def measure(self, cell: Rows, count: int) -> Floats:
        """Return the silhouette of each sampled position in a division into cells 0..count-1, (S,).

        A position that is alone in its cell has silhouette 0; `count` must be 2 or more and no cell empty.
        """
        from geoindex.geocells._scores import silhouettes

        order = np.argsort(cell, kind="stable")
        at = np.empty(len(order), np.int64)
        at[order] = np.arange(len(order))
        starts = np.concatenate([[0], np.cumsum(np.bincount(cell, minlength=count))])
        centre, spread = _centres_and_spreads(self._xyz, cell, count)
        return silhouettes(self._xyz[order], starts, centre, spread, at[self.rows], cell[self.rows])


def davies_bouldin(xyz: Floats, cell: Rows, count: int) -> float:
    """Return the Davies-Bouldin index (1979) with haversine distances; `count` 2 or more, no cell empty.

    Cells whose centroids coincide count as a metre apart.
    """
    from geoindex.geocells._scores import largest_likeness

    likeness = largest_likeness(*_centres_and_spreads(xyz, cell, count), 1e-3 / geo.EARTH_RADIUS_KM)
    return float(likeness.mean())


def _centres_and_spreads(xyz: Floats, cell: Rows, count: int) -> tuple[Floats, Floats]:
    """Return the centroid of each cell, (C, 3), and the mean angle from its members to it, (C,)."""
    centre = centroids(xyz, cell, count)
    angle = geo.chord_to_km(np.linalg.norm(xyz - centre[cell], axis=1)) / geo.EARTH_RADIUS_KM
    return centre, np.bincount(cell, weights=angle, minlength=count) / np.bincount(cell, minlength=count)


def _score(setting: Setting, xyz: Floats, labels: Rows, gauge: Silhouette) -> Score:
    sites, cell, distance_km = occupied_sites(_label_centroids(xyz, labels), xyz)
    several = len(sites) > 1
    values = gauge.measure(cell, len(sites)) if several else None
    return Score(
        setting=setting,
        n_clusters=len(sites),
        share_outliers=float(np.mean(labels < 0)),
        silhouette=None if values is None else float(values.mean()),
        silhouette_error=None if values is None else float(values.std() / math.sqrt(len(values))),
        n_silhouette=len(gauge.rows),
        davies_bouldin=davies_bouldin(xyz, cell, len(sites)) if several else None,
        error_floor_km=float(np.median(distance_km)),
        site_xyz=sites,
    )


def _label_centroids(xyz: Floats, labels: Rows) -> Floats:
    """Return centroids of labels 0, 1, ... after each outlier joined the nearest one."""
    count = int(labels.max()) + 1
    if count == 0:
        return centroids(xyz, np.zeros(len(xyz), np.int64), 1)
    inlier = labels >= 0
    if inlier.all():
        return centroids(xyz, labels, count)
    group = labels.copy()
    group[~inlier] = nearest_site(centroids(xyz[inlier], labels[inlier], count), xyz[~inlier])[0]
    return centroids(xyz, group, count)


def _ranks(values: Sequence[float], descending: bool = False) -> NDArray[np.int64]:
    """Return ranks from 0; equal values share one."""
    keys = -np.asarray(values) if descending else np.asarray(values)
    return np.searchsorted(np.sort(keys), keys)


def _ratio_to_range(count: int, low: int, high: int) -> float:
    return max(low / count, count / high)
