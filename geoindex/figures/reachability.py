"""The picture of a walk of OPTICS: reachability along it, and the clusters cut out of it."""

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from geoindex.figures.charts import (
    Floats,
    counted,
    flat,
    legend,
    new_chart_page,
    note,
    save_compact,
    set_log_scale,
    style_axes,
    swatch,
    widened,
)
from geoindex.figures.worldmap import CANDIDATE, INK, TRUTH, write

COLUMNS, ROWS = 1500, 400
"""Size to which a walk is brought, however many positions it has."""

OUTLIER = 2
"""Kind of a position in no cluster; those in clusters are 0 and 1 by turns."""

_COLOURS = (TRUTH, CANDIDATE, "#B3BCC2")
_FOOT = ROWS // 50
_COLUMNS_A_CLUSTER = 6
_GAMMA = 0.3  # so that a single high position among hundreds in a column is still seen

Rows = NDArray[np.int64]


def draw_reachability(
    reachability_km: ArrayLike, label: ArrayLike, path: str | Path, *, title: str | None = None
) -> Path:
    """Draw the walk of OPTICS and the clusters cut out of it; a valley is a cluster.

    Where more positions share a column of pixels than it can show, a height that few of them reach is paler. Of a
    long walk a second panel enlarges the surroundings of the largest cluster.

    Args:
        reachability_km: distance at which each position joins the walk, (N,), in its order; inf where one starts.
        label: cluster of each position, (N,), in the same order; -1 for outliers.
        path: file to write; 1600 pixels wide.
        title: headline; by default how many positions and clusters there are.
    """
    reach_km, labels = flat(reachability_km), np.ravel(np.asarray(label, np.int64))
    n_clusters = len(np.unique(labels[labels >= 0]))
    title = title or f"OPTICS finds {counted(n_clusters, 'cluster')} in {counted(len(labels), 'position')}"
    figure = new_chart_page(9.0, title)
    _explain(figure, reach_km, labels)
    near = enlarged(labels)
    whole = figure.add_axes((0.065, 0.505, 0.89, 0.315) if near else (0.065, 0.085, 0.89, 0.735))
    _draw_walk(whole, reach_km, labels, slice(0, len(labels)))
    if near:
        _draw_walk(figure.add_axes((0.065, 0.085, 0.89, 0.285)), reach_km, labels, near)
        _point_out(whole, near)
        note(figure, 0.065, 0.39, "Enlarged: around the largest cluster")
    return save_compact(figure, path)


def enlarged(label: Rows) -> slice | None:
    """Return the stretch of a long walk around its largest cluster, or None where the walk is short."""
    if len(label) <= 2 * COLUMNS or label.max() < 0:
        return None
    rows = np.flatnonzero(label == np.bincount(label[label >= 0]).argmax())
    length = int(np.clip(3 * len(rows), COLUMNS // 5, len(label) // 4))
    start = int(np.clip((rows[0] + rows[-1] - length) // 2, 0, len(label) - length))
    return slice(start, start + length)


def kinds(label: Rows) -> Rows:
    """Return what colour each position has, (N,): `OUTLIER`, or 0 and 1 by turns while there are few clusters."""
    names, rank = np.unique(label, return_inverse=True)
    by_turns = rank % 2 if len(names) <= COLUMNS // _COLUMNS_A_CLUSTER else 0
    return np.where(label < 0, OUTLIER, by_turns)


def column_shares(row: Rows, kind: Rows) -> Floats:
    """Return which share of the positions in each column reaches each row, by kind, (3, ROWS, columns).

    Args:
        row: height of each position, (N,), 0 to ROWS - 1.
        kind: from `kinds`, (N,).
    """
    columns = max(1, min(len(row), COLUMNS))
    column = np.arange(len(row)) * columns // max(len(row), 1)
    cell = np.ravel_multi_index((kind, row, column), (3, ROWS, columns))
    tops = np.bincount(cell, minlength=3 * ROWS * columns).reshape(3, ROWS, columns)
    reached = tops[:, ::-1].cumsum(axis=1)[:, ::-1]
    return np.asarray(reached / np.maximum(tops.sum(axis=(0, 1)), 1))


def range_km(reach_km: Floats) -> tuple[float, float]:
    """Return the ends of the scale; a few of the shortest distances may lie below it, as 0 does."""
    seen = reach_km[np.isfinite(reach_km) & (reach_km > 0)]
    return widened(float(np.quantile(seen, 0.001)), float(seen.max())) if len(seen) else (1.0, 100.0)


def _draw_walk(axes: Any, reach_km: Floats, label: Rows, part: slice) -> None:
    """Draw a part of the walk as an image under log axes."""
    reach_km, kind = reach_km[part], kinds(label[part])
    low, high = range_km(reach_km)
    height = np.log(np.clip(reach_km, low, high) / low) / math.log(high / low)
    row = np.clip(ROWS * height, _FOOT, ROWS - 1).astype(np.int64)
    style = {"aspect": "auto", "origin": "lower", "interpolation": "nearest"}
    axes.imshow(_blend(column_shares(row, kind)), extent=(0, 1, 0, 1), transform=axes.transAxes, **style)
    style_axes(axes)
    set_log_scale(axes, "y", low, high)
    axes.set(xlim=(part.start, max(part.stop, 1)), xlabel="place in the walk", ylabel="reachability in km, log scale")
    axes.xaxis.get_major_locator().set_params(integer=True)


def _blend(shares: Floats) -> Floats:
    """Turn shares into colours, (ROWS, columns, 3)."""
    from matplotlib.colors import to_rgb

    total = shares.sum(axis=0)[..., None]
    mixed = np.einsum("krc,kn->rcn", shares, [to_rgb(colour) for colour in _COLOURS]) / np.maximum(total, 1e-12)
    return np.asarray(1.0 - total**_GAMMA * (1.0 - mixed))


def _explain(figure: Any, reach_km: Floats, label: Rows) -> None:
    """Explain colours and bars that end outside the scale."""
    share = float((label >= 0).mean()) if len(label) else 0.0
    clusters = (swatch(TRUTH), swatch(CANDIDATE))
    names = {f"in a cluster ({share:.1%})": clusters, f"outlier ({1 - share:.1%})": swatch(_COLOURS[OUTLIER])}
    legend(figure, names, 0.03, 0.88)
    zeros, starts = int((reach_km == 0).sum()), int(np.isinf(reach_km).sum())
    notes = [f"{counted(starts, 'start')} of a walk: full height"] if starts else []
    notes += [f"{counted(zeros, 'position')} at 0 km: at the foot"] if zeros else []
    notes += ["paler: fewer positions reach so high"] if len(label) > COLUMNS else []
    note(figure, 0.955, 0.88, "      ".join(notes), ha="right")


def _point_out(axes: Any, near: slice) -> None:
    """Mark on the whole walk which part of it is enlarged."""
    middle = (near.start + near.stop) / 2.0
    style = {"transform": axes.get_xaxis_transform(), "clip_on": False}
    axes.plot([middle], [1.03], marker="v", color=INK, markersize=9, **style)
    left = middle < sum(axes.get_xlim()) / 2.0
    write(axes, middle, 1.04, "   enlarged below   ", 11, ha="left" if left else "right", va="center", **style)
