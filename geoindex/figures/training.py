"""How a fit went: the loss step by step, and what validation said after each epoch."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from geoindex.figures.charts import GREEN, PURPLE, legend, new_chart_page, note, save_compact, style_axes, swatch


def draw_training(rows: Sequence[Mapping[str, Any]], history: Sequence[Mapping[str, Any]], path: str | Path) -> Path:
    """Draw the curves of a fit.

    Args:
        rows: of the journal: step, epoch, loss; those with a geoscore end an epoch.
        history: of the epochs: epoch, loss, geoscore, median_km; row 0 is the start.
        path: file to write, .png or .svg.
    """
    figure = new_chart_page(5.0, "Fine-tuning, epoch by epoch")
    left, right = (figure.add_axes((x, 0.17, 0.38, 0.56)) for x in (0.08, 0.57))
    for axes in (left, right):
        style_axes(axes)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set_xlabel("epoch")
    _draw_loss(left, rows, history)
    best = _draw_score(right, history)
    legend(figure, {"training loss, mean of the epoch so far": swatch(PURPLE)}, 0.08, 0.79)
    legend(figure, {"validation GeoScore": swatch(GREEN)}, 0.57, 0.79)
    if best is not None:
        kept = f"kept: epoch {best['epoch']}, median {best['median_km']:,.0f} km"
        note(figure, 0.95, 0.79, kept, ha="right")
    return save_compact(figure, path)


def _draw_loss(axes: Any, rows: Sequence[Mapping[str, Any]], history: Sequence[Mapping[str, Any]]) -> None:
    last = {row["epoch"]: row["step"] for row in rows if "geoscore" in row}  # step at which an epoch ended
    points = []
    for row in rows:
        begun, ended = last.get(row["epoch"] - 1, 0), last.get(row["epoch"])
        if ended:
            points.append((row["epoch"] - 1 + (row["step"] - begun) / (ended - begun), row["loss"]))
    if points:
        axes.plot(*zip(*points, strict=True), color=PURPLE, linewidth=1.6, marker="o" * (len(points) == 1))
    axes.set_xlim(0, max(1, len(history) - 1))


def _draw_score(axes: Any, history: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    known = [row for row in history if row["geoscore"] is not None]
    axes.set_xlim(0, max(1, len(history) - 1))
    if not known:
        return None
    best = max(known, key=lambda row: float(row["geoscore"]))
    axes.plot([r["epoch"] for r in known], [r["geoscore"] for r in known], color=GREEN, marker="o", markersize=4)
    axes.plot([best["epoch"]], [best["geoscore"]], color=GREEN, marker="o", markersize=10)
    axes.set_ylim(bottom=0)
    return best
