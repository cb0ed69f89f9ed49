"""HDBSCAN on the sphere by the fast_hdbscan library: another way to find clusters of positions."""

import numpy as np

from geoindex.errors import MissingExtraError
from geoindex.geocells.positions import Floats, Rows


def hdbscan_labels(xyz: Floats, min_samples: int) -> Rows:
    """Return the label of each position, (N,), -1 for outliers (Campello et al. 2013, excess of mass).

    Chords between unit vectors grow with distances on the sphere, so the clusters are those of haversine.

    Args:
        xyz: unit vectors, (N, 3).
        min_samples: neighbourhood size, and fewest positions of a cluster; 2 or more.

    Raises:
        MissingExtraError: if the library is not installed.
    """
    try:
        from fast_hdbscan import HDBSCAN
    except ImportError:
        raise MissingExtraError(
            "Geocells of method 'hdbscan' need fast_hdbscan; install it with: pip install 'geoindex[hdbscan]'."
        ) from None
    if len(xyz) <= min_samples:
        return np.full(len(xyz), -1, np.int64)
    return np.asarray(HDBSCAN(min_samples=min_samples, min_cluster_size=min_samples).fit_predict(xyz), np.int64)
