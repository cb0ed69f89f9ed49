"""Where the members of cells or clusters lie: centroid, number, radii, spread."""

from dataclasses import dataclass

import numpy as np

from geoindex.geo import group_means, haversine_km
from geoindex.geocells.positions import Floats, Rows


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
    distance_km = haversine_km(lat, lon, mean_lat[group], mean_lon[group])
    size = np.bincount(group, minlength=count)
    square = np.bincount(group, weights=distance_km**2, minlength=count)
    return Footprints(
        mean_lat,
        mean_lon,
        size,
        group_quantile(distance_km, group, count, 0.68),
        group_quantile(distance_km, group, count, 0.95),
        np.sqrt(square / size),
    )


def group_quantile(values: Floats, group: Rows, count: int, share: float) -> Floats:
    """Return for each group the smallest member value that at least `share` of the members do not exceed."""
    order = np.lexsort((values, group))
    size = np.bincount(group, minlength=count)
    first = np.cumsum(size) - size
    # 0.68 * 75 is a hair above 51: without the margin the 52nd of 75 would stand for the 51st
    held = np.ceil(share * size - 1e-9).astype(np.int64)
    return np.asarray(values[order][first + held - 1])
