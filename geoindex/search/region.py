"""Where an answer may lie: a box, a polygon, a country, or a list of cells.

A cluster is inside if its centroid is.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from geoindex.errors import ConfigError

if TYPE_CHECKING:
    from geoindex.search.posterior import Geography
    from geoindex.store.checked_table import CheckedTable

WAYS = (
    "south,west,north,east in degrees, the name or the two letters of a country, cells:1,2,3, "
    "or a GeoJSON file, geometry or shape with polygons"
)
POLYGONS = ("Polygon", "MultiPolygon")
NAMED = 5
"""Cells that are written out in a message."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Box:
    """Between two parallels and two meridians, in degrees; over the antimeridian where west is greater than east."""

    south: float
    west: float
    north: float
    east: float

    def __post_init__(self) -> None:
        apart = self.west != self.east and max(abs(self.west), abs(self.east)) <= 180
        if not (-90 <= self.south < self.north <= 90 and apart):
            raise ConfigError(
                f"within={self.south},{self.west},{self.north},{self.east} is no box; give south,west,north,east in "
                "degrees, with south below north."
            )

    def __str__(self) -> str:
        return f"{self.south:g},{self.west:g},{self.north:g},{self.east:g}"

    def holds(self, geography: "Geography", clusters: "CheckedTable") -> NDArray[np.bool_]:
        """Tell which clusters are inside, (M,)."""
        return self.contains(geography.lat, geography.lon)

    def contains(self, lat: Floats, lon: Floats) -> NDArray[np.bool_]:
        """Tell which points are inside, (N,)."""
        # the antimeridian has two longitudes, a pole has all of them
        anywhere = (np.abs(lat) == 90) | self._between(lon) | ((np.abs(lon) == 180) & self._between(-lon))
        return np.asarray((lat >= self.south) & (lat <= self.north) & anywhere)

    def _between(self, lon: Floats) -> NDArray[np.bool_]:
        east_of, west_of = lon >= self.west, lon <= self.east
        return (east_of & west_of) if self.west <= self.east else (east_of | west_of)


@dataclass(frozen=True, slots=True)
class Country:
    """A country, by the places that clusters are named after."""

    name: str

    def __str__(self) -> str:
        return self.name

    def holds(self, geography: "Geography", clusters: "CheckedTable") -> NDArray[np.bool_]:
        """Tell which clusters are inside, (M,)."""
        import pyarrow.compute as pc

        places = clusters["place"]
        named = pc.or_(pc.ends_with(places, pattern=f", {self.name}"), pc.equal(places, self.name))
        # a country that is a city: "12 km from Monaco"
        return np.asarray(pc.or_(named, pc.ends_with(places, pattern=f" km from {self.name}")).to_numpy())

    def contains(self, lat: Floats, lon: Floats) -> NDArray[np.bool_]:
        """Tell which points are nearest to a place of it, (N,)."""
        from geoindex.places import nearest_labels

        return np.array([country == self.name for country in nearest_labels(lat, lon, "country")])


@dataclass(frozen=True, slots=True)
class Cells:
    """Some cells."""

    cells: tuple[int, ...]

    def __str__(self) -> str:
        return "cells:" + ",".join(map(str, self.cells[:NAMED])) + (",..." if len(self.cells) > NAMED else "")

    def holds(self, geography: "Geography", clusters: "CheckedTable") -> NDArray[np.bool_]:
        """Tell which clusters are inside, (M,).

        Raises:
            ConfigError: if there is no such cell.
        """
        wrong = [cell for cell in self.cells if not 0 <= cell < len(geography.cell_lat)]
        if wrong:
            raise ConfigError(f"The index has no cell {wrong[0]}; its cells are 0 to {len(geography.cell_lat) - 1}.")
        return np.isin(geography.cell, self.cells)

    def contains(self, lat: Floats, lon: Floats) -> NDArray[np.bool_]:
        """Tell which points may answer, (N,): all, for a cell is where its photos are."""
        return np.ones(len(lat), bool)


