"""Positions become a partition, by the method that a recipe names."""

import heapq
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from geoindex import geo
from geoindex.errors import ConfigError, EmptyDatasetError
from geoindex.geocells.bisection import Bisection, fit_bisection
from geoindex.geocells.grid import Grid, fit_grid
from geoindex.geocells.partition import BorderedPartition, Labels, Partition, Rule, RuledPartition, VoronoiPartition
from geoindex.geocells.positions import Floats, centroids, checked_positions, distinct_positions
from geoindex.geocells.quadtree import Quadtree, fit_quadtree, fit_quadtree_of
from geoindex.geocells.selection import Trials
from geoindex.geocells.sites import fit_sites
from geoindex.recipe import GeocellRecipe
from geoindex.sampling import sample_rows

SCORES_KEPT = 500
"""Rows of the sweep that a manifest keeps; a world of countries tries thousands."""


@dataclass(frozen=True, slots=True, eq=False)
class FittedPartition:
    """A partition and the evidence for it.

    Attributes:
        partition: the cells; each holds at least one of the positions that were looked at.
        scores: the sweep, one row a setting; empty where there was nothing to choose.
        chosen: the setting that won with its figures, the range, whether its count had to be repaired, the cells and
            error floor (median km from a position to its site) that came out, and how many positions were looked at.
    """

    partition: Partition
    scores: list[dict[str, Any]]
    chosen: dict[str, Any]

    def occupied_by(self, lat: ArrayLike, lon: ArrayLike, labels: Labels | None = None) -> "FittedPartition":
        """Return the partition without the cells that hold none of these positions.

        A gallery that is not what the cells were made from can leave some of them empty; their land goes to the
        neighbours, and none of these positions changes its cell, but for one as near to another site.

        Raises:
            EmptyDatasetError: if there are no positions.
            CoordinateError: if a position is not on Earth.
        """
        cells = self.partition
        # again, since a position as near to two sites may change sides when others go
        while len(kept := np.unique(cells.assign(lat, lon, labels))) < len(cells):
            if len(kept) == 0:
                raise EmptyDatasetError("There are no positions to occupy geocells; check what the source left out.")
            cells = cells.keep(kept)
        return FittedPartition(cells, self.scores, {**self.chosen, "n_cells": len(cells)})

    def to_dict(self) -> dict[str, Any]:
        """Return method, choice, sweep and the rule of the cells as plain data for a manifest."""
        rule = {} if isinstance(self.partition, VoronoiPartition) else {"partition": self.partition.to_dict()}
        return {"method": self.partition.method, "chosen": self.chosen, "scores": self.scores[:SCORES_KEPT], **rule}


def fit_partition(
    lat: ArrayLike, lon: ArrayLike, recipe: GeocellRecipe, seed: int, labels: Labels | None = None
) -> FittedPartition:
    """Divide the Earth by the positions that were seen there.

    Args:
        lat: latitudes in degrees, (N,).
        lon: longitudes in degrees, (N,).
        recipe: method, settings to try and the range of cell counts.
        seed: of the sample and of the sampled silhouettes.
        labels: of each position, (N,), where `recipe.within` names one.

    Raises:
        EmptyDatasetError: if there are no positions, or none has a label that is asked for.
        CoordinateError: if a position is not on Earth.
        ConfigError: if labels are asked for and there is not one a position.
        MissingExtraError: if the method needs a library that is not installed.
    """
    lats, lons = checked_positions(lat, lon)
    if len(lats) == 0:
        raise EmptyDatasetError("There are no positions to make geocells from; check what the source left out.")
    low, high = _cell_range(recipe, len(distinct_positions(lats, lons)))
    if recipe.within:
        return _fit_within_borders(lats, lons, low, high, recipe, seed, labels)
    return METHODS[recipe.method](lats, lons, low, high, recipe, seed)


