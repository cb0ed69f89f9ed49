"""The sphere: degrees outside, unit vectors inside.

Every distance of geoindex comes from here, with one Earth radius; others serve only to match published numbers.
Angles are degrees (lat, lon), arrays broadcast, and results are float64. Formulas: haversine (paper section 3.2, in its
standard form).
"""

import math
from collections.abc import Iterator
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from geoindex.errors import ConfigError, CoordinateError, MissingExtraError

EARTH_RADIUS_KM = 6371.0088
"""Mean radius of the Earth (IUGG); a sphere of it is within 0.56 % of WGS84 everywhere."""

EARTH_AREA_KM2 = 4.0 * math.pi * EARTH_RADIUS_KM**2
HALF_CIRCUMFERENCE_KM = math.pi * EARTH_RADIUS_KM
KM_PER_DEGREE = HALF_CIRCUMFERENCE_KM / 180.0

BLOCK_DISTANCES = 12_000
"""Distances that `pairwise_km` computes at a time; larger arrays would be fresh pages of the system each time."""

Floats: TypeAlias = NDArray[np.float64]


def check_position(lat: float, lon: float) -> None:
    """Refuse a position that is not on Earth.

    Raises:
        CoordinateError: if a number is not finite, |lat| > 90 or |lon| > 180.
    """
    if not (math.isfinite(lat) and math.isfinite(lon)):
        raise CoordinateError(f"Position ({lat}, {lon}) is not a number; leave the row out or correct it.")
    if abs(lat) > 90.0:
        raise CoordinateError(f"Latitude {lat} is outside -90..90; are latitude and longitude swapped?")
    if abs(lon) > 180.0:
        raise CoordinateError(f"Longitude {lon} is outside -180..180; subtract or add 360.")


def valid_positions(lat: ArrayLike, lon: ArrayLike) -> NDArray[np.bool_]:
    """Tell for each position whether it is on Earth, (N,)."""
    with np.errstate(invalid="ignore"):
        lat_fits = np.abs(np.asarray(lat, float)) <= 90.0
        lon_fits = np.abs(np.asarray(lon, float)) <= 180.0
    return np.asarray(lat_fits & lon_fits)


def to_unit(lat: ArrayLike, lon: ArrayLike) -> Floats:
    """Turn degrees into unit vectors, (..., 3)."""
    phi, lam = np.radians(np.asarray(lat, float)), np.radians(np.asarray(lon, float))
    from_axis = np.cos(phi)
    units = np.empty((*np.broadcast_shapes(phi.shape, lam.shape), 3))
    units[..., 0], units[..., 1], units[..., 2] = from_axis * np.cos(lam), from_axis * np.sin(lam), np.sin(phi)
    return units


def unit_of(lat: float, lon: float) -> Floats:
    """Turn one position into its unit vector, (3,): in plain numbers, since arrays of one take ten times as long."""
    phi, lam = math.radians(lat), math.radians(lon)
    return np.array([math.cos(phi) * math.cos(lam), math.cos(phi) * math.sin(lam), math.sin(phi)])


def from_unit(xyz: ArrayLike) -> tuple[Floats, Floats]:
    """Turn vectors of any positive length, (..., 3), into degrees (lat, lon)."""
    x, y, z = np.moveaxis(np.asarray(xyz, float), -1, 0)
    return np.degrees(np.arctan2(z, np.hypot(x, y))), np.degrees(np.arctan2(y, x))


def haversine_km(
    lat1: ArrayLike, lon1: ArrayLike, lat2: ArrayLike, lon2: ArrayLike, *, radius_km: float = EARTH_RADIUS_KM
) -> Floats:
    """Return great-circle distances in km; inputs broadcast."""
    phi1, lam1 = np.radians(np.asarray(lat1, float)), np.radians(np.asarray(lon1, float))
    phi2, lam2 = np.radians(np.asarray(lat2, float)), np.radians(np.asarray(lon2, float))
    a = np.sin((phi2 - phi1) / 2) ** 2 + np.cos(phi1) * np.cos(phi2) * np.sin((lam2 - lam1) / 2) ** 2
    return np.asarray(2.0 * radius_km * np.arcsin(np.sqrt(np.clip(a, 0.0, 1.0))))


def distance_km(lat1: float, lon1: float, lat2: float, lon2: float) -> float:
    """Return the great-circle distance of two positions in km, in plain numbers as `unit_of`."""
    phi1, phi2 = math.radians(lat1), math.radians(lat2)
    across, along = math.sin((phi2 - phi1) / 2), math.sin(math.radians(lon2 - lon1) / 2)
    a = across**2 + math.cos(phi1) * math.cos(phi2) * along**2
    return 2.0 * EARTH_RADIUS_KM * math.asin(math.sqrt(min(max(a, 0.0), 1.0)))


def geodesic_km(lat1: ArrayLike, lon1: ArrayLike, lat2: ArrayLike, lon2: ArrayLike) -> Floats:
    """Return lengths of geodesics of the WGS84 ellipsoid in km (Karney 2013, as geopy's); inputs broadcast.

    Raises:
        MissingExtraError: without pyproj.
    """
    try:
        from pyproj import Geod
    except ImportError as error:
        raise MissingExtraError("Geodesic distances need an extra: pip install 'geoindex[geodesic]'.") from error
    ends = np.broadcast_arrays(*(np.asarray(angle, float) for angle in (lon1, lat1, lon2, lat2)))
    _, _, metres = Geod(ellps="WGS84").inv(*(angle.ravel() for angle in ends))
    return np.asarray(metres, float).reshape(ends[0].shape) / 1000.0


