"""Climate of a position: temperature, rain, relief, sky, soil and plants.

Latitude gives the belts, a few anchors put the great deserts, forests and mountain chains where people expect
them, and smooth fields make every region its own.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from geoindex.geo import haversine_km, to_unit
from geoindex.sources.earth.colour import Colour, from_hsv, mix
from geoindex.sources.earth.noise import field_at, sphere_fields

_Floats: TypeAlias = NDArray[np.float64]
_Number = TypeVar("_Number", float, _Floats)

PLANTS = ("broadleaf", "conifer", "palm", "jungle", "acacia", "cypress", "birch", "bush", "cactus")
"""Kinds of plants, in the order of `Climate.plants`."""

CLIMATES = ("polar", "arid", "tropical", "cold", "temperate")
"""Classes of climate, in the order in which `climate_names` asks for them."""

_BLOCK = 65_536

# lat, lon, radius_km, warmth in degrees Celsius, rain, relief
_ANCHORS = np.array(
    [
        (23.0, 10.0, 1700.0, 2.0, -0.45, 0.0),  # Sahara
        (24.0, 46.0, 1100.0, 2.0, -0.50, 0.0),  # Arabia
        (32.0, 57.0, 800.0, 0.0, -0.30, 0.5),  # Iran
        (41.0, 85.0, 1100.0, -2.0, -0.45, 0.4),  # Taklamakan and Gobi
        (27.0, 71.0, 450.0, 2.0, -0.30, 0.0),  # Thar
        (44.0, 62.0, 700.0, 0.0, -0.35, -0.5),  # Central Asian steppe
        (-25.0, 131.0, 1300.0, 1.0, -0.42, -0.3),  # Australian interior
        (-23.0, -69.0, 700.0, -2.0, -0.60, 1.0),  # Atacama
        (-45.0, -69.0, 700.0, 0.0, -0.35, 0.0),  # Patagonia
        (-23.0, 18.0, 700.0, 0.0, -0.40, 0.0),  # Namib and Kalahari
        (34.0, -112.0, 900.0, 0.0, -0.40, 0.6),  # Sonora and Mojave
        (-4.0, -63.0, 1500.0, 0.0, 0.25, -0.6),  # Amazon
        (0.0, 22.0, 1000.0, 0.0, 0.25, -0.4),  # Congo
        (2.0, 112.0, 1700.0, 0.0, 0.25, 0.2),  # Malay archipelago
        (25.0, 108.0, 1100.0, 0.0, 0.35, 0.3),  # South China
        (23.0, 89.0, 700.0, 0.0, 0.40, -0.6),  # Bengal
        (35.0, 137.0, 700.0, 0.0, 0.35, 0.6),  # Japan
        (33.0, -87.0, 900.0, 1.0, 0.30, -0.4),  # South-east of North America
        (56.0, 3.0, 1100.0, 6.0, 0.14, -0.4),  # Western Europe, warmed by the sea
        (64.0, 14.0, 900.0, 9.0, 0.10, 0.4),  # Scandinavia
        (39.0, 18.0, 1200.0, 1.0, 0.0, 0.3),  # Mediterranean
        (62.0, 110.0, 1900.0, -6.0, 0.0, 0.0),  # Siberia
        (62.0, -95.0, 1500.0, -5.0, 0.0, -0.3),  # Northern Canada
        (32.0, 86.0, 800.0, -11.0, -0.10, 1.6),  # Tibet and Himalaya
        (46.5, 10.0, 350.0, -3.0, 0.10, 1.8),  # Alps
        (-13.0, -73.0, 700.0, -7.0, 0.0, 1.6),  # Central Andes
        (4.0, -75.0, 400.0, -4.0, 0.10, 1.4),  # Northern Andes
        (42.0, -109.0, 700.0, -3.0, -0.12, 1.3),  # Rocky Mountains
        (42.5, 44.0, 350.0, -2.0, 0.05, 1.6),  # Caucasus
        (9.0, 39.0, 450.0, -6.0, 0.0, 1.2),  # Ethiopian highlands
    ]
)

# Temperature (Celsius) and rain at which a plant feels at home, its tolerance of each, and its vigour.
_HABITATS = np.array(
    [
        (11.0, 0.68, 6.0, 0.20, 1.0),
        (1.0, 0.60, 5.0, 0.25, 1.1),
        (25.5, 0.65, 4.0, 0.28, 1.0),
        (26.0, 0.88, 4.5, 0.20, 1.1),
        (25.0, 0.42, 3.2, 0.14, 0.8),
        (17.0, 0.45, 3.5, 0.17, 0.8),
        (3.0, 0.60, 4.5, 0.25, 0.5),
        (15.0, 0.30, 14.0, 0.16, 0.5),
        (21.0, 0.14, 5.0, 0.10, 0.9),
    ]
)


@dataclass(frozen=True, slots=True)
class Climate:
    """What nature does at a place, the year round.

    Attributes:
        temperature_c: yearly mean.
        swing_c: half the difference of summer and winter.
        rain: 0 desert to 1 rainforest.
        relief: 0 plain to 1 high mountains.
        haze: 0 clear to 1 milky air.
        density: how much grows, 0 to 1.
        plants: share of each kind of `PLANTS`, sum 1.
        zenith, horizon: colours of a clear sky.
        light: colour of sunlight, three factors around 1.
        soil, grass, leaf: colours in neutral light.
        asphalt: grey of paved roads.
        wealth, storeys, wall_hue, wall_depth, wall_value, roof: fields that culture reads.
    """

    temperature_c: float
    swing_c: float
    rain: float
    relief: float
    haze: float
    density: float
    plants: tuple[float, ...]
    zenith: Colour
    horizon: Colour
    light: Colour
    soil: Colour
    grass: Colour
    leaf: Colour
    asphalt: Colour
    wealth: float
    storeys: float
    wall_hue: float
    wall_depth: float
    wall_value: float
    roof: float


def climate_at(lat: float, lon: float) -> Climate:
    """Return the climate of a position in degrees."""
    field = sphere_fields(lat, lon)
    anchors = _anchored(lat, lon)
    temperature, rain = (float(value) for value in _weather(lat, field, anchors))
    plants = _plant_shares(temperature, rain)
    zenith, horizon = _sky(field, rain)
    grass, leaf = _greens(field, rain, temperature)
    return Climate(
        temperature_c=temperature,
        swing_c=_swing(lat, math.tanh(field["swing"])),
        rain=rain,
        relief=_unit(0.28 + 0.22 * field["relief"] + 0.4 * float(anchors[2])),
        haze=_unit(0.35 + 0.22 * field["haze"] + 0.25 * (rain - 0.5)),
        density=_unit((0.15 + 0.95 * rain) * (0.85 + 0.25 * field["density"]) * _unit(0.3 + (temperature + 9) / 14)),
        plants=plants,
        zenith=zenith,
        horizon=horizon,
        light=_daylight(field["light"]),
        soil=_soil(field, rain, temperature),
        grass=grass,
        leaf=leaf,
        asphalt=from_hsv(35.0 + 185.0 * (field["asphalt"] < 0), 0.06, 0.42 + 0.09 * math.tanh(field["asphalt"])),
        wealth=math.tanh(field["wealth"]),
        storeys=math.tanh(field["storeys"]),
        wall_hue=field["wall_hue"],
        wall_depth=field["wall_depth"],
        wall_value=field["wall_value"],
        roof=field["roof"],
    )


def climate_names(lat: _Floats, lon: _Floats) -> list[str]:
    """Return the class of climate of each position in degrees, (N,), after Köppen.

    The first that holds: polar, if the warmest month stays below 10 degrees Celsius; arid, if `rain` is below 0.28;
    tropical, if the coldest month has at least 18; cold, if it is below 0; else temperate. The warmest and the
    coldest month are `swing_c` above and below `temperature_c`.
    """
    blocks = [slice(start, start + _BLOCK) for start in range(0, len(lat), _BLOCK)]
    return [CLIMATES[number] for block in blocks for number in _climate_numbers(lat[block], lon[block]).tolist()]


def _climate_numbers(lat: _Floats, lon: _Floats) -> NDArray[np.int64]:
    xyz = to_unit(lat, lon)
    fields = {name: field_at(name, xyz) for name in ("warmth", "rain", "swing")}
    temperature, rain = _weather(lat, fields, _anchored(lat, lon))
    swing = _swing(lat, np.tanh(fields["swing"]))
    coldest = temperature - swing
    rules = [temperature + swing < 10.0, rain < 0.28, coldest >= 18.0, coldest < 0.0]
    return np.asarray(np.select(rules, range(len(rules)), len(rules)), np.int64)


def _weather(lat: float | _Floats, field: Mapping[str, float | _Floats], anchors: _Floats) -> tuple[_Floats, ...]:
    """Return temperature and rain of one position, or of many, each (N,)."""
    temperature = 27.0 - 0.0082 * lat**2 + 2.0 * field["warmth"] + anchors[0]
    rain = 0.54 + 0.24 * np.cos(np.radians(6.0 * lat)) + 0.13 * field["rain"] + anchors[1]
    return temperature, np.minimum(np.maximum(rain, 0.0), 1.0)


def _swing(lat: _Number, field: _Number) -> _Number:
    """Return half the difference of summer and winter in degrees Celsius, of a field between -1 and 1."""
    return 1.0 + 0.26 * abs(lat) * (0.75 + 0.35 * field)


def _anchored(lat: float | _Floats, lon: float | _Floats) -> _Floats:
    """Return what the anchors add to warmth, rain and relief, (3,) for one position, (3, N) for many."""
    distance = haversine_km(np.asarray(lat)[..., None], np.asarray(lon)[..., None], _ANCHORS[:, 0], _ANCHORS[:, 1])
    pull = np.exp(-0.5 * (distance / _ANCHORS[:, 2]) ** 2)
    added: _Floats = (pull @ _ANCHORS[:, 3:]).T
    return added


def _plant_shares(temperature: float, rain: float) -> tuple[float, ...]:
    warm = (temperature - _HABITATS[:, 0]) / _HABITATS[:, 2]
    wet = (rain - _HABITATS[:, 1]) / _HABITATS[:, 3]
    share = _HABITATS[:, 4] * np.exp(-0.5 * np.minimum(warm**2 + wet**2, 60.0)) + 1e-9
    return tuple((share / share.sum()).tolist())


def _sky(field: dict[str, float], rain: float) -> tuple[Colour, Colour]:
    hue = 212.0 + 13.0 * math.tanh(field["sky_hue"])
    depth = math.tanh(field["sky_depth"])
    zenith = from_hsv(hue, 0.56 - 0.20 * rain + 0.14 * depth, 0.88 + 0.05 * rain - 0.06 * depth)
    dust = from_hsv(36.0, 0.20, 0.92)
    mist = from_hsv(hue - 8.0, 0.13 + 0.05 * depth, 0.95)
    return zenith, mix(dust, mist, (rain - 0.10) / 0.35)


def _daylight(warm: float) -> Colour:
    shift = 0.055 * math.tanh(warm)
    return 1.0 + shift, 1.0, 1.0 - 1.3 * shift


def _soil(field: dict[str, float], rain: float, temperature: float) -> Colour:
    sand, loam, dark = (216.0, 186.0, 138.0), (138.0, 108.0, 78.0), (82.0, 68.0, 56.0)
    laterite, grey = (182.0, 92.0, 54.0), (150.0, 143.0, 132.0)
    soil = mix(sand, loam, (rain - 0.15) / 0.35)
    soil = mix(soil, dark, 0.75 * _unit(0.3 + 0.5 * field["soil_dark"]) * _unit((22.0 - temperature) / 12.0))
    soil = mix(soil, laterite, _unit(0.30 + 0.55 * field["soil_red"]) * _unit((temperature - 12.0) / 8.0))
    return mix(soil, grey, _unit((4.0 - temperature) / 10.0))


def _greens(field: dict[str, float], rain: float, temperature: float) -> tuple[Colour, Colour]:
    shift, depth = 13.0 * math.tanh(field["green_hue"]), math.tanh(field["green_depth"])
    lush = _unit((rain - 0.2) / 0.6)
    grass = from_hsv(52.0 + 42.0 * lush + shift, 0.40 + 0.14 * lush + 0.08 * depth, 0.66 - 0.14 * lush - 0.07 * depth)
    cold = _unit((6.0 - temperature) / 10.0)
    leaf = from_hsv(76.0 + 30.0 * lush + 22.0 * cold + shift, 0.38 + 0.18 * lush + 0.08 * depth, 0.50 - 0.08 * depth)
    return grass, leaf


def _unit(value: float) -> float:
    return min(max(value, 0.0), 1.0)
