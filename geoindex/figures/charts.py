"""The chart page: axes, ticks, legends and small files in the style of the maps."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from geoindex.figures.worldmap import INK, PAGE_INCHES, QUIET, new_figure, save, write

GREEN, PURPLE = "#009E73", "#CC79A7"
"""More colours of Okabe and Ito."""

_FRAME = "#C3CBD1"
_COLOURS = 256
_MOST_STEPS = 6

Floats = NDArray[np.float64]


def new_chart_page(height_inches: float, title: str) -> Any:
    """Return a page of this height with a headline."""
    figure = new_figure()
    figure.set_size_inches(PAGE_INCHES[0], height_inches)
    write(figure, 0.03, 1.0 - 0.57 / height_inches, title, size=21, weight="bold", va="center")
    return figure


def style_axes(axes: Any) -> None:
    """Leave of a frame what a reader needs, and write numbers out with separators."""
    for name, spine in axes.spines.items():
        spine.set(color=_FRAME, visible=name in ("left", "bottom"))
    for side in (axes.xaxis, axes.yaxis):
        side.set_major_formatter(lambda value, _: number(value))
        side.label.set(color=INK, fontsize=12)
    axes.tick_params(labelsize=11, labelcolor=INK, color=_FRAME)


def set_log_scale(axes: Any, side: str, low: float, high: float) -> None:
    """Let one side ("x" or "y") run from `low` to `high` on a log scale with round numbers."""
    axes.set(**{f"{side}scale": "log", f"{side}lim": (low, high)})
    axis = axes.xaxis if side == "x" else axes.yaxis
    axis.set_ticks(round_steps(low, high))
    axis.set_ticks([], minor=True)
    axis.set_major_formatter(lambda value, _: number(value))


def round_steps(low: float, high: float) -> list[float]:
    """Return up to six round numbers from `low` to `high` for a log scale.

    Args:
        low: above 0.
        high: at least 2.5 times `low`.
    """
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    sparser = [((1,), apart) for apart in range(1, len(exponents))]
    for digits, apart in [((1, 2, 5), 1), ((1, 3), 1), *sparser]:
        steps = [float(f"{digit}e{exponent}") for exponent in exponents if exponent % apart == 0 for digit in digits]
        steps = [step for step in steps if low <= step <= high]
        if len(steps) <= _MOST_STEPS:
            break
    return steps


def widened(low: float, high: float) -> tuple[float, float]:
    """Return the ends of a log scale around numbers above 0: a little more, and at least a decade."""
    grow = max((high / low) ** 0.07, math.sqrt(10.0 * low / high))
    return low / grow, high * grow


def swatch(colour: str, marker: str = "s", markersize: float = 11.0) -> Any:
    """Return a patch of colour for a legend."""
    from matplotlib.lines import Line2D

    return Line2D([], [], linestyle="none", marker=marker, markersize=markersize, color=colour)


def legend(figure: Any, entries: Mapping[str, Any], left: float, middle: float) -> None:
    """Put names and their swatches, one or a tuple of them, in a row from `left` on, in page shares."""
    from matplotlib.legend_handler import HandlerTuple

    place = {"loc": "center left", "bbox_to_anchor": (left, middle), "ncols": len(entries), "borderaxespad": 0.0}
    style = {"frameon": False, "fontsize": 11.5, "labelcolor": INK, "handletextpad": 0.6, "columnspacing": 2.0}
    tuples = {tuple: HandlerTuple(ndivide=None, pad=0.1)}
    figure.legend(entries.values(), entries.keys(), handlelength=1.6, handler_map=tuples, **place, **style)


def note(parent: Any, x: float, y: float, text: str, **style: Any) -> None:
    """Write what is beside the point, quietly."""
    write(parent, x, y, text, 11, color=QUIET, va="center", **style)


def number(value: float) -> str:
    """Write a number with separators, and no more than three digits of it after a point."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def rounded(value: float) -> str:
    """Write a number with separators, to three digits."""
    return number(float(f"{value:.3g}"))


def counted(count: float, noun: str) -> str:
    """Write "1 cell" or "2,000 cells"."""
    return f"{count:,.0f} {noun}{'' if count == 1 else 's'}"


def flat(values: ArrayLike) -> Floats:
    """Return values as floats, (N,)."""
    return np.ravel(np.asarray(values, float))


def save_compact(figure: Any, path: str | Path) -> Path:
    """Write a page of few colours; a PNG gets a palette, which makes it a third as large."""
    from PIL import Image

    path = save(figure, path)
    if path.suffix.lower() == ".png":
        with Image.open(path) as picture:
            small = picture.convert("RGB").quantize(_COLOURS, kmeans=1, dither=Image.Dither.NONE)
        small.save(path, optimize=True)
    return path
