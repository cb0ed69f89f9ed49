"""The causes of one photograph: a place with its climate and culture, and nuisance that says nothing about it."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoindex.sources.earth.climate import Climate, climate_at
from geoindex.sources.earth.colour import Colour
from geoindex.sources.earth.culture import BOARDS, POLES, ROOFS, SCRIPTS, WALLS, Culture, culture_at

WEATHERS = ("clear", "partly", "overcast", "rain", "fog")


@dataclass(frozen=True, slots=True)
class Nuisance:
    """What differs between two photographs of one street.

    Attributes:
        heading_deg: compass direction of the camera.
        day: of the year, 0 to 365; with latitude it gives the season.
        sun_height_deg, sun_azimuth_deg: where the sun stands.
        weather: one of `WEATHERS`; `cloud` is the covered share of the sky.
        focal, horizon, vanish: camera, in image sides; `camera_m` is its height.
        curve: sideways bend of the road per squared metre, 1/m.
        exposure, contrast, warmth, grain: of the camera; `warmth` shifts white balance.
        traffic: expected number of other cars.
    """

    heading_deg: float
    day: float
    sun_height_deg: float
    sun_azimuth_deg: float
    weather: str
    cloud: float
    focal: float
    horizon: float
    vanish: float
    camera_m: float
    curve: float
    exposure: float
    contrast: float
    warmth: float
    grain: float
    traffic: float


@dataclass(frozen=True, slots=True)
class Scene:
    """Every cause of one photograph of the synthetic Earth.

    Attributes:
        lat, lon: position in degrees.
        country_code: ISO 3166-1 alpha-2.
        climate, culture: what depends on place only.
        urbanity: 0 open country to 1 inner city; from the size of the town and the distance to it.
        temperature_c, snow: on that day; snow is the covered share of the ground.
        nuisance: what says nothing about the place.
    """

    lat: float
    lon: float
    country_code: str
    climate: Climate
    culture: Culture
    urbanity: float
    temperature_c: float
    snow: float
    nuisance: Nuisance

    def place_features(self) -> NDArray[np.float32]:
        """Return the causes that depend on place only, about unit scale, (D,); no position among them."""
        climate, culture = self.climate, self.culture
        numbers = [climate.temperature_c / 8.0, climate.swing_c / 6.0, climate.rain * 4.0, climate.relief * 3.0]
        numbers += [climate.haze * 3.0, climate.density * 3.0, climate.wealth, climate.storeys]
        numbers += [climate.wall_hue, climate.wall_depth, climate.wall_value, climate.roof]
        colours = (climate.zenith, climate.horizon, climate.soil, climate.grass, climate.leaf, climate.asphalt)
        numbers += [part / 25.0 for colour in colours + culture.walls[:1] for part in colour]
        numbers += [part * 15.0 for part in climate.light] + list(climate.plants) + _coded(culture)
        return np.asarray(numbers, np.float32)


def _coded(culture: Culture) -> list[float]:
    flags = [culture.drives_left, culture.centre_line == "yellow", culture.edge_line == "white"]
    flags += [culture.double_line, culture.diamond_signs, culture.pole_side > 0, culture.kerb is not None]
    choices = ((SCRIPTS, culture.script), (WALLS, culture.wall), (ROOFS, culture.roof), (POLES, culture.pole))
    one_hot = [float(name == value) for names, value in (*choices, (BOARDS, culture.board)) for name in names]
    return [float(flag) for flag in flags] + one_hot + [culture.plate_aspect / 4.0, culture.cross_arms / 3.0]


def make_scene(
    position: tuple[float, float],
    country_code: str,
    *,
    town: tuple[float, float],
    heading_deg: float,
    rng: np.random.Generator,
) -> Scene:
    """Draw the causes of a photograph.

    Args:
        position: (lat, lon) in degrees.
        country_code: ISO 3166-1 alpha-2.
        town: inhabitants of the nearest town and the distance to its centre in km.
        heading_deg: compass direction of the camera.
        rng: source of nuisance.
    """
    lat, lon = position
    climate = climate_at(lat, lon)
    nuisance = _nuisance(lat, climate, heading_deg, rng)
    season = math.cos(2.0 * math.pi * (nuisance.day - 20.0) / 365.0) * math.copysign(1.0, lat)
    temperature = climate.temperature_c - climate.swing_c * season + rng.normal(0.0, 1.5)
    snow = 1.0 / (1.0 + math.exp((temperature + 2.5) / 0.9)) * min(1.0, climate.rain * 3.0)
    inhabitants, distance_km = town
    size = 0.42 + 0.17 * (math.log10(max(inhabitants, 100.0)) - 4.3)
    return Scene(
        lat=lat,
        lon=lon,
        country_code=country_code,
        climate=climate,
        culture=culture_at(lat, lon, country_code, climate),
        urbanity=float(np.clip(size - 0.045 * distance_km + rng.normal(0.0, 0.14), 0.0, 1.0)),
        temperature_c=temperature,
        snow=snow,
        nuisance=nuisance,
    )


def draw_day(rng: np.random.Generator) -> float:
    """Draw the day of the year, 0 to 365: the first thing that `make_scene` takes from its source of nuisance."""
    return float(rng.uniform(0.0, 365.0))


def _nuisance(lat: float, climate: Climate, heading_deg: float, rng: np.random.Generator) -> Nuisance:
    day = draw_day(rng)
    height, azimuth = _sun(lat, day, float(rng.normal(0.0, 2.0)))
    dull = min(max(0.15 + 0.75 * climate.rain, 0.0), 0.85)
    chances = np.array([1.2 - dull, 0.75, 0.8 * dull, 0.32 * dull**2, 0.08 * dull])
    weather = str(rng.choice(WEATHERS, p=chances / chances.sum()))
    low, high = {"clear": (0.0, 0.15), "partly": (0.25, 0.6)}.get(weather, (0.92, 1.0))
    return Nuisance(
        heading_deg=heading_deg,
        day=day,
        sun_height_deg=height,
        sun_azimuth_deg=azimuth,
        weather=weather,
        cloud=float(rng.uniform(low, high)),
        focal=float(rng.uniform(0.72, 0.95)),
        horizon=float(rng.normal(0.48, 0.03)),
        vanish=float(np.clip(rng.normal(0.5, 0.06), 0.36, 0.64)),
        camera_m=float(rng.uniform(1.6, 2.6)),
        curve=float(rng.normal(0.0, 0.0009)),
        exposure=float(np.exp(rng.normal(0.0, 0.05))),
        contrast=float(rng.normal(1.0, 0.04)),
        warmth=float(rng.normal(0.0, 0.015)),
        grain=float(rng.uniform(0.5, 3.5)),
        traffic=float(rng.uniform(0.3, 2.5)),
    )


def _sun(lat: float, day: float, hours_from_noon: float) -> tuple[float, float]:
    """Return height and azimuth of the sun in degrees; the photograph waits until it is up."""
    tilt = math.radians(-23.44 * math.cos(2.0 * math.pi * (day + 10.0) / 365.0))
    phi, hour = math.radians(lat), math.radians(15.0 * hours_from_noon)
    sine = math.sin(phi) * math.sin(tilt) + math.cos(phi) * math.cos(tilt) * math.cos(hour)
    east = -math.cos(tilt) * math.sin(hour)
    north = math.cos(phi) * math.sin(tilt) - math.sin(phi) * math.cos(tilt) * math.cos(hour)
    return max(math.degrees(math.asin(min(sine, 1.0))), 7.0), math.degrees(math.atan2(east, north)) % 360.0


def sunlight(scene: Scene) -> tuple[Colour, float]:
    """Return the colour of direct light (three factors around 1) and its strength, 0 to 1."""
    height = math.radians(scene.nuisance.sun_height_deg)
    low = math.exp(-math.sin(height) / 0.22)
    warm, regional = (1.0, 1.0 - 0.20 * low, 1.0 - 0.44 * low), scene.climate.light
    colour = (warm[0] * regional[0], warm[1] * regional[1], warm[2] * regional[2])
    veil = {"clear": 1.0, "partly": 0.9, "overcast": 0.12, "rain": 0.05, "fog": 0.08}
    return colour, veil[scene.nuisance.weather]
