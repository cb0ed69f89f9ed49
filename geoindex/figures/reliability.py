"""How well chances were kept: reliability diagrams, and how much risk is saved by answering where one is sure.

A column a radius. Above, the share that was right against the chance that was told; between, how many answers told
which chance; below, the share of wrong answers among the surest ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from geoindex.figures.charts import Floats, legend, new_chart_page, note, save_compact, style_axes
from geoindex.figures.worldmap import ANSWER, PAGE_INCHES, QUIET, TRUTH, write

_HEIGHT = 11.7
_LEFT, _WIDTH, _GAP = 0.95, 4.3, 0.75  # inches of the columns
_UPPER, _COUNTS, _LOWER = (5.75, 3.75), (4.6, 0.75), (1.15, 2.45)  # bottom and height of the rows in inches
_HEADS = 9.95
_BARS = 40
_FLOOR: dict[str, Any] = {"color": QUIET, "linewidth": 1.6, "linestyle": (0, (4, 3)), "zorder": 2}
_IDEAL: dict[str, Any] = {"color": QUIET, "linewidth": 1.6, "linestyle": (0, (1, 1.2)), "zorder": 2}
_STEPS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.25)


@dataclass(frozen=True, slots=True)
class DrawnBin:
    """Answers of about the same chance.

    Attributes:
        told: their mean chance.
        right: the share that was right.
        low, high: ends of the interval of that share.
    """

    told: float
    right: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, eq=False)
class DrawnChance:
    """The chances of one radius, a column of the picture.

    Attributes:
        name: what the chance is of.
        remarks: lines of figures below the name.
        told: every chance, (Q,).
        base: share of right answers.
        bins: the reliability table.
        risk: share of wrong answers among the surest, the two surest, ... and all, (Q,).
        ideal: the same if all right answers were the surest, (Q,).
    """

    name: str
    remarks: Sequence[str]
    told: Floats
    base: float
    bins: Sequence[DrawnBin]
    risk: Floats
    ideal: Floats


def draw_reliability(columns: Sequence[DrawnChance], path: str | Path, *, title: str) -> Path:
    """Draw how chances were kept.

    Args:
        columns: from the left, at most three.
        path: file to write; 1600 pixels wide.
        title: headline.
    """
    figure = new_chart_page(_HEIGHT, title)
    for place, column in enumerate(columns):
        left = _LEFT + place * (_WIDTH + _GAP)
        upper, counts, lower = (_axes(figure, left, *row) for row in (_UPPER, _COUNTS, _LOWER))
        write(figure, left / PAGE_INCHES[0], (_HEADS + 0.6) / _HEIGHT, column.name, 15, weight="bold", va="center")
        for row, remark in enumerate(column.remarks):
            note(figure, left / PAGE_INCHES[0], (_HEADS + 0.27 - 0.25 * row) / _HEIGHT, remark)
        most = _end_of(column)
        _draw_bins(upper, column, most)
        _draw_counts(counts, column, most)
        _draw_risk(lower, column)
    _draw_legend(figure)
    return save_compact(figure, path)


def _axes(figure: Any, left: float, bottom: float, height: float) -> Any:
    width = PAGE_INCHES[0]
    axes = figure.add_axes((left / width, bottom / _HEIGHT, _WIDTH / width, height / _HEIGHT))
    style_axes(axes)
    axes.grid(color="#E4E9EC", linewidth=0.8)
    axes.set_axisbelow(True)
    return axes


def _end_of(column: DrawnChance) -> float:
    """Return the end of both scales: all chances and most of the intervals lie below."""
    ends = [column.base, *(each.told for each in column.bins), *(each.right for each in column.bins)]
    return min(1.0, 1.15 * max([*ends, float(np.max(column.told, initial=0.0)), 0.01]))


def _percentages(axes: Any, side: str, most: float) -> None:
    """Let one side ("x" or "y") run from 0 to `most`, in up to five steps of percents."""
    step = next((each for each in _STEPS if most / each <= 5.5), _STEPS[-1])
    ticks = np.arange(0.0, most + 1e-9, step)
    axes.set(**{f"{side}lim": (0.0, most)})
    (axes.xaxis if side == "x" else axes.yaxis).set_ticks(ticks, [f"{100 * tick:.3g}%" for tick in ticks])


def _draw_bins(axes: Any, column: DrawnChance, most: float) -> None:
    for side in "xy":
        _percentages(axes, side, most)
    axes.set_xticklabels([])
    axes.set_ylabel("right")
    axes.plot([0.0, most], [0.0, most], **_IDEAL)
    axes.axhline(column.base, **_FLOOR)
    for each in column.bins:
        axes.plot([each.told] * 2, [each.low, each.high], color=ANSWER, alpha=0.35, linewidth=5, solid_capstyle="butt")
    told, right = [each.told for each in column.bins], [each.right for each in column.bins]
    axes.plot(told, right, color=ANSWER, linewidth=2.2, zorder=4)
    axes.scatter(told, right, color=ANSWER, s=64, edgecolors="white", linewidths=1.2, zorder=5, clip_on=False)


def _draw_counts(axes: Any, column: DrawnChance, most: float) -> None:
    _percentages(axes, "x", most)
    axes.set(xlabel="chance that was told")
    axes.grid(visible=False)
    counts, edges = np.histogram(column.told, np.linspace(0.0, most, _BARS + 1))
    axes.bar(edges[:-1], counts, np.diff(edges), align="edge", color=TRUTH, edgecolor="white", linewidth=0.5)
    highest = int(counts.max(initial=1))
    axes.set(ylim=(0, max(highest, 1)))
    axes.set_yticks([0, highest], ["0", f"{highest:,}"])
    axes.set_ylabel("answers")


def _draw_risk(axes: Any, column: DrawnChance) -> None:
    axes.set(xlabel="answered, the surest first", ylabel="wrong")
    _percentages(axes, "x", 1.0)
    share = np.arange(1, len(column.risk) + 1) / max(len(column.risk), 1)
    axes.axhline(1.0 - column.base, **_FLOOR)
    axes.plot(share, column.ideal, **_IDEAL)
    axes.plot(share, column.risk, color=ANSWER, linewidth=2.6, zorder=4)
    _percentages(axes, "y", 1.0)


def _draw_legend(figure: Any) -> None:
    from matplotlib.lines import Line2D

    entries = {
        "this index, with 95 % intervals": Line2D([], [], color=ANSWER, linewidth=2.6, marker="o"),
        "no confidence: base rate, random order": Line2D([], [], **_FLOOR),
        "ideal: told is right, every right answer before the wrong ones": Line2D([], [], **_IDEAL),
    }
    legend(figure, entries, _LEFT / PAGE_INCHES[0], 0.3 / _HEIGHT)
