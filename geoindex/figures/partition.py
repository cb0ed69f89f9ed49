"""Pictures of a partition: its cells on the world map, and how large they are."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from geoindex.figures.charts import (
    GREEN,
    Floats,
    counted,
    flat,
    legend,
    new_chart_page,
    round_steps,
    rounded,
    save_compact,
    set_log_scale,
    style_axes,
    swatch,
    widened,
)
from geoindex.figures.worldmap import ANSWER, INK, LAND, TRUTH, new_world_page, turns, write
from geoindex.places import world_outline

_SCALE = ("#B4D9F0", "#56B4E9", TRUTH, "#003A5C")
_SHADES = 16  # few enough for the palette of a small file
_AT_SEA, _ON_LAND = "#A9BAC6", "#FFFFFF"
_BINS = 40
_MARKS = ((50, "median", 1.21, "-"), (95, "5% above", 1.13, "--"), (5, "5% below", 1.05, "--"))


def draw_partition(
    pieces: Sequence[Sequence[Floats]],
    lat: ArrayLike,
    lon: ArrayLike,
    n_positions: ArrayLike,
    path: str | Path,
    *,
    title: str | None = None,
) -> Path:
    """Draw geocells, how many positions each holds, and their centroids on the world map.

    Only land is shaded, so that it is told from the sea; at sea a cell is an outline.

    Args:
        pieces: for each cell its closed rings of degrees (lon, lat), each (K, 2), cut at the antimeridian.
        lat: latitudes of the centroids in degrees, (C,).
        lon: longitudes of the centroids in degrees, (C,).
        n_positions: positions in each cell, (C,).
        path: file to write; 1600 pixels wide.
        title: headline; by default how many cells and positions there are.
    """
    lats, lons, counts = flat(lat), flat(lon), flat(n_positions)
    title = title or f"{counted(len(pieces), 'geocell')} for {counted(counts.sum(), 'position')}"
    axes, figure = new_world_page(lats, title, below_inches=0.5)
    colours, land = _colours(counts), _land()
    _fill(axes, pieces, counts, colours, land)
    _outline(axes, pieces, land)
    size = float(np.clip(5e3 / max(len(lats), 1), 2.0, 16.0))
    axes.scatter(lons, lats, s=size, color=ANSWER, linewidths=0, zorder=5)
    _explain(figure, colours, bool((counts == 0).any()))
    return save_compact(figure, path)


def _colours(counts: Floats) -> Any:
    """Return the log scale from counts to colours; 0 keeps the colour of land."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LinearSegmentedColormap, LogNorm

    some = counts[counts > 0]
    low, high = (some.min(), some.max()) if len(some) else (1.0, 1.0)
    scale = LinearSegmentedColormap.from_list("cells", _SCALE, _SHADES).with_extremes(bad=LAND)
    return ScalarMappable(LogNorm(low, max(high, 3.0 * low)), scale)


def _fill(axes: Any, pieces: Sequence[Sequence[Floats]], counts: Floats, colours: Any, land: Any) -> None:
    """Shade the land of cells, which also hides the borders of countries."""
    from matplotlib.collections import PolyCollection

    shades = [shade for rings, shade in zip(pieces, colours.to_rgba(counts), strict=True) for _ in rings]
    cells = PolyCollection(
        [ring for rings in pieces for ring in rings], facecolors=shades, edgecolors=shades, linewidths=0.5, zorder=3
    )
    axes.add_collection(cells)
    cells.set_clip_path(land, axes.transData)


def _outline(axes: Any, pieces: Sequence[Sequence[Floats]], land: Any) -> None:
    from matplotlib.collections import LineCollection

    lines = [line for rings in pieces for ring in rings for line in borders(ring)]
    width = float(np.clip(16.0 / math.sqrt(max(len(pieces), 1)), 0.35, 1.0))
    for colour, clip in ((_AT_SEA, None), (_ON_LAND, land)):
        drawn = LineCollection(lines, colors=colour, linewidths=width, zorder=4)
        axes.add_collection(drawn)
        if clip is not None:
            drawn.set_clip_path(clip, axes.transData)


def _land() -> Any:
    from matplotlib.path import Path as Outline

    return Outline.make_compound_path(*(Outline(r[:, ::-1]) for ring in world_outline().land for r in turns(ring)))


