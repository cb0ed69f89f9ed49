"""Conventions of a region: which side people drive on, lines, signs, scripts, plates, poles, houses.

Countries give what law gives; some hundred cultural sites on the sphere give building habits, and each place
follows its nearest site, so that neighbours resemble each other.
"""

import math
import zlib
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np
from numpy.typing import NDArray

from geoindex.geo import from_unit, to_unit
from geoindex.sources.earth.climate import Climate, climate_at
from geoindex.sources.earth.colour import Colour, from_hsv, mix
from geoindex.sources.earth.noise import WORLD_SEED

SCRIPTS = (
    "latin", "cyrillic", "greek", "arabic", "hebrew", "han", "kana", "hangul", "thai", "devanagari", "georgian",
)  # fmt: skip
WALLS = ("plaster", "brick", "wood", "concrete", "adobe")
ROOFS = ("flat", "gable", "hip")
POLES = ("wood", "concrete", "metal")
BOARDS = ("green", "blue", "white", "brown")


def _codes(text: str) -> frozenset[str]:
    return frozenset(text.split())


LEFT_DRIVING = _codes(
    "AG AI AU BB BD BM BN BS BT BW CC CK CX CY DM FJ FK GB GD GG GS GY HK ID IE IM IN IO JE JM JP KE KI KN KY "
    "LC LK LS MO MS MT MU MV MW MY MZ NA NF NP NR NU NZ PG PK PN SB SC SG SH SR SZ TC TH TK TL TO TT TV TZ UG "
    "VC VG VI WS ZA ZM ZW"
)
"""Countries and territories that drive on the left, by ISO 3166-1 code."""

_AMERICAS = _codes(
    "US CA MX GT BZ SV HN NI CR PA CO VE EC PE BO CL AR UY PY BR GY SR GF CU DO HT PR JM BS TT BB LC GD VC AG DM KN"
)
_YELLOW_CENTRE = _AMERICAS | _codes("JP KR TW CN TH PH IL ZM KE TZ UG ET MN")
_DIAMOND_SIGNS = _AMERICAS | _codes("AU NZ JP TH ID MY PG PH IE LK TW KH TL")
_SHORT_PLATES = _AMERICAS | _codes("JP TW PH TH KR AU NZ SA AE OM QA KW BH")
_SCRIPT_OF = {
    code: script
    for script, codes in {
        "cyrillic": "RU UA BY BG RS MK KZ KG MN TJ ME",
        "greek": "GR CY",
        "arabic": "SA AE OM YE QA BH KW IQ SY JO LB PS EG LY TN DZ MA MR SD IR AF PK DJ EH",
        "hebrew": "IL",
        "han": "CN TW HK MO SG",
        "kana": "JP",
        "hangul": "KR KP",
        "thai": "TH LA KH MM LK",
        "devanagari": "IN NP BD BT",
        "georgian": "GE AM ET ER",
    }.items()
    for code in codes.split()
}
_SITES = 420


@dataclass(frozen=True, slots=True)
class Culture:
    """What people do at a place.

    Attributes:
        drives_left: True where traffic keeps to the left.
        script: one of `SCRIPTS`.
        centre_line, edge_line: "white" or "yellow"; no edge line is None.
        dash_m, gap_m: pattern of the centre line.
        double_line: whether the centre line is two solid lines.
        diamond_signs: yellow diamonds warn, else red triangles.
        board: colour of direction boards, one of `BOARDS`.
        plate: colour of number plates; `plate_aspect` is width over height.
        pole: one of `POLES`; `cross_arms` 0 to 3; `pole_side` -1 left, 1 right.
        wall: one of `WALLS`; `walls` are three colours in use.
        roof: one of `ROOFS`; `roofs` are two colours in use.
        storeys: typical number in town.
        fence: 0 none, 1 hedge, 2 wall, 3 pickets.
        kerb: colour painted on kerbs, or None.
        paved: chance that a country road is paved.
    """

    drives_left: bool
    script: str
    centre_line: str
    edge_line: str | None
    dash_m: float
    gap_m: float
    double_line: bool
    diamond_signs: bool
    board: str
    plate: Colour
    plate_aspect: float
    pole: str
    cross_arms: int
    pole_side: int
    wall: str
    walls: tuple[Colour, Colour, Colour]
    roof: str
    roofs: tuple[Colour, Colour]
    storeys: float
    fence: int
    kerb: Colour | None
    paved: float


@dataclass(frozen=True, slots=True)
class _Habits:
    wall: str
    walls: tuple[Colour, Colour, Colour]
    roof: str
    roofs: tuple[Colour, Colour]
    pole: str
    cross_arms: int
    pole_side: int
    fence: int


