"""The order in which a fit sees images: groups of neighbours, each image once an epoch."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]


def place_batches(cluster_of: Rows, places: int, images: int, seed: int, epoch: int) -> Iterator[Rows]:
    """Yield rows of batches of up to `places` groups of up to `images` images of one cluster (P x K).

    Every image comes once, and near pairs share a batch, as the contrastive loss needs. The order depends on seed and
    epoch alone, so a fit that goes on after a stop sees what an unbroken one would have seen.

    Args:
        cluster_of: cluster of each image, (N,).
        places: groups of a batch.
        images: images of a group.
        seed: of the order.
        epoch: another order each.
    """
    random = np.random.default_rng([seed, epoch])
    mixed = random.permutation(len(cluster_of))
    order = mixed[np.argsort(cluster_of[mixed], kind="stable")]
    clusters = cluster_of[order]
    rank = np.arange(len(order)) - np.searchsorted(clusters, clusters)  # of each image inside its cluster
    starts = np.flatnonzero(rank % images == 0)
    groups = np.split(order, starts[1:])
    shuffled = random.permutation(len(groups))
    for first in range(0, len(groups), places):
        yield np.concatenate([groups[group] for group in shuffled[first : first + places]])
