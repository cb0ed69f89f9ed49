"""OPTICS on the sphere: positions become an ordering, and a cut of it becomes labels (paper section 3.3).

The ordering is that of scikit-learn's OPTICS on unit vectors (Minkowski metric, p = 2), bit for bit, in a time that
grows little faster than N instead of N squared.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from geoindex import geo
from geoindex.errors import ConfigError
from geoindex.geocells.positions import Floats, Rows, checked_positions

LEAF_SITES = 8
"""Sites of a leaf of the tree that the walk searches, up to twice as many."""

THREADS_FROM = 2_000
"""Sites from which their nearest ones are looked for by several threads."""

ALL_CHORDS = 3.0
"""More than any distance between unit vectors."""


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

    The walk starts at the first row, and ties go to the lowest row.

    Args:
        lat: latitudes in degrees, (N,).
        lon: longitudes in degrees, (N,).
        min_samples: neighbourhood size, the position itself counted; 2 or more.
        max_eps_km: neighbours farther than this are not looked at.

    Raises:
        CoordinateError: if a position is not on Earth.
        ConfigError: if `min_samples` is under 2 or `max_eps_km` is not positive.
    """
    return Ground(*checked_positions(lat, lon), (min_samples,)).walk(min_samples, max_eps_km)


class Ground:
    """Positions made ready for several walks: each place once, a tree of boxes, core distances."""

    def __init__(self, lat: Floats, lon: Floats, min_samples: Sequence[int]) -> None:
        """Take positions as from `checked_positions` and the neighbourhood sizes that will be asked for.

        Raises:
            ConfigError: if a neighbourhood size is under 2.
        """
        least = min(min_samples)
        if least < 2:
            raise ConfigError(f"OPTICS with min_samples {least} has no neighbours to look at; use 2 or more.")
        self.count = len(lat)
        if self.count < least:
            return  # nothing has so many neighbours
        _, first, place = np.unique(lat + 1j * lon, return_index=True, return_inverse=True)
        inside, self._nodes = _tree(xyz := geo.to_unit(lat[first], lon[first]))
        at = np.empty(len(inside), np.int64)
        at[inside] = np.arange(len(inside))
        self._site_of = at[place]
        self._rows = np.argsort(self._site_of, kind="stable")
        copies = np.bincount(self._site_of)
        self._sites = _sites(xyz[inside], copies, self._nodes)
        self._core = _core_chords(self._sites, self._nodes, min_samples)

    def walk(self, min_samples: int, max_eps_km: float = np.inf) -> Ordering:
        """Order the positions as `optics` does.

        Raises:
            ConfigError: if `max_eps_km` is not positive.
        """
        if not max_eps_km > 0:
            raise ConfigError(f"OPTICS with max_eps_km {max_eps_km} reaches nothing; use a positive distance.")
        if self.count < min_samples:
            return _unordered(self.count, min_samples)
        from geoindex.geocells._walk import walk

        max_chord = float(geo.km_to_chord(max_eps_km)) if max_eps_km < geo.HALF_CIRCUMFERENCE_KM else ALL_CHORDS
        sites = self._sites.copy()
        sites["core"] = np.where(self._core[min_samples] > max_chord, np.inf, self._core[min_samples])
        ordering, reach, predecessor = walk(sites, self._nodes.copy(), self._rows, self._site_of, max_chord)
        return Ordering(ordering, _km(reach), _km(sites["core"])[self._site_of], predecessor, min_samples)


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


def _tree(xyz: Floats) -> tuple[Rows, NDArray[np.void]]:
    """Return the order of places in the leaves of a tree of boxes around them, (S,), and its nodes."""
    from sklearn.neighbors import KDTree

    from geoindex.geocells._walk import NODE

    _, inside, spans, (low, high) = KDTree(xyz, leaf_size=LEAF_SITES).get_arrays()
    nodes = np.empty(len(spans), NODE)
    for axis, name in enumerate("xyz"):
        nodes[f"{name}0"], nodes[f"{name}1"] = low[:, axis], high[:, axis]
    nodes["start"], nodes["stop"], nodes["most"] = spans["idx_start"], spans["idx_end"], np.inf
    return np.array(inside, np.int64), nodes


def _sites(xyz: Floats, copies: Rows, nodes: NDArray[np.void]) -> NDArray[np.void]:
    """Return places as the walk finds them at its start, (S,), in the order of the leaves."""
    from geoindex.geocells._walk import SITE

    sites = np.empty(len(xyz), SITE)
    sites["x"], sites["y"], sites["z"] = xyz.T
    leaves = np.arange(len(nodes) // 2, len(nodes))
    sites["leaf"] = np.repeat(leaves, (nodes["stop"] - nodes["start"])[leaves])
    sites["reach"], sites["source"], sites["turn"] = np.inf, -1, -1
    sites["end"] = np.cumsum(copies)
    sites["first"] = sites["next"] = sites["end"] - copies
    return sites


def _core_chords(sites: NDArray[np.void], nodes: NDArray[np.void], min_samples: Sequence[int]) -> dict[int, Floats]:
    """Return for each neighbourhood size the chord to the nearest sites that hold as many positions, (S,) each."""
    from joblib import cpu_count

    from geoindex.geocells._cores import core_squares

    sizes = sorted(set(min_samples))
    core = np.empty((len(sizes), len(sites)))
    jobs = cpu_count() if len(sites) >= THREADS_FROM else 1
    ends = np.linspace(0, len(sites), jobs + 1).astype(np.int64)
    with ThreadPoolExecutor(jobs) as threads:  # joblib's take 10 ms to start
        parts = pairwise(ends.tolist())
        done = [threads.submit(core_squares, sites, nodes, np.array(sizes), *part, core) for part in parts]
    for part in done:
        part.result()
    return dict(zip(sizes, np.around(np.sqrt(core), decimals=15), strict=True))


def _km(chords: Floats) -> Floats:
    return np.where(np.isinf(chords), np.inf, geo.chord_to_km(chords))


def _unordered(count: int, min_samples: int) -> Ordering:
    rows, never = np.arange(count, dtype=np.int64), np.full(count, np.inf)
    return Ordering(rows, never, never.copy(), np.full(count, -1, np.int64), min_samples)
