"""The map page: lines on the sphere unrolled for drawing, the world as background, and pages of one size.

Maps are equirectangular; whatever crosses the antimeridian is unrolled and drawn once more a full turn away.
"""

import math
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from geoindex.geo import destination, haversine_km, to_unit
from geoindex.places import world_outline

ANSWER, TRUTH, CANDIDATE = "#D55E00", "#0072B2", "#E69F00"
"""Colours of Okabe and Ito, which colour-blind readers can tell apart."""

SEA, LAND, BORDER, INK, QUIET = "#EEF3F6", "#DAD7CF", "#FFFFFF", "#22272B", "#667078"

PAGE_INCHES, DPI = (16.0, 9.0), 100

CIRCLE_POINTS = 181
"""Points along a circle; what follows them in its ring runs along a pole."""

_TITLE_INCHES = 0.95

Extent: TypeAlias = tuple[float, float, float, float]
"""South, north, west, east in degrees; west and east may run past 180."""


def great_circle(lat1: float, lon1: float, lat2: float, lon2: float, n: int = 100) -> list[NDArray[np.float64]]:
    """Return the shortest way between two positions for drawing, split where it crosses the antimeridian.

    Args:
        lat1: latitude of the start in degrees.
        lon1: longitude of the start in degrees.
        lat2: latitude of the end in degrees.
        lon2: longitude of the end in degrees.
        n: points along the way, both ends included; at least 2.

    Returns:
        One or more lines, each (K, 2) degrees (lat, lon).
    """
    line = unrolled(way(lat1, lon1, lat2, lon2, n))
    inside = np.abs(line[:, 1]) <= 180.0
    if inside.all():
        return [line]
    edge = math.copysign(180.0, line[~inside, 1][0])  # longitude is monotone along a great circle: one crossing
    crossing = _antimeridian_lat(line[inside][-1], line[~inside][0])
    beyond = line[~inside] - [0.0, 2.0 * edge]
    return [np.vstack([line[inside], [crossing, edge]]), np.vstack([[crossing, -edge], beyond])]


def _antimeridian_lat(before: NDArray[np.float64], beyond: NDArray[np.float64]) -> float:
    """Return where the shortest way between two positions, (lat, lon) on either side, crosses the antimeridian."""
    (x1, y1, z1), (x2, y2, z2) = to_unit(*np.stack([before, beyond], axis=1))
    share = y1 / (y1 - y2) if y1 != y2 else 0.0
    return math.degrees(math.atan2(z1 + share * (z2 - z1), math.hypot(x1 + share * (x2 - x1), y1 + share * (y2 - y1))))


def way(lat1: float, lon1: float, lat2: float, lon2: float, n: int) -> NDArray[np.float64]:
    """Return `n` positions along the shortest way, evenly spaced, (n, 2) degrees (lat, lon)."""
    phi1, phi2, turn = math.radians(lat1), math.radians(lat2), math.radians(lon2 - lon1)
    north = math.cos(phi1) * math.sin(phi2) - math.sin(phi1) * math.cos(phi2) * math.cos(turn)
    bearing = math.degrees(math.atan2(math.sin(turn) * math.cos(phi2), north))
    steps = np.linspace(0.0, float(haversine_km(lat1, lon1, lat2, lon2)), n)
    return np.stack(destination(lat1, lon1, bearing, steps), axis=-1)


def unrolled(line: NDArray[np.float64]) -> NDArray[np.float64]:
    """Let longitudes run on past 180 instead of jumping, (K, 2)."""
    return np.stack([line[:, 0], np.unwrap(line[:, 1], period=360.0)], axis=-1)


def turns(line: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Return a line and its copies one full turn to the west and to the east."""
    return [line + np.array([0.0, turn]) for turn in (-360.0, 0.0, 360.0)]


def circle_ring(lat: float, lon: float, radius_km: float) -> NDArray[np.float64]:
    """Return a circle on the sphere for drawing, (K, 2) degrees (lat, lon); around a pole it is closed along it."""
    circle = unrolled(np.stack(destination(lat, lon, np.linspace(0.0, 360.0, CIRCLE_POINTS), radius_km), axis=-1))
    if abs(circle[-1, 1] - circle[0, 1]) <= 180.0:
        return circle
    pole = math.copysign(90.0, lat)
    return np.vstack([circle, [pole, circle[-1, 1]], [pole, circle[0, 1]]])


def new_figure() -> Any:
    """Return an empty page of `PAGE_INCHES`."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=PAGE_INCHES, dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def save(figure: Any, path: str | Path) -> Path:
    """Write the page; folders are made, and the suffix chooses the format."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # a name in a script without a font: boxes
        figure.savefig(path)
    return path


def write(parent: Any, x: float, y: float, text: str, size: float = 12, **style: Any) -> Any:
    """Write text as it is: a dollar sign in a name does not start a formula."""
    return parent.text(x, y, text, fontsize=size, parse_math=False, **({"color": INK} | style))


def world_extent(lats: Iterable[float]) -> Extent:
    """Return the part of the world to draw: without the polar regions unless something lies there."""
    values = np.fromiter(lats, float)
    south = -58.0 if values.min(initial=0.0) > -56.0 else -90.0
    return south, 84.0 if values.max(initial=0.0) < 76.0 else 90.0, -180.0, 180.0


def draw_world(axes: Any, extent: Extent, zoomed: bool = False) -> None:
    """Draw sea, land, lakes and borders, and show this part of them."""
    from matplotlib.collections import LineCollection, PolyCollection

    world = world_outline()
    for rings, colour in ((world.land, LAND), (world.lakes, SEA)):
        copies = [ring[:, ::-1] for land in rings for ring in turns(land)]
        axes.add_collection(PolyCollection(copies, facecolors=colour, edgecolors=colour, linewidths=0.3, zorder=1))
    lines = [line[:, ::-1] for border in world.borders for line in turns(border)]
    axes.add_collection(LineCollection(lines, colors=BORDER, linewidths=1.2 if zoomed else 0.6, zorder=2))
    south, north, west, east = extent
    axes.set(xlim=(west, east), ylim=(south, north), xticks=[], yticks=[], facecolor=SEA)
    axes.set_aspect("auto" if zoomed else "equal", anchor="NW")
    for spine in axes.spines.values():
        spine.set(color="#C3CBD1", linewidth=0.8)


def new_world_page(lat: ArrayLike, title: str, below_inches: float = 0.0) -> tuple[Any, Any]:
    """Return axes and figure of a page as high as the part of the world with these latitudes needs.

    Args:
        lat: latitudes that must be on the map in degrees, (N,).
        title: headline.
        below_inches: room to leave below the map, beside the margin.
    """
    extent = world_extent(np.ravel(np.asarray(lat, float)))
    south, north, west, east = extent
    figure = new_figure()
    width = PAGE_INCHES[0]
    map_height = 0.94 * width * (north - south) / (east - west)
    below = 0.03 * width + below_inches
    height = map_height + _TITLE_INCHES + below
    figure.set_size_inches(width, height)
    write(figure, 0.03, 1.0 - 0.6 * _TITLE_INCHES / height, title, size=21, weight="bold", va="center")
    axes = figure.add_axes((0.03, below / height, 0.94, map_height / height))
    draw_world(axes, extent)
    return axes, figure