@dataclass(frozen=True, slots=True)
class Area:
    """Polygons in longitude and latitude, as well-known binary; over the antimeridian they are cut or go on."""

    wkb: bytes

    def __str__(self) -> str:
        import shapely

        west, south, east, north = shapely.from_wkb(self.wkb).bounds
        return f"polygons from {south:g},{west:g} to {north:g},{east:g}"

    def holds(self, geography: "Geography", clusters: "CheckedTable") -> NDArray[np.bool_]:
        """Tell which clusters are inside, (M,)."""
        return self.contains(geography.lat, geography.lon)

    def contains(self, lat: Floats, lon: Floats) -> NDArray[np.bool_]:
        """Tell which points are inside, (N,)."""
        import shapely

        area = shapely.from_wkb(self.wkb)
        shapely.prepare(area)
        west, _, east, _ = area.bounds
        inside = shapely.intersects_xy(area, lon, lat)
        if east >= 180:
            inside |= shapely.intersects_xy(area, lon + 360, lat)
        if west <= -180:
            inside |= shapely.intersects_xy(area, lon - 360, lat)
        return np.asarray(inside)


Region: TypeAlias = Box | Country | Cells | Area


def parse_region(given: Any) -> Region:
    """Return the region that is meant.

    Args:
        given: a text or file (see `WAYS`), four numbers, a GeoJSON geometry, feature or collection, or an object with
            `__geo_interface__`, such as a shape of shapely or a frame of geopandas.

    Raises:
        ConfigError: if none is meant.
    """
    if isinstance(given, Region):
        return given
    shape = getattr(given, "__geo_interface__", given)
    if isinstance(shape, Mapping):
        return _area(shape)
    if isinstance(given, PathLike) or (isinstance(given, str) and given.lower().endswith((".geojson", ".json"))):
        return _area(_read(Path(given)))
    if isinstance(given, str):
        return region_of_text(given)
    if isinstance(given, Sequence) and len(given) == 4:
        return Box(*map(_number, given))
    raise ConfigError(f"within={given!r} is no region; give {WAYS}.")


def region_of_text(text: str) -> Region:
    """Return the region that a text spells out: a box, a country, cells, or GeoJSON; it is never taken for a file.

    Raises:
        ConfigError: if none is meant.
    """
    text = text.strip()
    if text.startswith("{"):
        return _area(_shape(text))
    if match := re.fullmatch(r"cells:\s*([0-9]{1,18}(?:\s*,\s*[0-9]{1,18})*)", text):
        return Cells(tuple(int(cell) for cell in match[1].split(",")))
    parts = text.split(",")
    if len(parts) == 4:
        return Box(*map(_number, parts))
    return Country(_country(text))


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"within has {value!r} where a number should be; give {WAYS}.") from error


def _country(text: str) -> str:
    """Return the name of a country as answers write it."""
    from geoindex.places import named_places

    places = named_places()
    names = dict(zip(places.country_code, places.country, strict=True))
    if text.upper() in names:
        return names[text.upper()]
    for name in names.values():
        if name.casefold() == text.casefold():
            return name
    raise ConfigError(f"within={text!r} is no region; give {WAYS}.")


def _shape(text: str) -> Mapping[str, Any]:
    try:
        shape = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"within is no GeoJSON ({error}); give {WAYS}.") from error
    if not isinstance(shape, Mapping):
        raise ConfigError(f"within is no GeoJSON; give {WAYS}.")
    return shape


def _read(path: Path) -> Mapping[str, Any]:
    try:
        shape = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"within='{path}' cannot be read ({error}); give a GeoJSON file with polygons.") from error
    if not isinstance(shape, Mapping):
        raise ConfigError(f"within='{path}' is no GeoJSON; give a file with polygons.")
    return shape


def _area(shape: Mapping[str, Any]) -> Area:
    import shapely
    from shapely.geometry import shape as geometry

    try:
        area = shapely.union_all([geometry(part) for part in _geometries(shape)])
    except Exception as error:  # shapely raises anything on what is no geometry
        raise ConfigError(f"within has a geometry that cannot be read ({error}); give {WAYS}.") from error
    if area.geom_type not in POLYGONS or area.is_empty:
        raise ConfigError(f"within has no polygons but a {area.geom_type}; give {WAYS}.")
    west, south, east, north = area.bounds
    if not (south >= -90 and north <= 90 and west >= -360 and east <= 360):
        raise ConfigError(
            f"within has polygons from {west:g} to {east:g} in longitude and {south:g} to {north:g} in latitude; "
            "give degrees, longitude first."
        )
    return Area(area.wkb)


def _geometries(shape: Mapping[str, Any]) -> list[Any]:
    if shape.get("type") == "FeatureCollection":
        return [part for feature in shape["features"] for part in _geometries(feature)]
    if shape.get("type") == "Feature":  # one without a geometry has no place (RFC 7946, section 3.2)
        return [] if shape["geometry"] is None else _geometries(shape["geometry"])
    return [shape]
