"""On a device the ranking is that of the processor; here the device is the processor itself, with torch."""

import numpy as np
import pytest
import torch
from worlds import DIM, World, unit

from geoindex.search.device_ranker import DeviceRanker
from geoindex.search.posterior import Breadth, Ranker, Scales

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


def rankers(world, scales, device, inside=None):
    ranker = Ranker.of(world.ann, world.geography, scales, inside)
    return ranker, DeviceRanker.on(device, ranker)


def check_alike(own, wanted):
    assert sorted(own.clusters) == sorted(wanted.clusters)
    by_cluster = np.argsort(own.clusters), np.argsort(wanted.clusters)
    for name, tolerance in (("scores", 1e-5), ("probability", 1e-4)):
        np.testing.assert_allclose(
            getattr(own, name)[by_cluster[0]], getattr(wanted, name)[by_cluster[1]], atol=tolerance
        )
    assert (np.diff(own.probability) <= 0).all()
    assert own.posterior.probability.sum() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("scales", [Scales(), Scales(4.0, 9.0, True)])
@pytest.mark.parametrize("breadth", [Breadth(3), Breadth(50), Breadth(30, 0.5)])
def test_a_device_ranks_as_the_processor_does(device, scales, breadth):
    world = World(3, n_cells=30, n_clusters=200)
    own, device_own = rankers(world, scales, device)
    queries = unit(world.rng, 9, DIM)
    for mine, wanted in zip(device_own.rank(queries, breadth), own.rank(queries, breadth), strict=True):
        check_alike(mine, wanted)


@pytest.mark.parametrize("device", DEVICES)
def test_small_memory_and_company_change_nothing(device, monkeypatch):
    from geoindex.search import device_ranker

    world = World(4, n_cells=20, n_clusters=90)
    _, ranker = rankers(world, Scales(), device)
    queries = unit(world.rng, 11, DIM)
    together = ranker.rank(queries, Breadth(5))
    monkeypatch.setattr(device_ranker, "CHUNK_BYTES", 1)
    for one, query in zip(together, queries, strict=True):
        (alone,) = ranker.rank(torch.from_numpy(query[None]).to(device), Breadth(5))
        assert alone.clusters.tolist() == one.clusters.tolist()
    assert ranker.rank(queries[:0], Breadth(5)) == []


@pytest.mark.parametrize("device", DEVICES)
def test_what_has_no_photo_is_not_answered(device):
    world = World(5, n_cells=12, n_clusters=60)
    inside = world.rng.random(60) < 0.3
    own, device_own = rankers(world, Scales(), device, inside)
    queries = unit(world.rng, 5, DIM)
    for mine, wanted in zip(device_own.rank(queries, Breadth(12)), own.rank(queries, Breadth(12)), strict=True):
        assert inside[mine.clusters].all()
        check_alike(mine, wanted)
