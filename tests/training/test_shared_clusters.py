"""Clusters that two processes share out are learned, validated and saved as those that each has whole."""

import os
import socket
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import multiprocessing, nn

from geoindex.assembly.finetuning import finetune
from geoindex.encoder import load_encoder
from geoindex.pipeline import read_samples
from geoindex.recipe import EncoderRecipe, FineTuningRecipe, Recipe, TrainingRecipe
from geoindex.sources import open_source
from geoindex.training import fit as loop
from geoindex.training import objective as objectives
from geoindex.training import processes, sharding
from geoindex.training.classes import Classes, Truth
from geoindex.training.objective import Objective
from geoindex.training.sharding import ShardedGeoHead, clip_gradients, shard_starts, shards_of
from geoindex.training.tuned import read_heads

RECIPE = Recipe(
    source="synthetic:90?seed=0&size=32",
    encoder="timm:vit_tiny_patch16_224/random?depth=2&img_size=32&patch_size=16&embed_dim=24&num_heads=2&seed=0",
    encoding=EncoderRecipe(batch_size=32, device="cpu"),
    training=TrainingRecipe(method="images", epochs=2, patience=2, places=8, images=2),
    finetuning=FineTuningRecipe(weights="all", lr=1e-3, ema=0.9, dtype="float32"),
)
COUNT, DIM, CLUSTERS, CELLS = 9, 5, 40, 7

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="gloo over loopback is tested on Linux")


def problem():
    rng = np.random.default_rng(0)
    lat, lon = rng.uniform(-60, 60, CLUSTERS), rng.uniform(-170, 170, CLUSTERS)
    cell = np.sort(np.append(np.arange(CELLS), rng.integers(CELLS, size=CLUSTERS - CELLS)))
    rows = rng.standard_normal((CLUSTERS, DIM)).astype(np.float32)
    classes = Classes(lat[:CELLS], lon[:CELLS], lat, lon, cell, rows[:CELLS], rows)
    true = rng.integers(CLUSTERS, size=COUNT)
    embeddings = nn.functional.normalize(torch.tensor(rng.standard_normal((COUNT, DIM)), dtype=torch.float32))
    return classes, embeddings, Truth(lat[true], lon[true], cell[true], true)


def learned(objective, rows, *, all_to_one=None):
    """Take one clipped step and return the loss, the rows of clusters after it, and the best clusters of all images."""
    _, embeddings, truth = problem()
    optimiser = torch.optim.SGD(objective.parameters(), lr=0.5)
    own = embeddings[rows].clone().requires_grad_()
    loss = objective(own, truth.take(rows), np.random.default_rng(0))
    loss.backward()
    if all_to_one:
        all_to_one(objective)
    gradient = own.grad.clone()
    clip_gradients(objective, 0.05)
    optimiser.step()
    return loss.detach(), gradient, objective.geo_embeddings(), objective.most_probable(embeddings[rows])


def mean_of_shared(objective):
    """Do what DistributedDataParallel does with the weights that each process has whole."""
    shards = shards_of(objective)
    for name, weights in objective.named_parameters():
        if name not in shards and weights.grad is not None:
            torch.distributed.all_reduce(weights.grad)
            weights.grad /= processes.count()


def join(rank: int, port: int) -> None:
    os.environ |= {"LOCAL_RANK": str(rank), "RANK": str(rank), "WORLD_SIZE": "2"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}


