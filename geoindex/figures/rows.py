"""Systems side by side: one row each, a dot a run, on a log scale of km."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from geoindex.figures.charts import (
    legend,
    new_chart_page,
    number,
    save_compact,
    set_log_scale,
    style_axes,
    swatch,
    widened,
)
from geoindex.figures.worldmap import ANSWER, INK, QUIET, TRUTH, write

_COLOURS = {"learned": TRUTH, "not learned": ANSWER, "floor": QUIET}
_NAMES = {"learned": "learned", "not learned": "does not beat the floors", "floor": "floor"}
_ROW_INCHES, _ABOVE_INCHES, _BELOW_INCHES = 0.34, 1.45, 0.8


@dataclass(frozen=True, slots=True)
class DrawnRow:
    """A system in a picture.

    Attributes:
        name: of the system.
        values_km: one a run, above 0.
        kind: learned, not learned or floor.
    """

    name: str
    values_km: Sequence[float]
    kind: str


def draw_rows(rows: Sequence[DrawnRow], path: str | Path, *, title: str) -> Path:
    """Draw mean errors of systems, run by run, with their mean as a number.

    Args:
        rows: from the top.
        path: file to write, .png or .svg.
        title: headline.
    """
    height = _ABOVE_INCHES + _ROW_INCHES * len(rows) + _BELOW_INCHES
    figure = new_chart_page(height, title)
    axes = figure.add_axes((0.36, _BELOW_INCHES / height, 0.52, _ROW_INCHES * len(rows) / height))
    style_axes(axes)
    every = [value for row in rows for value in row.values_km]
    set_log_scale(axes, "x", *widened(min(every), max(every)))
    axes.set(ylim=(len(rows) - 0.5, -0.5), xlabel="mean error in km, log scale")
    axes.set_yticks([])
    for place, row in enumerate(rows):
        _draw_row(axes, place, row)
    kinds = [kind for kind in _COLOURS if any(row.kind == kind for row in rows)]
    legend(figure, {_NAMES[kind]: swatch(_COLOURS[kind], "o") for kind in kinds}, 0.36, 1.0 - 1.15 / height)
    return save_compact(figure, path)


def _draw_row(axes: Any, place: int, row: DrawnRow) -> None:
    colour, across = _COLOURS[row.kind], axes.get_yaxis_transform()
    axes.axhline(place, color="#E4E9EC", linewidth=0.8, zorder=1)
    dots = {"color": colour, "s": 46, "edgecolors": "white", "linewidths": 1.0, "zorder": 3}
    axes.scatter(row.values_km, [place] * len(row.values_km), **dots)
    write(axes, -0.02, place, row.name, 11.5, ha="right", va="center", color=INK, transform=across)
    mean = f"{number(float(np.mean(row.values_km)))} km"
    write(axes, 1.02, place, mean, 11.5, ha="left", va="center", color=colour, weight="bold", transform=across)
