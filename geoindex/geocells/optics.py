"""OPTICS on the sphere: positions become an ordering, and a cut of it becomes labels (paper section 3.3).

The ordering is that of scikit-learn's OPTICS on unit vectors (Minkowski metric, p = 2), in a hundredth of the time.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from geoindex import geo
from geoindex.errors import ConfigError
from geoindex.geocells.positions import Floats, Rows, checked_positions


@dataclass(frozen=True, slots=True)
class Ordering:
    """What OPTICS finds; all but `ordering` are in the order of the input.

    Attributes:
        ordering: rows in the order of the walk, (N,).
        reachability_km: distance at which a position joins the walk, (N,); inf where a walk starts.
        core_distance_km: distance to the `min_samples`-th nearest position, itself counted, (N,); inf if farther
            than the limit or if there are fewer positions.
        predecessor: row from which a position was reached, (N,); -1 where a walk starts.
        min_samples: the neighbourhood size that was asked for.
    """

    ordering: Rows
    reachability_km: Floats
    core_distance_km: Floats
    predecessor: Rows
    min_samples: int


def optics(lat: ArrayLike, lon: ArrayLike, min_samples: int, max_eps_km: float = np.inf) -> Ordering:
    """Order positions by density (Ankerst et al. 1999), exactly, in float64.

    The walk starts at the first row, and ties go to the lowest row. Time grows with the square of N.

    Args:
        lat: latitudes in degrees, (N,).
        lon: longitudes in degrees, (N,).
        min_samples: neighbourhood size, the position itself counted; 2 or more.
        max_eps_km: neighbours farther than this are not looked at.

    Raises:
        CoordinateError: if a position is not on Earth.
        ConfigError: if `min_samples` is under 2 or `max_eps_km` is not positive.
    """
    if min_samples < 2:
        raise ConfigError(f"OPTICS with min_samples {min_samples} has no neighbours to look at; use 2 or more.")
    if not max_eps_km > 0:
        raise ConfigError(f"OPTICS with max_eps_km {max_eps_km} reaches nothing; use a positive distance.")
    xyz = geo.to_unit(*checked_positions(lat, lon))
    max_chord = float(geo.km_to_chord(max_eps_km)) if max_eps_km < geo.HALF_CIRCUMFERENCE_KM else np.inf
    core = _core_chords(xyz, min_samples, max_chord)
    if np.isinf(core).all():
        return _unordered(len(xyz), min_samples)
    from geoindex.geocells._prim import walk

    ordering, reach, predecessor = walk(xyz, core, max_chord)
    return Ordering(ordering, _km(reach), _km(core), predecessor, min_samples)


def xi_labels(ordering: Ordering, xi: float, min_cluster_size: int) -> Rows:
    """Cut an ordering where its reachability is steep.

    Args:
        ordering: from `optics`.
        xi: least relative step in reachability that bounds a cluster, between 0 and 1.
        min_cluster_size: fewest positions of a cluster; 2 or more.

    Returns:
        Label of each position, (N,): 0, 1, ... in the order of the walk, -1 for outliers. Of nested clusters the
        innermost count.
    """
    count = len(ordering.ordering)
    if count < max(ordering.min_samples, min_cluster_size) or np.isinf(ordering.reachability_km).all():
        return np.full(count, -1, np.int64)
    from sklearn.cluster import cluster_optics_xi

    with np.errstate(divide="ignore"):  # equal positions are reached at 0 km
        labels, _ = cluster_optics_xi(
            reachability=ordering.reachability_km,
            predecessor=ordering.predecessor,
            ordering=ordering.ordering,
            min_samples=ordering.min_samples,
            min_cluster_size=min_cluster_size,
            xi=xi,
        )
    return np.asarray(labels, np.int64)


def _core_chords(xyz: Floats, min_samples: int, max_chord: float) -> Floats:
    from scipy.spatial import KDTree

    if len(xyz) < min_samples:
        return np.full(len(xyz), np.inf)
    chords = KDTree(xyz).query(xyz, k=[min_samples])[0][:, 0]
    chords[chords > max_chord] = np.inf
    return np.asarray(np.around(chords, decimals=15))


def _km(chords: Floats) -> Floats:
    return np.where(np.isinf(chords), np.inf, geo.chord_to_km(chords))


def _unordered(count: int, min_samples: int) -> Ordering:
    rows, never = np.arange(count, dtype=np.int64), np.full(count, np.inf)
    return Ordering(rows, never, never.copy(), np.full(count, -1, np.int64), min_samples)