def read_partition(data: Mapping[str, Any]) -> Partition:
    """Rebuild a partition from its `to_dict`; sites come back bit for bit."""
    if data["kind"] == "bordered":
        parts = {label: read_partition(part) for label, part in data["parts"].items()}
        return BorderedPartition(tuple(parts), tuple(parts.values()), data["within"])
    site_lat, site_lon = np.asarray(data["site_lat"], float), np.asarray(data["site_lon"], float)
    if data["kind"] == "voronoi":
        return VoronoiPartition(site_lat, site_lon, data["method"])
    rule = RULES[data["rule"]["rule"]](data["rule"])
    return RuledPartition(site_lat, site_lon, np.asarray(data["leaves"], np.int64), rule, data["method"])


def _cell_range(recipe: GeocellRecipe, n_distinct: int) -> tuple[int, int]:
    if recipe.n_cells:
        return min(recipe.n_cells, n_distinct), min(recipe.n_cells, n_distinct)
    root = math.sqrt(n_distinct)
    low = recipe.min_cells or max(1, round(0.5 * root))
    high = recipe.max_cells or max(low, round(2.0 * root))
    return min(low, high, n_distinct), min(high, n_distinct)


def _fit_density(lat: Floats, lon: Floats, low: int, high: int, recipe: GeocellRecipe, seed: int) -> FittedPartition:
    """Take centroids of density clusters as Voronoi sites (paper section 3.3).

    A site is the centroid of its cluster at birth and frozen from then on.
    """
    rows = sample_rows(lat, lon, recipe.max_positions, balance="cover", seed=seed)
    seen_lat, seen_lon = lat[rows], lon[rows]
    possible = len(distinct_positions(seen_lat, seen_lon))
    trials = Trials(recipe.min_samples, recipe.xi, seed, recipe.method)
    sites = fit_sites(seen_lat, seen_lon, min(low, possible), min(high, possible), trials)
    partition = VoronoiPartition(sites.lat, sites.lon, recipe.method)
    won = {"setting": sites.chosen.to_dict() if sites.chosen else {}, "repaired": sites.repaired}
    scores = [score.to_dict() for score in sites.scores]
    return FittedPartition(partition, scores, won | _facts(partition, lat, lon, low, high, len(rows)))


def _fit_quadtree(lat: Floats, lon: Floats, low: int, high: int, recipe: GeocellRecipe, seed: int) -> FittedPartition:
    if recipe.split_above:
        return _ruled(fit_quadtree(lat, lon, recipe.split_above, recipe.max_depth), lat, lon, low, high, recipe)
    fitted = _ruled(fit_quadtree_of(lat, lon, _middle(low, high), recipe.max_depth), lat, lon, low, high, recipe)
    if len(fitted.partition) >= low:
        return fitted
    # a cut in four can leap from below the range to beyond its middle
    return _ruled(fit_quadtree_of(lat, lon, high, recipe.max_depth), lat, lon, low, high, recipe)


def _fit_balanced(lat: Floats, lon: Floats, low: int, high: int, recipe: GeocellRecipe, seed: int) -> FittedPartition:
    return _ruled(fit_bisection(lat, lon, _middle(low, high)), lat, lon, low, high, recipe)


def _fit_grid(lat: Floats, lon: Floats, low: int, high: int, recipe: GeocellRecipe, seed: int) -> FittedPartition:
    return _ruled(fit_grid(lat, lon, high), lat, lon, low, high, recipe)


def _middle(low: int, high: int) -> int:
    return round(math.sqrt(low * high))


def _ruled(rule: Rule, lat: Floats, lon: Floats, low: int, high: int, recipe: GeocellRecipe) -> FittedPartition:
    """Make cells of the leaves that hold a position, each around the mean of its positions."""
    leaves, cell = np.unique(rule.leaf_of(lat, lon), return_inverse=True)
    sites = geo.from_unit(centroids(geo.to_unit(lat, lon), cell.astype(np.int64), len(leaves)))
    partition = RuledPartition(*sites, leaves, rule, recipe.method)
    won = {"setting": {}, "repaired": False}
    return FittedPartition(partition, [], won | _facts(partition, lat, lon, low, high, len(lat)))


