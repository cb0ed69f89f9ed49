"""Positions as the geocells need them: checked, counted once each, matched to sites, averaged.

Positions and sites are rows of unit vectors, (N, 3), unless degrees are named.
"""

from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from geoindex import geo
from geoindex.errors import CoordinateError

Floats: TypeAlias = NDArray[np.float64]
Rows: TypeAlias = NDArray[np.int64]

THREADS_FROM = 20_000
"""Queries from which threads pay for their start."""


def checked_positions(lat: ArrayLike, lon: ArrayLike) -> tuple[Floats, Floats]:
    """Return degrees as two float64 vectors of one length, each place written in one way only.

    Longitude -180 becomes 180, and the poles get longitude 0.

    Raises:
        CoordinateError: if the lengths differ or a position is not on Earth.
    """
    lats, lons = np.atleast_1d(np.asarray(lat, float)), np.atleast_1d(np.asarray(lon, float))
    if lats.shape != lons.shape or lats.ndim != 1:
        raise CoordinateError(
            f"Latitudes {lats.shape} and longitudes {lons.shape} must be vectors of one length; pass one pair a row."
        )
    bad = np.flatnonzero(~geo.valid_positions(lats, lons))
    if len(bad):
        geo.check_position(float(lats[bad[0]]), float(lons[bad[0]]))
    return lats + 0.0, np.where(np.abs(lats) == 90.0, 0.0, np.where(lons == -180.0, 180.0, lons + 0.0))


def distinct_positions(lat: Floats, lon: Floats) -> Rows:
    """Return the first row of each distinct position, in order; positions as from `checked_positions`."""
    _, rows = np.unique(lat + 1j * lon, return_index=True)
    return np.sort(rows).astype(np.int64)


def nearest_site(site_xyz: Floats, xyz: Floats) -> tuple[Rows, Floats]:
    """Return for each position the row of its nearest site and its distance in km, each (N,)."""
    from scipy.spatial import KDTree

    chord, row = KDTree(site_xyz).query(xyz, workers=-1 if len(xyz) >= THREADS_FROM else 1)
    return np.asarray(row, np.int64), geo.chord_to_km(chord)


def centroids(xyz: Floats, group: Rows, count: int) -> Floats:
    """Return the mean direction of groups 0..count-1, (count, 3); every group needs a member.

    Members that cancel out (two antipodes) give the first of them.
    """
    total = np.stack([np.bincount(group, weights=axis, minlength=count) for axis in xyz.T], axis=-1)
    length = np.linalg.norm(total, axis=1)
    for row in np.flatnonzero(length < 1e-12):
        total[row], length[row] = xyz[np.argmax(group == row)], 1.0
    return np.asarray(total / length[:, None])


def occupied_sites(site_xyz: Floats, xyz: Floats) -> tuple[Floats, Rows, Floats]:
    """Drop the sites that are nearest to no position.

    Returns:
        The sites that are left (C, 3), and for each position the row of its site and the km to it, each (N,).
    """
    row, distance_km = nearest_site(site_xyz, xyz)
    kept, cell = np.unique(row, return_inverse=True)
    return site_xyz[kept], cell.astype(np.int64), distance_km
