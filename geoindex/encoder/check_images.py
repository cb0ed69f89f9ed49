"""Pictures that no camera took but that have the statistics of photos: to compare two ways to compute features."""

import numpy as np
from numpy.typing import NDArray

BATCHES = (1, 2, 5, 8)
"""Images that are encoded together when features are compared."""

_GRIDS = (2, 4, 8, 16, 32, 64)


def check_batches(size: int) -> list[NDArray[np.uint8]]:
    """Return batches (B, 3, size, size) of `BATCHES` images each; always the same."""
    rng = np.random.default_rng(0)
    return [np.stack([_picture(size, rng) for _ in range(count)]) for count in BATCHES]


def _picture(size: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Add up random grids, finer ones weaker, as edges and textures of photos are."""
    from PIL import Image

    total = np.zeros((size, size, 3))
    for number, cells in enumerate(_GRIDS):
        grid = Image.fromarray(rng.integers(0, 256, (cells, cells, 3), np.uint8))
        total += (np.asarray(grid.resize((size, size), Image.Resampling.BICUBIC)) - 127.5) * 0.7**number
    contrast, light = rng.uniform(0.3, 1.2), rng.uniform(60, 200)
    return np.clip(light + contrast * total, 0, 255).astype(np.uint8).transpose(2, 0, 1)
