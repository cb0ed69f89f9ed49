"""The fit on stored features, on features that tell where an image is only in a part of their dimensions."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from geoindex import geo
from geoindex.encoder.projection import Projection
from geoindex.errors import TrainingError
from geoindex.recipe import TrainingRecipe
from geoindex.training import objective
from geoindex.training.classes import Classes, Truth
from geoindex.training.features import LabelledFeatures, Start, fit_features

DIM, NOISE = 6, 10
QUICK = TrainingRecipe(
    method="features", epochs=12, patience=12, lr=0.01, projection_rate=1.0, places=8, images=4,
    cell_tau_km=100.0, cluster_tau_km=100.0,
)  # fmt: skip

towns = np.random.default_rng(0).standard_normal((12, 3))
LAT, LON = geo.from_unit(towns)
CELL = np.arange(12) // 3
SIGNAL = np.random.default_rng(1).standard_normal((12, DIM))


def photos(count: int, seed: int) -> LabelledFeatures:
    rng = np.random.default_rng(seed)
    cluster = rng.integers(0, 12, count)
    told = SIGNAL[cluster] + 0.3 * rng.standard_normal((count, DIM))
    features = np.hstack([told, 2.5 * rng.standard_normal((count, NOISE))]).astype(np.float16)
    lat, lon = geo.destination(LAT[cluster], LON[cluster], rng.uniform(0, 360, count), rng.uniform(0, 20, count))
    return LabelledFeatures(features, Truth(lat, lon, CELL[cluster], cluster))


def prototypes(data: LabelledFeatures, group: np.ndarray, count: int) -> np.ndarray:
    embeddings = Projection.identity(DIM + NOISE).apply(data.features.astype(np.float32))
    rows = np.stack([embeddings[group == g].mean(axis=0) for g in range(count)])
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def classes(data: LabelledFeatures) -> Classes:
    cell_lat, cell_lon = geo.group_means(LAT, LON, CELL, 4)
    rows = prototypes(data, data.truth.cell, 4), prototypes(data, data.truth.cluster, 12)
    return Classes(cell_lat, cell_lon, LAT, LON, CELL, *rows)


def fit(recipe: TrainingRecipe = QUICK, validation: LabelledFeatures | None = None, seed: int = 0):
    gallery = photos(400, 2)
    held_out = photos(200, 3) if validation is None else validation
    return fit_features(gallery, held_out, [Start(classes(gallery), Projection.identity(DIM + NOISE))], recipe, seed)


@pytest.fixture(scope="module")
def trained():
    return fit()


def answers(found, data: LabelledFeatures) -> np.ndarray:
    return np.argmax(found.projection.apply(data.features.astype(np.float32)) @ found.clusters.T, axis=1)


def test_what_is_learned_is_better_than_prototypes_on_images_that_nobody_saw(trained):
    test = photos(500, 4)
    before = prototypes(photos(400, 2), photos(400, 2).truth.cluster, 12)
    start = Projection.identity(DIM + NOISE).apply(test.features.astype(np.float32))
    assert np.mean(np.argmax(start @ before.T, axis=1) == test.truth.cluster) < 0.5
    assert np.mean(answers(trained, test) == test.truth.cluster) > 0.8


def test_the_history_begins_with_the_prototypes_and_names_the_best_epoch(trained):
    assert [row["epoch"] for row in trained.history] == list(range(len(trained.history)))
    assert trained.history[0]["loss"] is None
    scores = [row["geoscore"] for row in trained.history]
    assert scores.index(max(scores)) == trained.best_epoch > 0
    assert trained.history[-1]["loss"] < trained.history[1]["loss"]


def test_what_is_kept_is_the_best_epoch(trained):
    held_out = photos(200, 3)
    again = fit_features(
        photos(400, 2), held_out,
        [Start(Classes(*geo.group_means(LAT, LON, CELL, 4), LAT, LON, CELL, trained.cells, trained.clusters),
               trained.projection)],
        TrainingRecipe(method="features", epochs=1), 0,
    )  # fmt: skip
    # scales start anew, so the posterior is not the very same
    assert again.history[0]["geoscore"] == pytest.approx(trained.history[trained.best_epoch]["geoscore"], rel=0.1)
    assert again.history[0]["geoscore"] > 2.0 * trained.history[0]["geoscore"]


def test_geo_embeddings_are_unit_vectors(trained):
    for rows in (trained.cells, trained.clusters):
        assert rows.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1.0, atol=1e-5)


def test_a_fit_that_never_gets_better_keeps_the_prototypes():
    hopeless = TrainingRecipe(method="features", epochs=5, patience=2, lr=50.0, projection_rate=1.0, clip=1e9)
    found = fit(hopeless)
    gallery = photos(400, 2)
    assert found.best_epoch == 0
    assert len(found.history) == 3
    np.testing.assert_allclose(found.clusters, prototypes(gallery, gallery.truth.cluster, 12), atol=1e-5)
    np.testing.assert_array_equal(found.projection.matrix, np.eye(DIM + NOISE, dtype=np.float32))


def test_without_validation_the_last_epoch_is_kept():
    nobody = LabelledFeatures(
        np.empty((0, DIM + NOISE), np.float16), Truth(*[np.empty(0)] * 2, *[np.empty(0, int)] * 2)
    )
    found = fit(TrainingRecipe(method="features", epochs=3), nobody)
    assert found.best_epoch == 3
    assert found.history[3]["geoscore"] is None


def test_the_same_seed_gives_the_same_fit(trained):
    np.testing.assert_array_equal(fit().clusters, trained.clusters)
    assert not np.array_equal(fit(seed=1).clusters, trained.clusters)


def test_many_clusters_are_told_from_a_sample(trained, monkeypatch):
    monkeypatch.setattr(objective, "MAX_CLASSES", 4)
    monkeypatch.setattr(objective, "NEIGHBOURS", 2)
    found = fit()
    test = photos(500, 4)
    assert not np.array_equal(found.clusters, trained.clusters)
    assert np.mean(answers(found, test) == test.truth.cluster) > 0.8


def test_levels_that_differ_by_distance_have_taus_of_their_own():
    plain = TrainingRecipe(method="features")
    job = objective.Objective(classes(photos(400, 2)), plain)
    km = geo.haversine_km(LAT[:, None], LON[:, None], LAT[None], LON[None])
    np.fill_diagonal(km, np.inf)
    assert job.cluster_tau_km == pytest.approx(np.median(km.min(axis=1)), rel=1e-6)
    assert job.cell_tau_km != job.cluster_tau_km


def test_distances_are_right_from_centimetres_to_the_other_side():
    lat, lon = torch.tensor([0.0, 0.0, 0.0, 90.0]), torch.tensor([0.0, 1e-6, 180.0, 0.0])
    here, there = geo.to_unit(lat.numpy(), lon.numpy()), geo.to_unit(np.zeros(1), np.zeros(1))
    found = objective.distances_km(torch.from_numpy(here), torch.from_numpy(there))
    expected = geo.haversine_km(lat.numpy(), lon.numpy(), 0.0, 0.0)
    np.testing.assert_allclose(found[:, 0].numpy(), expected, rtol=1e-5, atol=1e-7)


def test_of_several_starts_the_best_on_validation_is_taken_with_its_projection():
    gallery, held_out = photos(400, 2), photos(200, 3)
    signal = np.eye(DIM + NOISE, dtype=np.float32)
    signal[DIM:] = 0.0  # a projection that leaves the noise out
    told = Projection(np.zeros(DIM + NOISE, np.float32), signal)
    embeddings = told.apply(gallery.features.astype(np.float32))

    def rows(group: np.ndarray, count: int) -> np.ndarray:
        return np.stack([embeddings[group == g].mean(axis=0) for g in range(count)])

    plain = Start(classes(gallery), Projection.identity(DIM + NOISE))
    better = classes(gallery)
    better = replace(better, cell_rows=rows(gallery.truth.cell, 4), cluster_rows=rows(gallery.truth.cluster, 12))
    recipe = replace(QUICK, epochs=1, lr=1e-9)
    for starts in ([plain, Start(better, told)], [Start(better, told), plain]):
        found = fit_features(gallery, held_out, starts, recipe, 0)
        np.testing.assert_allclose(found.projection.matrix, signal, atol=1e-6)
    alone = fit_features(gallery, held_out, [plain], recipe, 0)
    assert found.history[0]["geoscore"] > alone.history[0]["geoscore"]


@pytest.mark.parametrize("validation", [None, photos(0, 3)])
def test_a_fit_that_diverges_is_told_in_one_sentence(validation):
    """Also where nothing validates it, and the last epoch would be kept."""
    wild = replace(QUICK, lr=1e30, clip=1e30)
    with pytest.raises(TrainingError, match=r"^The (loss|weights) (is|are) NaN or infinite .*; lower training\.lr .*"):
        fit(wild, validation)


def test_weights_that_the_last_step_breaks_are_not_kept(monkeypatch):
    """The loss is that from before the step."""
    once = replace(QUICK, epochs=1, places=12, images=400)
    step = torch.optim.AdamW.step

    def breaking(self, *args):
        step(self, *args)
        self.param_groups[0]["params"][0].data.fill_(float("nan"))

    monkeypatch.setattr(torch.optim.AdamW, "step", breaking)
    with pytest.raises(TrainingError, match=r"^The weights are NaN or infinite after epoch 1"):
        fit(once, photos(0, 3))
