"""The world and marks on it as SVG, for pages: no script, no other file, light and dark by the page's own colours."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from html import escape

import numpy as np
from numpy.typing import NDArray

from geoindex.figures.worldmap import Extent, circle_ring, turns
from geoindex.places import world_outline

GRAIN_DEG = 0.4
"""Points of a coast that are closer than this to the one before are left out."""

WHOLE_DEG = 350.0
"""Maps wider than this show the whole world, in degrees as they are."""

LEAST_SQUEEZE = 0.1
TURNS = (-360, 0, 360)

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Mark:
    """A point on the map.

    Attributes:
        lat, lon: position in degrees.
        kind: class of the drawn element: answer, candidate or truth.
        size: radius in hundredths of the map's width.
        label: what a pointer that rests on it, or a screen reader, is told.
    """

    lat: float
    lon: float
    kind: str
    size: float
    label: str


@dataclass(frozen=True, slots=True)
class Circle:
    """A circle on the sphere.

    Attributes:
        lat, lon: middle in degrees.
        radius_km: on the sphere.
        kind: class of the drawn element.
    """

    lat: float
    lon: float
    radius_km: float
    kind: str


def draw_map(extent: Extent, marks: Sequence[Mark], circles: Iterable[Circle], land: str, title: str) -> str:
    """Return one map as an `svg` element, true to scale in its middle; its land is drawn by `land_symbol`.

    Args:
        extent: south, north, west and east in degrees; west and east may run past 180.
        marks: points, the last on top.
        circles: below the points.
        land: id of the land's symbol.
        title: what a screen reader is told of it.
    """
    south, north, west, east = extent
    whole = east - west >= WHOLE_DEG
    squeeze = 1.0 if whole else max(math.cos(math.radians((south + north) / 2.0)), LEAST_SQUEEZE)
    ground = [f'<use href="#{land}" transform="translate({turn} 0)"/>' for turn in TURNS]
    ground += [_circle(circle, west, east) for circle in circles]
    unit = (east - west) * squeeze / 100.0
    copies = [(mark, mark.lon + turn) for mark in marks for turn in TURNS]
    edge = (east - west) / 20.0  # a mark may reach in from beyond
    points = [_mark(mark, squeeze * lon, unit) for mark, lon in copies if west - edge < lon < east + edge]
    view = f"{west * squeeze:.3f} {-north:.3f} {(east - west) * squeeze:.3f} {north - south:.3f}"
    group = f'<g transform="scale({squeeze:.5f} 1)">{"".join(ground)}</g>'
    return f'<svg viewBox="{view}" role="img" aria-label="{escape(title)}">{group}{"".join(points)}</svg>'


def land_symbol(name: str) -> str:
    """Return land, lakes and borders as a hidden `svg` element whose group has this id; y is minus the latitude.

    Colours are the properties --land, --sea and --border of the page, which reach copies too, as its rules do not.
    """
    land, lakes, borders = _outline_paths()
    line = "fill:none;stroke:var(--border);stroke-width:.8px"
    drawn = (("fill:var(--land)", land), ("fill:var(--sea)", lakes), (line, borders))
    paths = "".join(f'<path vector-effect="non-scaling-stroke" style="{style}" d="{data}"/>' for style, data in drawn)
    hidden = 'width="0" height="0" style="position:absolute" aria-hidden="true"'
    return f'<svg {hidden}><defs><g id="{name}"><g transform="scale(.1)">{paths}</g></g></defs></svg>'


@lru_cache(maxsize=1)
def _outline_paths() -> tuple[str, str, str]:
    world = world_outline()
    return _path(world.land, closed=True), _path(world.lakes, closed=True), _path(world.borders, closed=False)


def _path(lines: Iterable[Floats], closed: bool) -> str:
    """Return lines of (lat, lon) as the data of one path, in tenths of a degree; y is minus the latitude."""
    return "".join(_line(_thinned(line), closed) for line in lines)


def _line(points: Floats, closed: bool) -> str:
    tenths = np.rint(points[:, ::-1] * [10.0, -10.0]).astype(int)
    steps = np.vstack([tenths[:1], np.diff(tenths, axis=0)]).tolist()
    return "m".join(["M{} {}".format(*steps[0]), " ".join(f"{x} {y}" for x, y in steps[1:])]) + ("z" if closed else "")


def _thinned(line: Floats) -> Floats:
    """Leave out points next to the last one that was kept; both ends stay."""
    kept = [line[0]]
    kept += [point for point in line[1:-1] if np.abs(point - kept[-1]).max() >= GRAIN_DEG]
    return np.array([*kept, line[-1]])


def _circle(circle: Circle, west: float, east: float) -> str:
    ring = circle_ring(circle.lat, circle.lon, circle.radius_km)
    inside = [copy for copy in turns(ring) if copy[:, 1].min() < east and copy[:, 1].max() > west]
    data = "".join("M" + " ".join(f"{lon:.2f} {-lat:.2f}" for lat, lon in copy.tolist()) + "z" for copy in inside)
    return f'<path class="{circle.kind}" d="{data}"/>'


def _mark(mark: Mark, x: float, unit: float) -> str:
    at = f'cx="{x:.4f}" cy="{-mark.lat:.4f}" r="{mark.size * unit:.4f}"'
    return f'<circle class="{mark.kind}" {at}><title>{escape(mark.label)}</title></circle>'
