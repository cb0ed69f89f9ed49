"""Turns images into features, and features into embeddings.

`load_encoder` makes an `Encoder` out of a name; `Projection` is the linear map from features to unit vectors.
torch and the model libraries are imported by the first call, not by importing this package.
"""

from geoindex.encoder.defaults import choose_encoder
from geoindex.encoder.encoder import Encoder
from geoindex.encoder.loading import load_encoder
from geoindex.encoder.opening import open_encoder
from geoindex.encoder.projection import Projection, fit_whitening

__all__ = ["Encoder", "Projection", "choose_encoder", "fit_whitening", "load_encoder", "open_encoder"]
