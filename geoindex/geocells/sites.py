"""Positions become sites: sweep, choice, and repair where no setting gives a count in the range."""

from dataclasses import dataclass

import numpy as np

from geoindex import geo
from geoindex.geocells.positions import Floats, centroids, nearest_site
from geoindex.geocells.repair import into_range
from geoindex.geocells.selection import Score, Trials, choose, sweep


@dataclass(frozen=True, slots=True)
class Sites:
    """Sites and how they were found; each is the nearest site of at least one position.

    Attributes:
        lat, lon: degrees, (C,).
        scores: the sweep; empty where a single site was asked for.
        chosen: the score that won; None where there was no sweep.
        repaired: whether the winner's count was brought into the range afterwards.
        error_floor_km: median distance from a position to its site, after any repair.
    """

    lat: Floats
    lon: Floats
    scores: tuple[Score, ...]
    chosen: Score | None
    repaired: bool
    error_floor_km: float


def fit_sites(lat: Floats, lon: Floats, min_sites: int, max_sites: int, trials: Trials) -> Sites:
    """Find min_sites..max_sites sites for positions as from `checked_positions` (one or more).

    `min_sites` must not exceed the number of distinct positions.
    """
    xyz = geo.to_unit(lat, lon)
    if max_sites == 1:
        return _finished(xyz, centroids(xyz, np.zeros(len(xyz), np.int64), 1), (), None)
    scores = tuple(sweep(lat, lon, trials))
    chosen = choose(scores, min_sites, max_sites)
    if min_sites <= chosen.n_clusters <= max_sites:
        return _finished(xyz, chosen.site_xyz, scores, chosen)
    return _finished(xyz, into_range(xyz, chosen.site_xyz, min_sites, max_sites), scores, chosen, repaired=True)


def _finished(
    xyz: Floats, site_xyz: Floats, scores: tuple[Score, ...], chosen: Score | None, repaired: bool = False
) -> Sites:
    lat, lon = geo.from_unit(site_xyz)
    row, distance_km = nearest_site(geo.to_unit(lat, lon), xyz)  # as degrees will be read back
    kept = np.unique(row)
    return Sites(lat[kept], lon[kept], scores, chosen, repaired, float(np.median(distance_km)))
