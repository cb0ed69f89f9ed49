"""Pictures of many positions: samples on the world map."""

from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from geoindex.figures.worldmap import TRUTH, new_world_page, save


def draw_samples(lat: ArrayLike, lon: ArrayLike, path: str | Path, *, title: str | None = None) -> Path:
    """Draw where samples lie on the world map.

    Args:
        lat: latitudes in degrees, (N,).
        lon: longitudes in degrees, (N,).
        path: file to write; 1600 pixels wide.
        title: headline; by default the number of samples.
    """
    lat, lon = np.ravel(np.asarray(lat, float)), np.ravel(np.asarray(lon, float))
    axes, figure = new_world_page(lat, title or f"{len(lat):,} samples")
    size = float(np.clip(3e4 / max(len(lat), 1), 1.5, 30.0))
    alpha = float(np.clip(3e3 / max(len(lat), 1), 0.15, 0.8))
    axes.scatter(lon, lat, s=size, color=TRUTH, alpha=alpha, linewidths=0, zorder=4)
    return save(figure, path)
