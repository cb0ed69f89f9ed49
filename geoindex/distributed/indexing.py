"""The search index on a Ray cluster: each task builds the lists of a run of cells, the first process joins them."""

import numpy as np
from numpy.typing import NDArray

from geoindex.ann import TwoStageIndex
from geoindex.ann.lists import entry_type
from geoindex.ann.ranges import build_range, cell_ranges
from geoindex.distributed.cluster import in_order

Floats = NDArray[np.float32]

AT_ONCE = 16
"""Runs of cells that are sent ahead at the most: 2.4 GB of 768 numbers."""


def index_on_ray(cells: Floats, clusters: Floats, cell_of: NDArray[np.int64]) -> TwoStageIndex:
    """Build the same index as `TwoStageIndex.build`; what is only one run of cells is built here.

    Args:
        cells: geo-embeddings, (C, D).
        clusters: geo-embeddings, (M, D).
        cell_of: cell of each cluster, (M,), ascending.
    """
    ranges = cell_ranges(cell_of, len(cells))
    if len(ranges) == 1:
        return TwoStageIndex.build(cells, clusters, cell_of)
    parts = in_order(
        build_range,
        (
            (cells[run.cells], clusters[run.clusters], cell_of[run.clusters] - run.cells.start, len(clusters))
            for run in ranges
        ),
        AT_ONCE,
    )
    return TwoStageIndex.joined(cells, parts, entry_type(len(clusters)))
