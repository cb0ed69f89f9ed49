"""Turns many positions into a seeded choice of some: uniform, even over their area, or uniform without gaps."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from geoindex.errors import ConfigError
from geoindex.splits import tile_of

TILE_KM = 100.0
"""Side of the tiles over which `area` is even and which `cover` does not leave empty."""

COVER_SHARE = 0.1
"""Part of a sample that `cover` may spend on tiles of which a uniform one would take nobody."""


def sample_rows(
    lat: ArrayLike, lon: ArrayLike, count: int, *, balance: str = "uniform", seed: int
) -> NDArray[np.int64]:
    """Choose `count` rows without repetition; return their numbers in ascending order.

    `area` weighs each row by one over the number of rows in its tile of about 100 km, so that every inhabited
    tile counts alike until it is used up. `cover` takes one row of each tile first, of random tiles if they are more
    than a tenth of the sample, and the rest uniformly: densities stay as they are, and few remote places are lost.
    Rows are drawn with exponential keys (Efraimidis and Spirakis 2006).

    Args:
        lat: latitudes in degrees, (N,).
        lon: longitudes in degrees, (N,).
        count: rows to choose; N or more means all.
        balance: uniform, area or cover.
        seed: another seed gives another choice.

    Raises:
        ConfigError: if `count` is negative or `balance` unknown.
    """
    lat, lon = np.asarray(lat, float), np.asarray(lon, float)
    if balance not in ("uniform", "area", "cover"):
        raise ConfigError(f"Cannot balance a sample by {balance!r}; choose uniform, area or cover.")
    if count < 0:
        raise ConfigError(f"Cannot sample {count} rows; the number must be at least 0.")
    if count >= len(lat):
        return np.arange(len(lat), dtype=np.int64)
    keys = np.random.default_rng(seed).exponential(size=len(lat))
    if balance == "area":
        _, tile, sizes = _tiles(lat, lon)
        keys *= sizes[tile]
    elif balance == "cover":
        first, _, _ = _tiles(lat, lon, keys)
        keys[first[np.argsort(keys[first])][: int(COVER_SHARE * count)]] = -1.0
    return np.sort(np.argpartition(keys, count)[:count]).astype(np.int64)


def _tiles(
    lat: NDArray[np.float64], lon: NDArray[np.float64], keys: NDArray[np.float64] | None = None
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return the row of the least key in each tile, the tile of each row, and the number of rows in each tile."""
    order = np.arange(len(lat)) if keys is None else np.argsort(keys)
    _, first, tile, sizes = np.unique(
        tile_of(lat[order], lon[order], TILE_KM), return_index=True, return_inverse=True, return_counts=True
    )
    of_row = np.empty(len(lat), np.int64)
    of_row[order] = tile
    return order[first], of_row, sizes
