"""The synthetic Earth: street scenes rendered from causes that depend on place.

For people and machines without a data set. Positions are real populated places, moved by up to some kilometres;
everything in the pictures is invented, and none of them shows a real place.
"""

import math
import re
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geoindex.errors import ConfigError, UnreadableImageError
from geoindex.geo import destination
from geoindex.places import Places, named_places
from geoindex.sources.source import LeftOut, Scan
from geoindex.types import Samples

if TYPE_CHECKING:
    from PIL.Image import Image

    from geoindex.sources.earth.scene import Scene

_LOCATOR = re.compile(r"synthetic/(\d{1,18})/(\d{1,18})")
_POWER = 0.4
_SMALL_TOWN, _LARGE_CITY = 200.0, 5e6
_NEAREST_KM, _FARTHEST_KM = 0.2, 15.0
_SCENE, _DETAIL = 1, 2
_NEW_YEAR = np.datetime64("2023-01-01")

_lock = Lock()
_shares: dict[str, NDArray[np.float64]] = {}


@dataclass(frozen=True, slots=True)
class _Draw:
    """Places of some photographs: rows of the table, positions, distances from the centre, headings; each (N,)."""

    rows: NDArray[np.int64]
    lat: NDArray[np.float64]
    lon: NDArray[np.float64]
    distance_km: NDArray[np.float64]
    heading_deg: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class SyntheticEarth:
    """A source of `count` invented street scenes; photograph i of a seed is the same whatever the count.

    There is one synthetic Earth: another seed takes other photographs of the same world.

    Attributes:
        count: number of samples.
        seed: chooses the photographs, 0 or more.
        image_size: side of the square pictures in pixels, 32 to 2048.

    Raises:
        ConfigError: if a number is out of range.
    """

    count: int
    seed: int = 0
    image_size: int = 224

    def __post_init__(self) -> None:
        if self.count <= 0:
            raise ConfigError(f"A synthetic Earth of {self.count} images is empty; ask for at least one.")
        if not 0 <= self.seed < 10**18:
            raise ConfigError(f"Seed {self.seed} of the synthetic Earth must be 0 or more, of at most 18 digits.")
        if not 32 <= self.image_size <= 2048:
            raise ConfigError(f"Image size {self.image_size} of the synthetic Earth is outside 32..2048 pixels.")

    @property
    def uri(self) -> str:
        """The URI that opens this source again."""
        size = "" if self.image_size == 224 else f"&size={self.image_size}"
        return f"synthetic:{self.count}?seed={self.seed}{size}"

    def scan(self) -> Scan:
        """List all samples without drawing them."""
        from geoindex.sources.earth.climate import climate_names
        from geoindex.sources.earth.culture import LEFT_DRIVING

        places, draw = named_places(), _draw(self.seed, np.arange(self.count))
        rows = draw.rows.tolist()
        columns: dict[str, Any] = {
            "id": [f"synthetic-{self.seed}-{i:06d}" for i in range(self.count)],
            "image": [f"synthetic/{self.seed}/{i}" for i in range(self.count)],
            "lat": draw.lat,
            "lon": draw.lon,
            "heading_deg": draw.heading_deg.astype(np.float32),
            "country": [places.country[row] for row in rows],
            "region": [places.region[row] or None for row in rows],
            "city": [places.city[row] for row in rows],
            "captured_at": _dates(self.seed, self.count),
            "climate": climate_names(draw.lat, draw.lon),
            "drive_side": ["left" if places.country_code[row] in LEFT_DRIVING else "right" for row in rows],
        }
        return Scan(Samples.from_columns(columns), LeftOut())

    def file_of(self, image: str) -> None:
        """Return None: samples are made, and never change."""

    def read(self, image: str) -> "Image":
        """Draw the picture of a locator such as "synthetic/0/123".

        Raises:
            UnreadableImageError: if the locator is not of this form.
        """
        from geoindex.sources.earth.painter import paint

        seed, index = _parse(image)
        return paint(self.causes(image), self.image_size, np.random.default_rng([seed, index, _DETAIL]))

    def causes(self, image: str) -> "Scene":
        """Return why the picture of a locator looks as it does.

        Raises:
            UnreadableImageError: if the locator is not of the form "synthetic/0/123".
        """
        from geoindex.sources.earth.scene import make_scene

        seed, index = _parse(image)
        places, draw = named_places(), _draw(seed, np.array([index]))
        row = int(draw.rows[0])
        return make_scene(
            (float(draw.lat[0]), float(draw.lon[0])),
            places.country_code[row],
            town=(float(places.population[row]), float(draw.distance_km[0])),
            heading_deg=float(draw.heading_deg[0]),
            rng=_scene_rng(seed, index),
        )


def _parse(image: str) -> tuple[int, int]:
    match = _LOCATOR.fullmatch(image)
    if match is None:
        raise UnreadableImageError(image, "the synthetic Earth names images 'synthetic/SEED/INDEX'")
    return int(match[1]), int(match[2])


def _scene_rng(seed: int, index: int) -> np.random.Generator:
    return np.random.default_rng([seed, index, _SCENE])


def _dates(seed: int, count: int) -> list[str]:
    """Return the day of each photograph as a date of one year, (N,); the year says nothing."""
    from geoindex.sources.earth.scene import draw_day

    days = np.fromiter((draw_day(_scene_rng(seed, index)) for index in range(count)), float, count)
    dates: list[str] = (_NEW_YEAR + days.astype("timedelta64[D]")).astype(str).tolist()
    return dates


def _draw(seed: int, index: NDArray[np.int64]) -> _Draw:
    """Draw the places of photographs by counter, so that each depends on its seed and index alone."""
    places = named_places()
    rows = np.searchsorted(_cumulated(places), _uniform(seed, index, 0), side="right")
    share = _uniform(seed, index, 1)
    distance_km = _NEAREST_KM * (_FARTHEST_KM / _NEAREST_KM) ** share
    bearing = 360.0 * _uniform(seed, index, 2)
    lat, lon = destination(places.lat[rows], places.lon[rows], bearing, distance_km)
    return _Draw(rows, lat, lon, distance_km, 360.0 * _uniform(seed, index, 3))


def _cumulated(places: Places) -> NDArray[np.float64]:
    """Return the running share of photographs up to each place, (P,), the last one 1."""
    with _lock:
        if "sum" not in _shares:
            weight = np.clip(places.population.astype(np.float64), _SMALL_TOWN, _LARGE_CITY) ** _POWER
            total = np.cumsum(weight)
            _shares["sum"] = total / total[-1]
        return _shares["sum"]


def _uniform(seed: int, index: NDArray[np.int64], stream: int) -> NDArray[np.float64]:
    """Hash (seed, index, stream) to numbers in [0, 1), by the finaliser of SplitMix64."""
    golden = 0x9E3779B97F4A7C15
    key = _mixed(np.array([(seed * 8 + stream + 1) * golden % 2**64], np.uint64))
    hashed = _mixed(index.astype(np.uint64) * np.uint64(golden) + key)
    return (hashed >> np.uint64(11)).astype(np.float64) / math.ldexp(1.0, 53)


def _mixed(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