def together(function, *arguments) -> None:
    """Run a function in two processes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    multiprocessing.spawn(function, (port, *arguments), nprocs=2)


def share(rank: int, port: int, folder: str) -> None:
    join(rank, port)
    sharding.WHOLE_BYTES = 0
    rows = np.array_split(np.arange(COUNT), 2)[rank]  # five and four
    with processes.joined(torch.device("cpu")):
        objective = Objective(problem()[0], TrainingRecipe(alpha=0.5))
        assert isinstance(objective.clusters, ShardedGeoHead)
        assert shards_of(objective) == ["clusters.rows"]
        assert 0 < len(objective.clusters.rows) < CLUSTERS
        torch.save(learned(objective, rows, all_to_one=mean_of_shared), Path(folder, f"{rank}.pt"))


def test_a_step_is_that_of_one_process(tmp_path):
    together(share, str(tmp_path))
    parts = [torch.load(tmp_path / f"{rank}.pt", weights_only=False) for rank in range(2)]
    objective = Objective(problem()[0], TrainingRecipe(alpha=0.5))
    before = objective.geo_embeddings()
    loss, gradient, (cells, clusters), best = learned(objective, np.arange(COUNT))
    assert sum(part[0] for part in parts).item() / 2 == pytest.approx(loss.item(), rel=1e-5)
    torch.testing.assert_close(torch.cat([part[1] for part in parts]) / 2, gradient, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(parts[0][2][0], cells, atol=1e-6)
    np.testing.assert_allclose(parts[0][2][1], clusters, atol=1e-6)
    assert np.abs(clusters - before[1]).max() > 1e-4  # it has learned
    np.testing.assert_array_equal(np.concatenate([part[3] for part in parts]), best)


def borrow(rank: int, port: int) -> None:
    """Compare a shared head with a whole one where each batch is told from a few clusters of its own."""
    join(rank, port)
    objectives.MAX_CLASSES, objectives.NEIGHBOURS = 6, 2
    rows = np.array_split(np.arange(COUNT), 2)[rank]
    classes, embeddings, truth = problem()
    with processes.joined(torch.device("cpu")):
        whole = Objective(classes, TrainingRecipe(alpha=0.0))
        sharding.WHOLE_BYTES = 0
        shared = Objective(classes, TrainingRecipe(alpha=0.0))
        losses = [each(embeddings[rows], truth.take(rows), np.random.default_rng(rank)) for each in (whole, shared)]
        for loss in losses:
            loss.backward()
        assert losses[0].item() == pytest.approx(losses[1].item(), rel=1e-6)
        mean_of_shared(whole)
        head = shared.clusters
        assert isinstance(head, ShardedGeoHead)
        assert (whole.clusters.rows.grad.abs().sum(dim=1) > 0).sum() < CLUSTERS
        torch.testing.assert_close(head.rows.grad, whole.clusters.rows.grad[head.first : head.last])


def test_processes_borrow_different_clusters():
    together(borrow)


class Killed(Exception):
    """Stands for a kill: nothing is saved on the way out."""


def fit(rank: int, port: int, folder: str, whole_bytes: int, steps: int) -> None:
    """Fit with a checkpoint after every step; die after some."""
    join(rank, port)
    sharding.WHOLE_BYTES = whole_bytes
    learn, left = loop.ImageFit._learn, steps

    def dying(self, read, batches):
        nonlocal left
        if left == 0:
            raise Killed
        left -= 1
        learn(self, read, batches)

    loop.ImageFit._learn = dying
    recipe = replace(RECIPE, finetuning=replace(RECIPE.finetuning, checkpoint_minutes=1e-9))
    source = open_source(recipe.source)
    samples, split, _ = read_samples(source, recipe)
    with suppress(Killed):
        finetune(source, samples, split, load_encoder(recipe.encoder, recipe.encoding), recipe, Path(folder))


@pytest.mark.slow
def test_a_fit_that_was_killed_ends_as_that_with_whole_clusters(tmp_path):
    together(fit, str(tmp_path / "whole"), 2**40, 1000)
    together(fit, str(tmp_path / "shared"), 0, 7)
    assert read_heads(tmp_path / "shared" / "encoder") is None
    assert list((tmp_path / "shared").glob("part-*-1.pt"))
    together(fit, str(tmp_path / "shared"), 0, 1000)
    whole, shared = (read_heads(tmp_path / name / "encoder") for name in ("whole", "shared"))
    assert not list((tmp_path / "whole").glob("part-*"))
    assert [row["epoch"] for row in shared.history] == [0, 1, 2]
    for ours, theirs in zip(whole.history[1:], shared.history[1:], strict=True):
        assert ours["loss"] == pytest.approx(theirs["loss"], rel=1e-4)
    np.testing.assert_allclose(shared.clusters, whole.clusters, atol=1e-3)
    assert np.abs(whole.clusters - shared.cells[0]).max() > 1e-3


@pytest.mark.parametrize("count", [1, 2, 3, 9])
def test_whole_cells_are_shared_out(count):
    cell = np.repeat([0, 1, 4, 5], [3, 1, 6, 2])
    starts = shard_starts(cell, count)
    assert (starts[0], starts[-1], len(starts)) == (0, 12, count + 1)
    assert np.all(np.diff(starts) >= 0)
    assert all(start in (0, 3, 4, 10, 12) for start in starts)
