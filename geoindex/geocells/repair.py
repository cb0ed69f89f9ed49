"""A number of sites brought into a range: the widest cells are halved, the nearest sites are merged."""

import numpy as np
from numpy.typing import NDArray

from geoindex.geocells.positions import Floats, Rows, centroids, occupied_sites

HALVING_STEPS = 10
SPLIT_ROUNDS = 100
MOST_LINKED = 8_000
"""Sites that Ward's linkage sees, for its memory grows with their square; more are joined by k-means first."""


def into_range(xyz: Floats, site_xyz: Floats, min_sites: int, max_sites: int) -> Floats:
    """Merge or split sites until min_sites..max_sites of them each hold a position.

    Each site that is replaced gives way to centroids of its own positions, so a split never raises the sum of
    squared distances. There must be `min_sites` distinct positions; the result is deterministic.

    Args:
        xyz: positions as unit vectors, (N, 3).
        site_xyz: sites as unit vectors, (C, 3).
        min_sites: fewest sites to accept.
        max_sites: most sites to accept.
    """
    if len(site_xyz) > max_sites:
        site_xyz = _merged(xyz, site_xyz, max_sites)
    sites, cell, _ = occupied_sites(site_xyz, xyz)
    for _ in range(SPLIT_ROUNDS):
        if len(sites) >= min_sites:
            break
        halved = _halved(xyz, sites, cell, min_sites - len(sites))
        sites, cell, _ = occupied_sites(halved, xyz)
    return sites


def _merged(xyz: Floats, site_xyz: Floats, count: int) -> Floats:
    """Merge sites to exactly `count` groups, nearest first (Ward's linkage), and return the groups' centroids."""
    from scipy.cluster.hierarchy import linkage

    sites, cell, _ = occupied_sites(site_xyz, xyz)
    if len(sites) <= count:
        return sites
    if len(sites) > max(MOST_LINKED, count):
        sites, cell, _ = occupied_sites(_joined(sites, max(MOST_LINKED, count)), xyz)
    if len(sites) <= count:
        return sites
    tree = linkage(sites, "ward")
    group = np.arange(len(sites) + len(tree))
    for step in range(len(sites) - count):
        left, right = int(tree[step, 0]), int(tree[step, 1])
        group[(group == group[left]) | (group == group[right])] = len(sites) + step
    _, merged = np.unique(group[: len(sites)], return_inverse=True)
    return centroids(xyz, merged[cell].astype(np.int64), count)


def _joined(sites: Floats, count: int) -> Floats:
    from sklearn.cluster import MiniBatchKMeans

    centres = MiniBatchKMeans(count, random_state=0, n_init=1).fit(sites).cluster_centers_
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    _, first = np.unique(centres.round(12), axis=0, return_index=True)  # small batches leave some on one another
    return np.asarray(centres[np.sort(first)])


def _halved(xyz: Floats, sites: Floats, cell: Rows, count: int) -> Floats:
    """Halve the `count` cells with the largest sum of squared distances, where they hold two positions."""
    square = np.sum((xyz - sites[cell]) ** 2, axis=1)
    spread = np.bincount(cell, weights=square, minlength=len(sites))
    order = np.argsort(cell, kind="stable")
    starts = np.searchsorted(cell[order], np.arange(len(sites) + 1))
    halves: list[Floats] = []
    replaced = np.zeros(len(sites), bool)
    for row in np.argsort(-spread, kind="stable"):
        if len(halves) == count:
            break
        members = xyz[order[starts[row] : starts[row + 1]]]
        far = _farthest(members, members[0])
        if not np.array_equal(members[far], members[0]):
            halves.append(_two_means(members, far))
            replaced[row] = True
    return np.concatenate([sites[~replaced], *halves])


def _two_means(members: Floats, first: int) -> Floats:
    """Return two centroids, (2, 3), by Lloyd's steps from two positions far apart."""
    seeds = np.stack([members[first], members[_farthest(members, members[first])]])
    side = _side(members, seeds)
    for _ in range(HALVING_STEPS):
        moved = _side(members, centroids(members, side, 2))
        if np.array_equal(moved, side) or moved.min() == moved.max():
            break
        side = moved
    return centroids(members, side, 2)


def _side(members: Floats, pair: Floats) -> Rows:
    square: NDArray[np.float64] = np.sum((members[:, None, :] - pair[None, :, :]) ** 2, axis=2)
    return (square[:, 1] < square[:, 0]).astype(np.int64)


def _farthest(members: Floats, from_xyz: Floats) -> int:
    return int(np.argmax(np.sum((members - from_xyz) ** 2, axis=1)))
