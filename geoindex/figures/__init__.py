"""Maps and plots: predictions, samples and partitions as pictures that a person can read.

Every picture is a figure of its own (Agg), so nothing depends on or changes pyplot's state, and matplotlib is
imported when the first one is drawn.
"""

from geoindex.figures.answer import draw_prediction
from geoindex.figures.floor import draw_floor
from geoindex.figures.overview import draw_samples
from geoindex.figures.partition import draw_cells, draw_partition
from geoindex.figures.reachability import draw_reachability
from geoindex.figures.training import draw_training
from geoindex.figures.worldmap import great_circle

__all__ = [
    "draw_cells",
    "draw_floor",
    "draw_partition",
    "draw_prediction",
    "draw_reachability",
    "draw_samples",
    "draw_training",
    "great_circle",
]