def _facts(
    partition: Partition, lat: Floats, lon: Floats, low: int, high: int, looked_at: int, labels: Labels | None = None
) -> dict[str, Any]:
    cell = partition.assign(lat, lon, labels)
    distance_km = geo.haversine_km(lat, lon, partition.site_lat[cell], partition.site_lon[cell])
    cells = {"min_cells": low, "max_cells": high, "n_cells": len(partition)}
    return {**cells, "n_positions": looked_at, "error_floor_km": float(np.median(distance_km))}


def _fit_within_borders(
    lat: Floats, lon: Floats, low: int, high: int, recipe: GeocellRecipe, seed: int, labels: Labels | None
) -> FittedPartition:
    """Fit each label's positions on their own, with a share of the cells that is their share of the positions."""
    if labels is None:
        raise ConfigError(f"Geocells within '{recipe.within}' need that label of every position; the source has none.")
    if len(labels) != len(lat):
        raise ConfigError(f"{len(labels)} labels do not match {len(lat)} positions; pass one a position, or None.")
    known = np.asarray([label or "" for label in labels], np.str_)
    names, counts = np.unique(known, return_counts=True)
    rows_of = np.split(np.argsort(known, kind="stable"), np.cumsum(counts)[:-1])
    groups = {name: rows for name, rows in zip(names.tolist(), rows_of, strict=True) if name}
    if not groups:
        raise EmptyDatasetError(f"No position has the label '{recipe.within}'; leave out geocells.within.")
    sizes = [len(rows) for rows in groups.values()]
    distinct = [len(distinct_positions(lat[rows], lon[rows])) for rows in groups.values()]
    ranges = zip(apportion(low, sizes, distinct), apportion(high, sizes, distinct), strict=True)
    parts, scores = [], []
    for (name, rows), (least, most) in zip(groups.items(), ranges, strict=True):
        share = replace(recipe, max_positions=max(1, round(recipe.max_positions * len(rows) / len(lat))))
        part = METHODS[recipe.method](lat[rows], lon[rows], min(least, most), most, share, seed)
        parts.append(part.partition)
        scores += [{recipe.within: name, **score} for score in part.scores]
    partition = BorderedPartition(tuple(groups), tuple(parts), recipe.within)
    facts = _facts(partition, lat, lon, low, high, len(lat), labels)
    return FittedPartition(partition, scores, {"setting": {}, "repaired": False, **facts, "within": recipe.within})


def apportion(total: int, sizes: Sequence[int], most: Sequence[int]) -> list[int]:
    """Share out a number of cells by size (D'Hondt's method), one at least to each.

    Args:
        total: cells to share out; the sum of the result, within what `most` and one each allow.
        sizes: positions of each part, (P,).
        most: cells that each part can hold, (P,), 1 or more.
    """
    shares = [1] * len(sizes)
    waiting = [(-size / 2, part) for part, size in enumerate(sizes) if most[part] > 1]
    heapq.heapify(waiting)
    for _ in range(total - len(sizes)):
        if not waiting:
            break
        part = heapq.heappop(waiting)[1]
        shares[part] += 1
        if shares[part] < most[part]:
            heapq.heappush(waiting, (-sizes[part] / (shares[part] + 1), part))
    return shares


Fit = Callable[[Floats, Floats, int, int, GeocellRecipe, int], FittedPartition]

METHODS: Mapping[str, Fit] = {
    "optics": _fit_density,
    "hdbscan": _fit_density,
    "quadtree": _fit_quadtree,
    "balanced": _fit_balanced,
    "grid": _fit_grid,
}
RULES: Mapping[str, Callable[[dict[str, Any]], Rule]] = {
    "quadtree": Quadtree.from_dict,
    "bisection": Bisection.from_dict,
    "grid": Grid.from_dict,
}
