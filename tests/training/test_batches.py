import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from geoindex.training.batches import place_batches


@given(st.lists(st.integers(0, 9), min_size=1, max_size=60), st.integers(1, 5), st.integers(1, 5), st.integers(0, 3))
def test_every_image_comes_once_in_groups_of_one_cluster(clusters, places, images, epoch):
    cluster_of = np.array(clusters)
    batches = list(place_batches(cluster_of, places, images, seed=0, epoch=epoch))
    assert sorted(np.concatenate(batches)) == list(range(len(clusters)))
    for rows in batches:
        assert len(rows) <= places * images
        runs = np.split(cluster_of[rows], np.flatnonzero(np.diff(cluster_of[rows])) + 1)
        assert sum(-(-len(run) // images) for run in runs) <= places


def test_near_pairs_share_a_batch():
    cluster_of = np.repeat(np.arange(50), 4)
    for rows in place_batches(cluster_of, places=5, images=4, seed=0, epoch=0):
        assert np.unique(cluster_of[rows], return_counts=True)[1].tolist() == [4] * 5


def test_the_order_follows_from_seed_and_epoch():
    cluster_of = np.random.default_rng(0).integers(0, 20, 200)

    def order(seed, epoch):
        return np.concatenate(list(place_batches(cluster_of, 8, 3, seed, epoch))).tolist()

    assert order(1, 2) == order(1, 2)
    assert len({tuple(order(seed, epoch)) for seed in range(2) for epoch in range(3)}) == 6
