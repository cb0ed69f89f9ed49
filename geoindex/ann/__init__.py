"""The two-stage index: cells first, then every cluster in the best of them."""

from geoindex.ann.cells import top_columns
from geoindex.ann.halves import half_products
from geoindex.ann.two_stage import NO_CELL, NO_CLUSTER, TwoStageIndex

__all__ = ["NO_CELL", "NO_CLUSTER", "TwoStageIndex", "half_products", "top_columns"]
