"""Turns many positions into a seeded choice of some: uniform, or even over the area that they cover."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from geoindex.errors import ConfigError
from geoindex.splits import tile_of

TILE_KM = 100.0
"""Side of the tiles over which `area` is even."""


def sample_rows(
    lat: ArrayLike, lon: ArrayLike, count: int, *, balance: str = "uniform", seed: int
) -> NDArray[np.int64]:
    """Choose `count` rows without repetition; return their numbers in ascending order.

    `area` weighs each row by one over the number of rows in its tile of about 100 km, so that every inhabited
    tile counts alike until it is used up. Rows are drawn with exponential keys (Efraimidis and Spirakis 2006).

    Args:
        lat: latitudes in degrees, (N,).
        lon: longitudes in degrees, (N,).
        count: rows to choose; N or more means all.
        balance: uniform or area.
        seed: another seed gives another choice.

    Raises:
        ConfigError: if `count` is negative or `balance` unknown.
    """
    lat, lon = np.asarray(lat, float), np.asarray(lon, float)
    if balance not in ("uniform", "area"):
        raise ConfigError(f"Cannot balance a sample by {balance!r}; choose uniform or area.")
    if count < 0:
        raise ConfigError(f"Cannot sample {count} rows; the number must be at least 0.")
    if count >= len(lat):
        return np.arange(len(lat), dtype=np.int64)
    keys = np.random.default_rng(seed).exponential(size=len(lat))
    if balance == "area":
        keys *= _neighbours(lat, lon)
    return np.sort(np.argpartition(keys, count)[:count]).astype(np.int64)


def _neighbours(lat: NDArray[np.float64], lon: NDArray[np.float64]) -> NDArray[np.int64]:
    _, tile, sizes = np.unique(tile_of(lat, lon, TILE_KM), return_inverse=True, return_counts=True)
    return np.asarray(sizes[tile], np.int64)