def pairwise_km(one: Floats, other: Floats) -> Iterator[Floats]:
    """Yield great-circle distances between unit vectors, (N, 3) and (M, 3), to about a metre, in blocks of rows (n, M).

    Several times as fast as `haversine_km`: all but one sine comes out of a product, and a block stays in the cache.
    The product is not left to BLAS, whose threads would wait for those of an encoder that has just finished.
    """
    columns = np.ascontiguousarray(other.T)
    rows = max(1, BLOCK_DISTANCES // max(1, len(other)))
    for start in range(0, len(one), rows):
        grid: Floats = np.einsum("nk,km->nm", one[start : start + rows], columns)  # cosines, in the end distances
        np.arccos(np.clip(grid, -1.0, 1.0, out=grid), out=grid)
        grid *= EARTH_RADIUS_KM
        yield grid


def chord_to_km(chord: ArrayLike) -> Floats:
    """Turn straight distances between unit vectors (0 to 2) into km along the sphere."""
    return np.asarray(2.0 * EARTH_RADIUS_KM * np.arcsin(np.clip(np.asarray(chord, float) / 2.0, 0.0, 1.0)))


def km_to_chord(distance_km: ArrayLike) -> Floats:
    """Turn km along the sphere into straight distances between unit vectors."""
    angle = np.clip(np.asarray(distance_km, float) / EARTH_RADIUS_KM, 0.0, math.pi)
    return np.asarray(2.0 * np.sin(angle / 2.0))


def group_means(lat: ArrayLike, lon: ArrayLike, group: NDArray[np.int64], count: int) -> tuple[Floats, Floats]:
    """Return the mean position of each group 0..count-1, each (count,).

    A group without members, or whose mean has no direction, gives NaN: callers decide what stands there.
    """
    xyz = to_unit(lat, lon).reshape(-1, 3)
    sums = [np.bincount(group, weights=axis, minlength=count) for axis in xyz.T]
    total = np.stack(sums, axis=-1).astype(np.float64)  # of nothing they are integers
    total[np.linalg.norm(total, axis=1) < 1e-12] = np.nan
    return from_unit(total)


def nearest(
    site_lat: ArrayLike, site_lon: ArrayLike, lat: ArrayLike, lon: ArrayLike
) -> tuple[NDArray[np.int64], Floats]:
    """Return for each position the row of the nearest site and its distance in km, each (N,)."""
    from scipy.spatial import KDTree

    tree = KDTree(to_unit(site_lat, site_lon).reshape(-1, 3))
    chord, row = tree.query(to_unit(lat, lon).reshape(-1, 3), workers=-1)
    return np.asarray(row, np.int64), chord_to_km(chord)


def destination(
    lat: ArrayLike, lon: ArrayLike, bearing_deg: ArrayLike, distance_km: ArrayLike
) -> tuple[Floats, Floats]:
    """Return where one arrives after `distance_km` along a great circle; inputs broadcast."""
    phi, lam = np.radians(np.asarray(lat, float)), np.radians(np.asarray(lon, float))
    theta, delta = (
        np.radians(np.asarray(bearing_deg, float)),
        np.asarray(distance_km, float) / EARTH_RADIUS_KM,
    )
    sin_phi = np.sin(phi) * np.cos(delta) + np.cos(phi) * np.sin(delta) * np.cos(theta)
    phi2 = np.arcsin(np.clip(sin_phi, -1.0, 1.0))
    lam2 = lam + np.arctan2(np.sin(theta) * np.sin(delta) * np.cos(phi), np.cos(delta) - np.sin(phi) * sin_phi)
    return np.degrees(phi2), wrap_lon(np.degrees(lam2))


def wrap_lon(lon: ArrayLike) -> Floats:
    """Bring longitudes into -180 (excluded) to 180 (included)."""
    wrapped = 180.0 - np.mod(180.0 - np.asarray(lon, float), 360.0)
    # the remainder of a tiny negative number rounds to 360 itself
    return np.where(wrapped == -180.0, 180.0, wrapped)


def coarsen(lat: float, lon: float, precision_km: float) -> tuple[float, float]:
    """Move a position to the middle of its tile in a grid whose tiles are about `precision_km` wide.

    Every position of a tile gives the same answer, so the answer does not tell them apart.

    Raises:
        ConfigError: if `precision_km` is not positive.
        CoordinateError: if the position is not on Earth.
    """
    check_position(lat, lon)
    if not precision_km > 0:
        raise ConfigError(f"precision_km is {precision_km}; it must be above 0.")
    rows = max(1, math.floor(HALF_CIRCUMFERENCE_KM / precision_km))
    row = min(math.floor((lat + 90.0) / 180.0 * rows), rows - 1)
    tile_lat = (row + 0.5) * 180.0 / rows - 90.0
    circle_km = 2.0 * HALF_CIRCUMFERENCE_KM * math.cos(math.radians(tile_lat))
    columns = max(1, math.floor(circle_km / precision_km))
    column = math.floor((lon + 180.0) / 360.0 * columns) % columns
    return tile_lat, (column + 0.5) * 360.0 / columns - 180.0