def borders(ring: Floats) -> list[Floats]:
    """Return the lines of a closed ring that are borders of a cell, not cuts along the edge of the map.

    Args:
        ring: degrees (lon, lat), (K, 2).
    """
    edge = np.sign(ring) * (np.abs(ring) >= [180.0 - 1e-6, 90.0 - 1e-6])
    cut = ((edge[1:] == edge[:-1]) & (edge[1:] != 0)).any(axis=1)
    starts = np.flatnonzero(np.diff(cut.astype(int), prepend=1) == -1)
    ends = np.flatnonzero(np.diff(cut.astype(int), append=1) == 1)
    return [ring[start : end + 2] for start, end in zip(starts, ends, strict=True)]


def _explain(figure: Any, colours: Any, with_empty: bool) -> None:
    """Explain shades and dots below the map."""
    height = figure.get_size_inches()[1]
    middle = 0.57 / height
    write(figure, 0.03, middle, "positions in a cell", 11.5, va="center")
    bar = figure.add_axes((0.135, middle - 0.075 / height, 0.25, 0.15 / height))
    figure.colorbar(colours, cax=bar, orientation="horizontal", ticks=round_steps(*colours.get_clim()))
    bar.minorticks_off()
    style_axes(bar)
    entries = {"no positions": swatch(LAND)} if with_empty else {}
    legend(figure, {**entries, "centroid": swatch(ANSWER, "o", 6.0)}, 0.42, middle)


def draw_cells(n_positions: ArrayLike, area_km2: ArrayLike, path: str | Path, *, title: str | None = None) -> Path:
    """Draw how many positions and how much area the cells of a partition have.

    Args:
        n_positions: positions in each cell, (C,).
        area_km2: area of each cell in km2, (C,).
        path: file to write; 1600 pixels wide.
        title: headline; by default the number of cells.
    """
    counts, areas = flat(n_positions), flat(area_km2)
    figure = new_chart_page(7.0, title or f"{counted(len(counts), 'geocell')} by positions and area")
    left, right = (figure.add_axes((x, 0.12, 0.415, 0.58)) for x in (0.065, 0.555))
    _draw_sizes(left, counts, count_edges(counts[counts > 0]), TRUTH)
    left.set(xlabel="positions in a cell, log scale" + _left_out(counts, "without positions"), ylabel="cells")
    _draw_sizes(right, areas, area_edges(areas[areas > 0]), GREEN)
    right.set(xlabel="area of a cell in km², log scale" + _left_out(areas, "without area"))
    return save_compact(figure, path)


def count_edges(counts: Floats) -> Floats:
    """Return edges between whole numbers above 0, spaced on a log scale as evenly as those allow."""
    low, high = (counts.min(), counts.max()) if len(counts) else (1.0, 1.0)
    return np.unique(np.floor(np.geomspace(low - 0.5, high + 0.5, _BINS + 1) + 0.5) - 0.5)


def area_edges(areas: Floats) -> Floats:
    """Return edges around numbers above 0, evenly spaced on a log scale."""
    low, high = (areas.min(), areas.max()) if len(areas) else (1.0, 1.0)
    return np.geomspace(low / 1.01, high * 1.01, _BINS + 1 if high > low else 2)


def _draw_sizes(axes: Any, values: Floats, edges: Floats, colour: str) -> None:
    """Draw a histogram with its median and the bounds of the middle nine tenths."""
    cells, _ = np.histogram(values, edges)
    axes.stairs(cells, edges, fill=True, color=colour, alpha=0.55)
    style_axes(axes)
    set_log_scale(axes, "x", *widened(edges[0], edges[-1]))
    axes.set_ylim(0, max(1.05 * cells.max(), 1.0))
    axes.yaxis.get_major_locator().set_params(integer=True)
    for mark in _MARKS if len(values) else ():
        _mark_percentile(axes, values, *mark)


def _mark_percentile(axes: Any, values: Floats, percent: float, name: str, height: float, line: str) -> None:
    """Draw a line at a percentile up to its name above the axes, where each has a row of its own."""
    value = float(np.percentile(values, percent))
    low, high = axes.get_xlim()
    if low <= value <= high:
        axes.axvline(value, ymax=height, color=INK, linewidth=1.4, linestyle=line, clip_on=False)
    at = float(np.clip(value, low, high))
    place = math.log(at / low) / math.log(high / low)
    side = "left" if place < 0.2 else "right" if place > 0.8 else "center"
    box = {"facecolor": "white", "edgecolor": "none", "pad": 2.0}
    style = {"ha": side, "va": "center", "transform": axes.get_xaxis_transform(), "bbox": box}
    write(axes, at, height, f"{name} {rounded(value)}", 11.5, **style)


def _left_out(values: Floats, why: str) -> str:
    left_out = int((values <= 0).sum())
    return f" (not drawn: {counted(left_out, 'cell')} {why})" if left_out else ""
