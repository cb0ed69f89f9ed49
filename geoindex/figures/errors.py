"""The world map of errors: where queries were taken, coloured by how far off their answers are."""

from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from geoindex.figures.charts import flat, legend, save_compact, swatch
from geoindex.figures.worldmap import ANSWER, CANDIDATE, TRUTH, new_world_page

CLASSES: tuple[tuple[float, str, str], ...] = (
    (25.0, "under 25 km", TRUTH),
    (200.0, "under 200 km", "#56B4E9"),
    (750.0, "under 750 km", CANDIDATE),
    (2500.0, "under 2,500 km", ANSWER),
    (np.inf, "farther off", "#6B1D00"),
)
"""Upper end, name and colour of each class; from blue to brown, so that colour-blind readers see the order."""

_BELOW_INCHES = 0.5


def draw_errors(lat: ArrayLike, lon: ArrayLike, distance_km: ArrayLike, path: str | Path, *, title: str) -> Path:
    """Draw where queries were taken and how far off each answer is; none is always above the others.

    Args:
        lat: true latitudes in degrees, (N,).
        lon: true longitudes in degrees, (N,).
        distance_km: of the answers from the truth, (N,).
        path: file to write; 1600 pixels wide.
        title: headline.
    """
    lat, lon, distance_km = flat(lat), flat(lon), flat(distance_km)
    axes, figure = new_world_page(lat, title, _BELOW_INCHES)
    size = float(np.clip(2.4e4 / max(len(lat), 1), 6.0, 60.0))
    group = np.searchsorted([most for most, _, _ in CLASSES[:-1]], distance_km, side="right")
    colours = [CLASSES[k][2] for k in group.tolist()]
    axes.scatter(lon, lat, s=size, c=colours, edgecolors="white", linewidths=0.4, zorder=4)
    shares = np.bincount(group, minlength=len(CLASSES)) / max(len(lat), 1)
    entries = {
        f"{name} ({share:.0%})": swatch(colour, "o") for (_, name, colour), share in zip(CLASSES, shares, strict=True)
    }
    legend(figure, entries, 0.03, 0.5 * (0.03 * 16.0 + _BELOW_INCHES) / figure.get_figheight())
    return save_compact(figure, path)
