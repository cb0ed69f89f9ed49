"""Two processes on one machine see the loss and the gradients of one large batch."""

import os
import socket
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import multiprocessing

from geoindex.recipe import TrainingRecipe
from geoindex.training import processes
from geoindex.training.classes import Classes, Truth
from geoindex.training.objective import Objective

COUNT, DIM = 9, 5


def problem():
    rng = np.random.default_rng(0)
    lat, lon = rng.uniform(-1, 1, COUNT), rng.uniform(-1, 1, COUNT)
    rows = rng.standard_normal((3, DIM)).astype(np.float32)
    classes = Classes(lat[:3], lon[:3], lat[:3], lon[:3], np.arange(3), rows, rows)
    objective = Objective(classes, TrainingRecipe(alpha=0.5))
    cell = np.arange(COUNT) % 3
    embeddings = torch.nn.functional.normalize(torch.tensor(rng.standard_normal((COUNT, DIM)), dtype=torch.float32))
    return objective, embeddings, Truth(lat, lon, cell, cell)


def share(rank: int, port: int, folder: str) -> None:
    os.environ |= {"LOCAL_RANK": str(rank), "RANK": str(rank), "WORLD_SIZE": "2"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    objective, embeddings, truth = problem()
    rows = np.array_split(np.arange(COUNT), 2)[rank]  # five and four
    with processes.joined(torch.device("cpu")):
        own = embeddings[rows].clone().requires_grad_()
        loss = objective(own, truth.take(rows), np.random.default_rng(0))
        loss.backward()
        assert processes.any_of(rank == 1, torch.device("cpu"))
        assert processes.gather_rows(rows).tolist() == list(range(COUNT))
        torch.save((loss.detach(), own.grad, objective.cells.rows.grad), Path(folder, f"{rank}.pt"))


@pytest.mark.skipif(sys.platform != "linux", reason="gloo over loopback is tested on Linux")
def test_two_processes_are_one_large_batch(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    multiprocessing.spawn(share, (port, str(tmp_path)), nprocs=2)
    parts = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    objective, embeddings, truth = problem()
    embeddings.requires_grad_()
    loss = objective(embeddings, truth, np.random.default_rng(0))
    loss.backward()
    # DDP takes the mean over processes
    assert sum(part[0] for part in parts).item() / 2 == pytest.approx(loss.item(), rel=1e-5)
    torch.testing.assert_close(torch.cat([part[1] for part in parts]) / 2, embeddings.grad, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close((parts[0][2] + parts[1][2]) / 2, objective.cells.rows.grad, rtol=1e-4, atol=1e-6)
