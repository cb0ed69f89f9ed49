"""Pictures of many positions: samples and partitions on the world map."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from geoindex.figures.worldmap import (
    ANSWER,
    PAGE_INCHES,
    TRUTH,
    draw_world,
    new_figure,
    outline_of,
    save,
    turns,
    world_extent,
    write,
)

_TITLE_INCHES = 0.95


def draw_samples(lat: ArrayLike, lon: ArrayLike, path: str | Path, *, title: str | None = None) -> Path:
    """Draw where samples lie on the world map.

    Args:
        lat: latitudes in degrees, (N,).
        lon: longitudes in degrees, (N,).
        path: file to write; 1600 pixels wide.
        title: headline; by default the number of samples.
    """
    lat, lon = np.ravel(np.asarray(lat, float)), np.ravel(np.asarray(lon, float))
    axes, figure = _new_world_page(lat, title or f"{len(lat):,} samples")
    size = float(np.clip(3e4 / max(len(lat), 1), 1.5, 30.0))
    alpha = float(np.clip(3e3 / max(len(lat), 1), 0.15, 0.8))
    axes.scatter(lon, lat, s=size, color=TRUTH, alpha=alpha, linewidths=0, zorder=4)
    return save(figure, path)


def draw_partition(
    polygons: Sequence[NDArray[np.float64]],
    lat: ArrayLike,
    lon: ArrayLike,
    path: str | Path,
    *,
    title: str | None = None,
) -> Path:
    """Draw geocells and their centroids on the world map.

    Args:
        polygons: outline of each cell, (K, 2) degrees (lat, lon); sides are great circles, and a cell may cross
            the antimeridian or hold a pole.
        lat: latitudes of the centroids in degrees, (C,).
        lon: longitudes of the centroids in degrees, (C,).
        path: file to write; 1600 pixels wide.
        title: headline; by default the number of cells.
    """
    from matplotlib.collections import LineCollection

    lat, lon = np.ravel(np.asarray(lat, float)), np.ravel(np.asarray(lon, float))
    axes, figure = _new_world_page([-90.0, 90.0], title or f"{len(polygons):,} geocells")
    rings = [ring for polygon in polygons if len(polygon) >= 3 for ring in turns(outline_of(polygon))]
    width = float(np.clip(20.0 / math.sqrt(max(len(polygons), 1)), 0.3, 1.2))
    lines = [ring[:, ::-1] for ring in rings]
    axes.add_collection(LineCollection(lines, colors=TRUTH, linewidths=width, zorder=4))
    size = float(np.clip(4e3 / max(len(lat), 1), 2.0, 30.0))
    axes.scatter(lon, lat, s=size, color=ANSWER, linewidths=0, zorder=5)
    return save(figure, path)


def _new_world_page(lat: ArrayLike, title: str) -> tuple[Any, Any]:
    """Return axes and figure of a page as high as the part of the world needs."""
    extent = world_extent(np.ravel(lat))
    south, north, west, east = extent
    figure = new_figure()
    width = PAGE_INCHES[0]
    map_height = 0.94 * width * (north - south) / (east - west)
    height = map_height + _TITLE_INCHES + 0.03 * width
    figure.set_size_inches(width, height)
    write(figure, 0.03, 1.0 - 0.6 * _TITLE_INCHES / height, title, size=21, weight="bold", va="center")
    axes = figure.add_axes((0.03, 0.03 * width / height, 0.94, map_height / height))
    draw_world(axes, extent)
    return axes, figure
