"""Figures with their intervals, one row each: a dot, a bar for the interval, and the numbers."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geoindex.figures.charts import new_chart_page, note, save_compact, style_axes
from geoindex.figures.worldmap import ANSWER, INK, QUIET, TRUTH, write

_ROW_INCHES, _ABOVE_INCHES, _BELOW_INCHES = 0.36, 1.35, 0.8
_LEFT, _WIDTH = 0.25, 0.6


@dataclass(frozen=True, slots=True)
class DrawnRange:
    """A row.

    Attributes:
        name: what it is about.
        value: the figure.
        low, high: ends of its interval.
        remark: beside it, such as how many it rests on.
        marked: whether it stands out.
    """

    name: str
    value: float
    low: float
    high: float
    remark: str = ""
    marked: bool = False


def draw_ranges(
    rows: Sequence[DrawnRange], path: str | Path, *, title: str, label: str, ends: tuple[float, float], overall: float
) -> Path:
    """Draw rows from the top, with a line for what holds over all.

    Args:
        rows: from the top.
        path: file to write; 1600 pixels wide.
        title: headline.
        label: of the scale.
        ends: of the scale.
        overall: the figure over everything.
    """
    inches = _ROW_INCHES * max(len(rows), 1)
    height = _ABOVE_INCHES + inches + _BELOW_INCHES
    figure = new_chart_page(height, title)
    axes = figure.add_axes((_LEFT, _BELOW_INCHES / height, _WIDTH, inches / height))
    style_axes(axes)
    axes.set(xlim=ends, ylim=(max(len(rows), 1) - 0.5, -0.5), xlabel=label)
    axes.set_yticks([])
    axes.axvline(overall, color=QUIET, linewidth=1.2, linestyle=(0, (4, 3)), zorder=2)
    above = 1.0 + 0.22 / inches
    note(axes, overall, above, f"all: {overall:,.0f}", ha="center", transform=axes.get_xaxis_transform())
    for place, row in enumerate(rows):
        _draw_row(axes, place, row)
    return save_compact(figure, path)


def _draw_row(axes: Any, place: int, row: DrawnRange) -> None:
    colour, across = ANSWER if row.marked else TRUTH, axes.get_yaxis_transform()
    axes.axhline(place, color="#E4E9EC", linewidth=0.8, zorder=1)
    axes.plot([row.low, row.high], [place, place], color=colour, alpha=0.35, linewidth=7, solid_capstyle="butt")
    axes.scatter([row.value], [place], color=colour, s=64, edgecolors="white", linewidths=1.0, zorder=3, clip_on=False)
    weight = {"weight": "bold"} if row.marked else {}
    write(axes, -0.02, place, row.name, 12, ha="right", va="center", color=INK, transform=across, **weight)
    value = {"ha": "right", "va": "center", "color": colour, "weight": "bold", "transform": across}
    write(axes, 1.075, place, f"{row.value:,.0f}", 12, **value)
    write(axes, 1.095, place, row.remark, 11, va="center", color=QUIET, transform=across)
