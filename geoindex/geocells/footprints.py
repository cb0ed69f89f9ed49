"""Where the members of cells or clusters lie: centroid, number, radii, spread."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from geoindex.geo import group_means, haversine_km
from geoindex.geocells.positions import Floats, Rows

MEMBERS = 2**18
"""Members whose distances are computed at a time: a haversine of all takes ten times their positions."""


@dataclass(frozen=True, slots=True, eq=False)
class Footprints:
    """The positions of groups, summed up.

    Attributes:
        lat, lon: centroids in degrees, (G,).
        n_members: how many they are, (G,).
        radius_km, radius95_km: distance from the centroid that holds 68 % and 95 % of the members, (G,).
        spread_km: root of the mean squared distance from the centroid, (G,).
    """

    lat: Floats
    lon: Floats
    n_members: Rows
    radius_km: Floats
    radius95_km: Floats
    spread_km: Floats


def footprints(lat: Floats, lon: Floats, group: Rows, count: int) -> Footprints:
    """Sum up the positions of groups.

    Args:
        lat: of the members in degrees, (N,).
        lon: likewise.
        group: the group of each member, (N,); every group 0..count-1 has one.
        count: number of groups.
    """
    mean_lat, mean_lon = group_means(lat, lon, group, count)
    first = np.full(count, -1)
    first[group[::-1]] = np.arange(len(group))[::-1]
    # members that cancel out, such as two antipodes, have no mean: the first stands for them
    mean_lat = np.where(np.isnan(mean_lat), lat[first], mean_lat)
    mean_lon = np.where(np.isnan(mean_lon), lon[first], mean_lon)
    distance_km = np.empty(len(lat))
    for start in range(0, len(lat), MEMBERS):
        some = slice(start, start + MEMBERS)
        distance_km[some] = haversine_km(lat[some], lon[some], mean_lat[group[some]], mean_lon[group[some]])
    size = np.bincount(group, minlength=count)
    square = np.bincount(group, weights=distance_km**2, minlength=count)
    most, nearly_all = group_quantiles(distance_km, group, count, (0.68, 0.95))
    return Footprints(mean_lat, mean_lon, size, most, nearly_all, np.sqrt(square / size))


def group_quantiles(values: Floats, group: Rows, count: int, shares: Sequence[float]) -> list[Floats]:
    """Return by share, for each group, the smallest member value that at least so many members do not exceed."""
    ordered = values[np.lexsort((values, group))]
    size = np.bincount(group, minlength=count)
    first = np.cumsum(size) - size
    # 0.68 * 75 is a hair above 51: without the margin the 52nd of 75 would stand for the 51st
    held = [np.ceil(share * size - 1e-9).astype(np.int64) for share in shares]
    return [np.asarray(ordered[first + members - 1]) for members in held]
