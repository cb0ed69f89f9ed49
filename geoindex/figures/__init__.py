"""Maps and plots: predictions, samples and partitions as pictures that a person can read.

Every picture is a figure of its own (Agg), so nothing depends on or changes pyplot's state, and matplotlib is
imported when the first one is drawn.
"""

from geoindex.figures.answer import draw_prediction
from geoindex.figures.overview import draw_partition, draw_samples
from geoindex.figures.worldmap import great_circle

__all__ = ["draw_partition", "draw_prediction", "draw_samples", "great_circle"]
