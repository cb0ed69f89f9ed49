"""Error curves of systems side by side: which share of answers lies within which distance of the truth."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from geoindex.figures.charts import (
    GREEN,
    PURPLE,
    Floats,
    flat,
    new_chart_page,
    note,
    rounded,
    save_compact,
    set_log_scale,
    style_axes,
)
from geoindex.figures.floor import share_within
from geoindex.figures.worldmap import ANSWER, CANDIDATE, INK, QUIET, TRUTH, write

MARKS_KM = (25.0, 200.0, 750.0)
"""Distances at which shares are read off: city, region, country."""

ENDS_KM = (1.0, 20_100.0)

_COLOURS = (TRUTH, GREEN, PURPLE, CANDIDATE, "#56B4E9", "#8A6D3B", "#5B4B9A")
_FLOORS = ((0, (1, 1.2)), (0, (4, 2)), (0, (6, 1.5, 1, 1.5)), (0, (2, 2)))
_POINTS = 800
_ROW_INCHES, _PLOT_INCHES, _TOP_INCHES, _BELOW_INCHES = 0.36, 5.9, 1.25, 0.85
_PLOT_LEFT, _PLOT_WIDTH, _TABLE_LEFT, _TABLE_WIDTH = 0.06, 0.435, 0.525, 0.45
_COLUMNS = (0.57, 0.71, 0.85, 1.0)  # right ends of the table's columns
_LONGEST_NAME = 30


@dataclass(frozen=True, slots=True)
class ErrorCurve:
    """A system in a picture.

    Attributes:
        name: of the system.
        kind: own, rival or floor.
        distance_km: from the truths, (N,).
    """

    name: str
    kind: str
    distance_km: ArrayLike


def draw_error_curves(curves: Sequence[ErrorCurve], path: str | Path, *, title: str) -> Path:
    """Draw which share of the answers of each system lies within which distance, with a table of what is read off.

    Args:
        curves: from the top of the table.
        path: file to write; 1600 pixels wide.
        title: headline.
    """
    plot_inches = max(_PLOT_INCHES, _ROW_INCHES * (len(curves) + 1))
    height = _TOP_INCHES + plot_inches + _BELOW_INCHES
    figure = new_chart_page(height, title)
    area = (_BELOW_INCHES / height, plot_inches / height)
    axes = figure.add_axes((_PLOT_LEFT, area[0], _PLOT_WIDTH, area[1]))
    _draw_frame(axes)
    table = figure.add_axes((_TABLE_LEFT, area[0], _TABLE_WIDTH, area[1]))
    table.set(xlim=(0.0, 1.0), ylim=(plot_inches / _ROW_INCHES - 0.5, -0.5))
    table.set_axis_off()
    heads = [*(f"< {km:g} km" for km in MARKS_KM), "median km"]
    for right, head in zip(_COLUMNS, heads, strict=True):
        note(table, right, 0.0, head, ha="right")
    for row, (curve, style) in enumerate(zip(curves, _styles(curves), strict=True), 1):
        kilometres = np.sort(flat(curve.distance_km))
        _draw_curve(axes, kilometres, style)
        _write_row(table, row, curve, kilometres, style)
    return save_compact(figure, path)


def _styles(curves: Sequence[ErrorCurve]) -> list[dict[str, Any]]:
    """Return how each line looks: the own one strong, rivals in colours, floors grey and broken."""
    found, rivals, floors = [], 0, 0
    for curve in curves:
        style: dict[str, Any] = {"color": ANSWER, "linewidth": 3.8, "zorder": 6}
        if curve.kind == "floor":
            line = _FLOORS[floors % len(_FLOORS)]
            style, floors = {"color": QUIET, "linewidth": 1.8, "linestyle": line, "zorder": 3}, floors + 1
        elif curve.kind != "own":
            colour = _COLOURS[rivals % len(_COLOURS)]
            style, rivals = {"color": colour, "linewidth": 2.0, "zorder": 4}, rivals + 1
        found.append(style)
    return found


def _draw_frame(axes: Any) -> None:
    style_axes(axes)
    set_log_scale(axes, "x", *ENDS_KM)
    axes.set(ylim=(0, 100), xlabel="distance from the truth in km, log scale", ylabel="answers within that distance")
    axes.set_yticks(range(0, 101, 25), [f"{percent}%" for percent in range(0, 101, 25)])
    axes.grid(axis="y", color="#E4E9EC", linewidth=0.8)
    axes.set_axisbelow(True)
    for mark in MARKS_KM:
        axes.axvline(mark, color=QUIET, linewidth=1.0, linestyle=(0, (4, 3)), zorder=2)
        note(axes, mark, 1.03, f"{mark:g} km", ha="center", transform=axes.get_xaxis_transform())


def _draw_curve(axes: Any, sorted_km: Floats, style: dict[str, Any]) -> None:
    km = np.geomspace(*ENDS_KM, _POINTS)
    axes.plot(km, 100.0 * share_within(sorted_km, km), **style)


def _write_row(table: Any, row: int, curve: ErrorCurve, sorted_km: Floats, style: dict[str, Any]) -> None:
    weight = {"weight": "bold"} if curve.kind == "own" else {}
    colour = QUIET if curve.kind == "floor" else INK
    table.plot([0.0, 0.055], [row, row], **style, solid_capstyle="butt")
    short = curve.name if len(curve.name) <= _LONGEST_NAME else curve.name[: _LONGEST_NAME - 1].rstrip() + "…"
    write(table, 0.075, row, short, 12.5, va="center", color=colour, **weight)
    cells = [f"{share:.1%}" for share in share_within(sorted_km, MARKS_KM)]
    cells.append(rounded(float(np.median(sorted_km))) if len(sorted_km) else "–")
    for right, cell in zip(_COLUMNS, cells, strict=True):
        write(table, right, row, cell, 12.5, ha="right", va="center", color=colour, **weight)