def culture_at(lat: float, lon: float, country_code: str, climate: Climate) -> Culture:
    """Return the conventions at a position in degrees, in the country with this ISO code."""
    habits = _habits(int(np.argmax(_site_xyz() @ to_unit(lat, lon))))
    law = np.random.default_rng([WORLD_SEED, 4, zlib.crc32(country_code.encode())])
    dash_m = float(law.choice([1.5, 3.0, 4.5, 6.0]))
    yellow_edge = country_code in {"ZA", "NA", "BW", "IL", "CO", "EC", "HK", "SG", "MY"}
    return Culture(
        drives_left=country_code in LEFT_DRIVING,
        script=_SCRIPT_OF.get(country_code, "latin"),
        centre_line="yellow" if country_code in _YELLOW_CENTRE else "white",
        edge_line="yellow" if yellow_edge else (None if law.random() < 0.25 else "white"),
        dash_m=dash_m,
        gap_m=dash_m * float(law.choice([1.0, 1.5, 2.5])),
        double_line=bool(law.random() < 0.3),
        diamond_signs=country_code in _DIAMOND_SIGNS,
        board=str(law.choice(BOARDS, p=[0.35, 0.40, 0.17, 0.08])),
        plate=_plate(country_code, law),
        plate_aspect=2.0 if country_code in _SHORT_PLATES else 4.6,
        storeys=2.6 + 1.5 * climate.storeys + 0.5 * climate.wealth,
        kerb=_kerb(law),
        paved=0.93 if climate.wealth > 0 else 0.93 + 0.55 * climate.wealth,
        **{name: getattr(habits, name) for name in _Habits.__slots__},
    )


def _plate(country_code: str, law: np.random.Generator) -> Colour:
    if country_code in {"GB", "NL", "LU", "IL", "CO", "HK"}:
        return 240.0, 200.0, 50.0
    return (60.0, 90.0, 190.0) if country_code in {"CN", "MZ", "ET"} or law.random() < 0.04 else (240.0, 240.0, 236.0)


def _kerb(law: np.random.Generator) -> Colour | None:
    paint: tuple[Colour, ...] = ((232.0, 190.0, 50.0), (196.0, 60.0, 50.0), (235.0, 235.0, 230.0))
    return paint[int(law.integers(3))] if law.random() < 0.35 else None


@lru_cache(maxsize=1)
def _site_xyz() -> NDArray[np.float64]:
    xyz = np.random.default_rng([WORLD_SEED, 5]).standard_normal((_SITES, 3))
    return np.asarray(xyz / np.linalg.norm(xyz, axis=1, keepdims=True))


@cache
def _habits(site: int) -> _Habits:
    lat, lon = from_unit(_site_xyz()[site])
    climate = climate_at(float(lat), float(lon))
    rng = np.random.default_rng([WORLD_SEED, 6, site])
    wall = _wall_kind(climate, rng)
    return _Habits(
        wall=wall,
        walls=_wall_colours(wall, climate, rng),
        roof=_roof_kind(climate, rng),
        roofs=_roof_colours(climate, rng),
        pole=POLES[0 if climate.wealth + rng.normal(0, 0.5) > 0.2 else 1 if rng.random() < 0.75 else 2],
        cross_arms=int(np.clip(round(1.3 + 0.9 * climate.roof + rng.normal(0, 0.5)), 0, 3)),
        pole_side=1 if climate.wall_depth + rng.normal(0, 0.3) > 0 else -1,
        fence=int(rng.choice(4, p=[0.35, 0.2, 0.25, 0.2])),
    )


def _wall_kind(climate: Climate, rng: np.random.Generator) -> str:
    if climate.rain < 0.28:
        return "adobe"
    if climate.temperature_c < 6.0 and rng.random() < 0.7:
        return "wood"
    leaning = climate.wall_depth + rng.normal(0, 0.4)
    return "brick" if leaning > 0.7 else "concrete" if leaning < -0.9 else "plaster"


def _wall_colours(wall: str, climate: Climate, rng: np.random.Generator) -> tuple[Colour, Colour, Colour]:
    hue = 36.0 + 16.0 * math.tanh(climate.wall_hue)
    depth, value = 0.20 + 0.10 * math.tanh(climate.wall_depth), 0.84 + 0.09 * math.tanh(climate.wall_value)
    if wall == "brick":
        hue, depth, value = 14.0 + 7.0 * math.tanh(climate.wall_hue), 0.48, 0.62 + 0.08 * math.tanh(climate.wall_value)
    elif wall == "wood":
        hue, depth = float(rng.choice([8.0, 40.0, 205.0])) + 6.0 * math.tanh(climate.wall_hue), depth + 0.22
        value -= 0.14
    elif wall == "concrete":
        depth, value = 0.07, value - 0.16
    main = from_hsv(hue, depth, value)
    if wall == "adobe":
        main = mix(main, climate.soil, 0.5)
    accent = from_hsv(float(rng.choice([hue + 12.0, 200.0, 150.0, 350.0, 48.0])), depth + 0.12, value)
    return main, mix(main, (240.0, 236.0, 226.0), 0.45), accent


def _roof_kind(climate: Climate, rng: np.random.Generator) -> str:
    if climate.rain + rng.normal(0, 0.06) < 0.40 and climate.temperature_c > 8.0:
        return "flat"
    return "gable" if climate.temperature_c + 6.0 * climate.roof < 15.0 else "hip"


def _roof_colours(climate: Climate, rng: np.random.Generator) -> tuple[Colour, Colour]:
    tiles: list[Colour] = [
        (176.0, 88.0, 58.0), (150.0, 70.0, 52.0), (196.0, 112.0, 74.0), (92.0, 92.0, 98.0),
        (112.0, 96.0, 82.0), (70.0, 72.0, 78.0), (150.0, 152.0, 150.0), (84.0, 112.0, 136.0), (90.0, 120.0, 96.0),
    ]  # fmt: skip
    rank = int(np.clip(round(4.0 - 3.0 * climate.roof + rng.normal(0, 0.5)), 0, 8))
    return tiles[rank], tiles[max(rank - 1, 0) if rng.random() < 0.5 else min(rank + 1, 8)]
