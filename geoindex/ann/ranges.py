"""Runs of cells: a two-stage index is built in parts of such runs, side by side, and put together unchanged."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from geoindex.ann.lists import entry_type
from geoindex.ann.two_stage import Serialized, TwoStageIndex

RANGE_CLUSTERS = 50_000
"""Clusters of a run: 150 MB of 768 numbers."""


@dataclass(frozen=True, slots=True)
class CellRange:
    """A run of cells and their clusters, which are ordered by cell."""

    cells: slice
    clusters: slice


def cell_ranges(cell_of: NDArray[np.int64], n_cells: int) -> list[CellRange]:
    """Cut cells into runs of about `RANGE_CLUSTERS` clusters, from the ascending cells of the clusters, (M,).

    Raises:
        ValueError: if those are not ascending, or none of the cells.
    """
    if len(cell_of) and not (cell_of[0] >= 0 and cell_of[-1] < n_cells and (np.diff(cell_of) >= 0).all()):
        raise ValueError(f"cells of clusters must ascend in 0..{n_cells - 1}")
    first = np.searchsorted(cell_of, np.arange(n_cells + 1))
    starts = [0, *(np.flatnonzero(np.diff(first[:-1] // RANGE_CLUSTERS)) + 1).tolist(), n_cells]
    return [CellRange(slice(a, b), slice(int(first[a]), int(first[b]))) for a, b in pairwise(starts)]


def build_range(
    cells: NDArray[np.float32], clusters: NDArray[np.float32], cell_of: NDArray[np.int64], of_clusters: int
) -> Serialized:
    """Build the part of a run of cells, as bytes.

    Args:
        cells: their geo-embeddings, (c, D).
        clusters: those of their clusters, (m, D).
        cell_of: which of these cells each is in, (m,).
        of_clusters: clusters of the whole index.
    """
    return TwoStageIndex.build(cells, clusters, cell_of, entry_type(of_clusters)).serialized()
