"""The picture of an error floor: how near an answer can come when it is a centroid."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from geoindex.figures.charts import (
    GREEN,
    PURPLE,
    Floats,
    counted,
    flat,
    new_chart_page,
    note,
    number,
    rounded,
    save_compact,
    set_log_scale,
    style_axes,
)
from geoindex.figures.worldmap import ANSWER, CANDIDATE, QUIET, TRUTH, write

MARKS_KM = (1.0, 25.0, 200.0)
"""Distances at which shares are read off: street, city, region."""

_COLOURS = (TRUTH, ANSWER, GREEN, PURPLE, CANDIDATE)
_NEAREST_KM, _ENDS_KM = 0.1, (1_000.0, 3_000.0, 10_000.0, 20_100.0)
_POINTS = 1500
_LONGEST_NAME, _NAMES_AT = 28, -0.0387
_HAIR = {"color": QUIET, "linewidth": 1.0, "linestyle": (0, (4, 3)), "zorder": 2}
_ROW_INCHES, _PLOT_INCHES, _BELOW_INCHES = 0.34, 5.7, 0.85


def draw_floor(distances_km: Mapping[str, ArrayLike], path: str | Path) -> Path:
    """Draw which share of positions lies within which distance, with the shares within 1, 25 and 200 km and medians.

    Args:
        distances_km: distance from each position to, say, the centroid of its cell, by name, each (N,).
        path: file to write; 1600 pixels wide.
    """
    curves = {name: np.sort(flat(values)) for name, values in distances_km.items()}
    most = max((len(values) for values in curves.values()), default=0)
    table_inches = _ROW_INCHES * (len(curves) + 1.3)
    height = 1.15 + table_inches + _PLOT_INCHES + _BELOW_INCHES
    figure = new_chart_page(height, f"How near an answer can come, for {counted(most, 'position')}")
    axes = figure.add_axes((0.065, _BELOW_INCHES / height, 0.905, _PLOT_INCHES / height))
    farthest = max((values[-1] for values in curves.values() if len(values)), default=0.0)
    set_log_scale(axes, "x", _NEAREST_KM, next(km for km in _ENDS_KM if km >= min(farthest, _ENDS_KM[-1])))
    _draw_frame(axes, table_inches / _PLOT_INCHES)
    for row, (name, values) in enumerate(curves.items()):
        colour = _COLOURS[row % len(_COLOURS)]
        _draw_curve(axes, values, colour, "-" if row < len(_COLOURS) else "--")
        _write_row(axes, 1.0 + _ROW_INCHES * (len(curves) - row - 0.2) / _PLOT_INCHES, name, values, colour)
    return save_compact(figure, path)


def share_within(sorted_km: Floats, km: ArrayLike) -> Floats:
    """Return the share of distances up to `km`, between 0 and 1."""
    return np.asarray(np.searchsorted(sorted_km, km, side="right") / max(len(sorted_km), 1))


def _draw_frame(axes: Any, table_share: float) -> None:
    """Draw scales, the lines at which shares are read, and the head of the table that stands on them."""
    style_axes(axes)
    axes.set(ylim=(0, 100), xlabel="distance in km, log scale", ylabel="positions within that distance")
    axes.set_yticks(range(0, 101, 25), [f"{percent}%" for percent in range(0, 101, 25)])
    axes.grid(axis="y", color="#E4E9EC", linewidth=0.8)
    axes.set_axisbelow(True)
    top = 1.0 + table_share - 0.4 * _ROW_INCHES / _PLOT_INCHES
    for mark in MARKS_KM:
        axes.axvline(mark, ymax=1.0 + table_share - 0.8 * _ROW_INCHES / _PLOT_INCHES, clip_on=False, **_HAIR)
        note(axes, mark, top, f"within {number(mark)} km", ha="center", transform=axes.get_xaxis_transform())
    note(axes, 1.0, top, "median", ha="right", transform=axes.transAxes)


def _draw_curve(axes: Any, sorted_km: Floats, colour: str, line: str) -> None:
    """Draw one curve, with dots where it is read."""
    low, high = axes.get_xlim()
    km = np.geomspace(low, high, _POINTS)
    share = share_within(sorted_km, km)
    axes.plot(km, 100.0 * share, color=colour, linewidth=2.6, linestyle=line, zorder=3, clip_on=False)
    dots = {"color": colour, "s": 60, "edgecolors": "white", "linewidths": 1.5, "zorder": 4, "clip_on": False}
    axes.scatter(MARKS_KM, 100.0 * share_within(sorted_km, MARKS_KM), **dots)


def _write_row(axes: Any, height: float, name: str, sorted_km: Floats, colour: str) -> None:
    """Write a curve's name, shares and median above the plot, each share above the line where it is read."""
    style = {"color": colour, "weight": "bold", "va": "center"}
    short = name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1].rstrip() + "…"
    write(axes, _NAMES_AT, height, short, 12.5, transform=axes.transAxes, **style)
    for mark, share in zip(MARKS_KM, share_within(sorted_km, MARKS_KM), strict=True):
        box = {"facecolor": "white", "edgecolor": "none", "pad": 2.0}
        above = {"ha": "center", "transform": axes.get_xaxis_transform(), "bbox": box}
        write(axes, mark, height, f"{share:.1%}", 12.5, **above, **style)
    median = f"{rounded(float(np.median(sorted_km)))} km" if len(sorted_km) else "–"
    write(axes, 1.0, height, median, 12.5, ha="right", transform=axes.transAxes, **style)
