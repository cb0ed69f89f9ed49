"""A million clusters fit: the softmax is sampled, and validation takes a few images at a time."""

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from geoindex.recipe import TrainingRecipe
from geoindex.training import objective as module
from geoindex.training.classes import Classes, Truth
from geoindex.training.objective import Objective


def planted(clusters: int, cells: int, dim: int) -> tuple[Classes, np.ndarray]:
    random = np.random.default_rng(0)
    lat, lon = np.degrees(np.arcsin(random.uniform(-1, 1, clusters))), random.uniform(-180, 180, clusters)
    cell = np.sort(random.integers(cells, size=clusters))
    rows = random.standard_normal((clusters, dim), np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    cell_rows = random.standard_normal((cells, dim)).astype(np.float32)
    near = rows + 2.0 * cell_rows[cell] / np.linalg.norm(cell_rows[cell], axis=1, keepdims=True)
    return Classes(lat[:cells], lon[:cells], lat, lon, cell, cell_rows, near.astype(np.float32)), near


def test_validation_in_parts_answers_as_in_one(monkeypatch):
    classes, near = planted(300, 20, 16)
    objective, embeddings = Objective(classes, TrainingRecipe(places=4)), torch.from_numpy(near[:50])
    embeddings = normalize(embeddings.float(), dim=1)
    whole = objective.most_probable(embeddings)
    monkeypatch.setattr(module, "LOGITS_AT_ONCE", 7 * 300)
    np.testing.assert_array_equal(objective.most_probable(embeddings), whole)
    assert (whole == np.arange(50)).mean() > 0.9


@pytest.mark.slow
def test_a_million_clusters_take_a_step_and_are_validated():
    classes, near = planted(1_000_000, 10_000, 64)
    objective = Objective(classes, TrainingRecipe(places=16, images=4))
    optimiser = torch.optim.AdamW(objective.parameters(), lr=0.05)
    rows = np.random.default_rng(1).integers(1_000_000, size=64)
    truth = Truth(classes.lat[rows], classes.lon[rows], classes.cell[rows], rows)
    noise = 0.3 * np.random.default_rng(2).standard_normal((64, 64))
    embeddings = normalize(torch.from_numpy((near[rows] + noise).astype(np.float32)), dim=1)
    losses = []
    for step in range(3):
        optimiser.zero_grad(set_to_none=True)
        loss = objective(embeddings, truth, np.random.default_rng(step))
        loss.backward()
        touched = int((objective.clusters.rows.grad.abs().sum(dim=1) > 0).sum())
        assert 0 < touched <= module.MAX_CLASSES + 64 * (module.NEIGHBOURS + 1)
        optimiser.step()
        losses.append(loss.item())
    assert losses[2] < losses[0]
    assert objective.most_probable(embeddings).shape == (64,)
