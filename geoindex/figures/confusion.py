"""The matrix of confusion: into which groups the queries of each group were put."""

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoindex.figures.charts import new_chart_page, note, save_compact
from geoindex.figures.worldmap import INK, PAGE_INCHES, TRUTH, write

_ROW_INCHES, _ABOVE_INCHES, _BELOW_INCHES = 0.46, 1.65, 0.35
_LEFT_INCHES, _RIGHT_INCHES, _GAP = 5.2, 0.5, 0.3
_LONGEST_NAME = 46
_FEWEST = 8.0  # columns that the page is wide enough for, so that a small matrix has no huge ones


def draw_confusion(
    counts: NDArray[np.int64], elsewhere: NDArray[np.int64], names: Sequence[str], path: str | Path, *, title: str
) -> Path:
    """Draw how many queries of each group, a row, were put into each group, a column.

    Args:
        counts: (G, G), true group by answered group.
        elsewhere: of each group, those put into a group that is not drawn, (G,).
        names: of the groups, (G,).
        path: file to write; 1600 pixels wide.
        title: headline.
    """
    rows = max(len(names), 1)
    inches = _ROW_INCHES * rows
    height = _ABOVE_INCHES + inches + _BELOW_INCHES
    figure = new_chart_page(height, title)
    width, last = PAGE_INCHES[0], len(names) + _GAP
    across = (width - _LEFT_INCHES - _RIGHT_INCHES) / width
    axes = figure.add_axes((_LEFT_INCHES / width, _BELOW_INCHES / height, across, inches / height))
    axes.set(xlim=(0.0, max(last + 1.0, _FEWEST)), ylim=(rows, 0.0))
    axes.set_axis_off()
    note(axes, -0.1, -0.4, "true cell", ha="right")
    note(axes, 0.0, -1.15, "answered cell, by the numbers at the left")
    totals = np.maximum(counts.sum(axis=1) + elsewhere, 1)
    for row, name in enumerate(names):
        short = textwrap.shorten(name, _LONGEST_NAME, placeholder=" …")
        write(axes, -0.1, row + 0.5, f"{short}  {row + 1}", 11.5, ha="right", va="center")
        note(axes, row + 0.5, -0.4, str(row + 1), ha="center")
        for column, count in enumerate(counts[row].tolist()):
            _draw_cell(axes, (column, row), count, count / totals[row], column == row)
        beyond = int(elsewhere[row])
        _draw_cell(axes, (last, row), beyond, beyond / totals[row], False)
    note(axes, last + 0.5, -0.4, "other", ha="center")
    return save_compact(figure, path)


def _draw_cell(axes: Any, corner: tuple[float, float], count: int, share: float, right: bool) -> None:
    from matplotlib.colors import to_rgb
    from matplotlib.patches import Rectangle

    paper, ink = np.array(to_rgb("#F3F6F8")), np.array(to_rgb(TRUTH))
    colour = tuple(paper + (ink - paper) * share)
    x, y = corner
    edge: dict[str, Any] = {"edgecolor": "white", "linewidth": 1.0, "zorder": 2}
    if right:
        edge = {"edgecolor": INK, "linewidth": 1.6, "zorder": 3}
    axes.add_patch(Rectangle((x + 0.03, y + 0.03), 0.94, 0.94, facecolor=colour, **edge))
    if count:
        text = "white" if share > 0.5 else INK
        write(axes, x + 0.5, y + 0.5, f"{count:,}", 10.5, ha="center", va="center_baseline", color=text, zorder=4)
