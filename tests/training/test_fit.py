"""The loop on images, with an encoder so small that an epoch takes a moment."""

import pickle
from dataclasses import replace
from math import nan

import numpy as np
import pytest
import torch

import geoindex
from geoindex.assembly import finetuning
from geoindex.encoder import load_encoder
from geoindex.errors import ConfigError, TrainingError
from geoindex.pipeline import read_samples
from geoindex.recipe import EncoderRecipe, FineTuningRecipe, Recipe, TrainingRecipe
from geoindex.sources import open_source
from geoindex.training import fit as loop
from geoindex.training.tuned import read_heads

SPEC = "timm:vit_tiny_patch16_224/random?depth=2&img_size=32&patch_size=16&embed_dim=24&num_heads=2&seed=0"
RECIPE = Recipe(
    source="synthetic:90?seed=0&size=32",
    encoder=SPEC,
    encoding=EncoderRecipe(batch_size=32, device="cpu"),
    training=TrainingRecipe(method="images", epochs=3, patience=3, places=8, images=2, projection_rate=1.0),
    finetuning=FineTuningRecipe(weights="all", lr=1e-3, ema=0.9, dtype="float32"),
)


def tune(folder, recipe=RECIPE):
    source = open_source(recipe.source)
    samples, split, _ = read_samples(source, recipe)
    return finetuning.finetune(source, samples, split, load_encoder(SPEC, recipe.encoding), recipe, folder)


def with_tuning(**keys):
    return replace(RECIPE, finetuning=replace(RECIPE.finetuning, **keys))


def facts(history):
    return [{key: row.get(key) or 0.0 for key in ("epoch", "loss", "median_km", "geoscore")} for row in history]


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    return tune(tmp_path_factory.mktemp("unbroken"))


class Killed(Exception):
    """Stands for a kill: nothing is saved on the way out."""


def test_the_best_epoch_is_kept(unbroken):
    heads = read_heads(unbroken)
    assert [row["epoch"] for row in heads.history] == [0, 1, 2, 3]
    scores = [row["geoscore"] for row in heads.history]
    assert heads.best_epoch == scores.index(max(scores))


def test_half_precision_is_validated_too(tmp_path):
    """The forward pass may be of bfloat16; what is compared with geo-embeddings is not."""
    recipe = replace(with_tuning(dtype="bfloat16"), training=replace(RECIPE.training, epochs=1))
    assert [row["epoch"] for row in read_heads(tune(tmp_path, recipe)).history] == [0, 1]


def test_a_fit_that_is_killed_ten_times_ends_as_the_unbroken_one(unbroken, tmp_path, monkeypatch):
    learn = loop.ImageFit._learn
    random = np.random.default_rng(0)
    left = 10

    def dying(self, read, batches):
        nonlocal left
        if left and random.random() < 0.35:
            left -= 1
            raise Killed
        learn(self, read, batches)

    monkeypatch.setattr(loop.ImageFit, "_learn", dying)
    recipe = with_tuning(checkpoint_minutes=1e-9)  # after every step
    for _ in range(60):
        try:
            folder = tune(tmp_path, recipe)
            break
        except Killed:
            continue
    assert left == 0
    broken, whole = read_heads(folder), read_heads(unbroken)
    for one, other in zip(facts(broken.history), facts(whole.history), strict=True):
        assert one == pytest.approx(other, rel=1e-6)
    np.testing.assert_allclose(broken.clusters, whole.clusters, atol=1e-6)
    np.testing.assert_array_equal(broken.cell_sites, whole.cell_sites)


def test_a_kill_between_checkpoints_costs_only_what_came_after_the_last(unbroken, tmp_path, monkeypatch):
    validate = loop.ImageFit.validate
    calls = 0

    def dying(self):
        nonlocal calls
        calls += 1
        if calls == 3:
            raise Killed
        return validate(self)

    monkeypatch.setattr(loop.ImageFit, "validate", dying)
    with pytest.raises(Killed):
        tune(tmp_path)
    found = read_heads(tune(tmp_path))
    for one, other in zip(facts(found.history), facts(read_heads(unbroken).history), strict=True):
        assert one == pytest.approx(other, rel=1e-6)


def test_asked_to_stop_it_saves_itself_and_goes_on(unbroken, tmp_path, monkeypatch):
    import os
    import signal

    learn = loop.ImageFit._learn

    def asked(self, read, batches):
        learn(self, read, batches)
        if self.position.step == 4:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(loop.ImageFit, "_learn", asked)
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as left:
        tune(tmp_path)
    assert left.value.code == 143
    assert signal.getsignal(signal.SIGTERM) is before
    monkeypatch.undo()
    found = read_heads(tune(tmp_path))
    assert facts(found.history)[3] == pytest.approx(facts(read_heads(unbroken).history)[3], rel=1e-6)


def test_the_journal_tells_each_epoch_once_and_is_drawn(unbroken):
    from geoindex.training.journal import read_metrics

    rows = [row for row in read_metrics(unbroken.parent) if "geoscore" in row]
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert (unbroken.parent / "curves.png").stat().st_size > 5000


def test_a_folder_of_another_fit_is_refused(unbroken):
    with pytest.raises(ConfigError, match="another recipe"):
        tune(unbroken.parent, with_tuning(lr=2e-3))


def test_the_result_loads_without_the_training_code_and_sees_the_same(unbroken):
    encoder = load_encoder(str(unbroken), EncoderRecipe(device="cpu"))
    source = open_source(RECIPE.source)
    images = [source.read(f"synthetic/0/{number}") for number in range(4)]
    features = encoder.encode(images)
    assert not np.allclose(features, load_encoder(SPEC, EncoderRecipe(device="cpu")).encode(images), atol=1e-3)
    again = load_encoder(str(unbroken), EncoderRecipe(device="cpu"))
    np.testing.assert_array_equal(again.encode(images), features)
    assert again.fingerprint == encoder.fingerprint


def test_an_index_of_a_fine_tuned_encoder_answers(tmp_path):
    report = geoindex.build_index(RECIPE, out=tmp_path / "index")
    index = geoindex.open_index(report.path)
    assert index.manifest.encoder["kept"]
    assert [row["epoch"] for row in index.manifest.training["finetuning"]["history"]] == [0, 1, 2, 3]
    assert not (report.path / "work").exists()
    answer = index.query_image(open_source(RECIPE.source).read("synthetic/0/3"))
    assert -90 <= answer.lat <= 90
    rebuilt = geoindex.rebuild_index(report.path, geocells={"n_cells": 3})  # other cells: fitted on features
    assert rebuilt.counts["cells"] == 3


def test_a_rebuild_can_take_a_fine_tuned_encoder_with_what_it_learned(unbroken, tmp_path):
    path = geoindex.build_index(RECIPE, out=tmp_path / "index", training={"method": "none"}).path
    geoindex.rebuild_index(path, encoder=str(unbroken), training={"method": "images", "epochs": 1})
    rebuilt, heads = geoindex.open_index(path, device="cpu").manifest, read_heads(unbroken)
    built = geoindex.build_index(
        RECIPE, out=tmp_path / "built", encoder=str(unbroken), training={"method": "images", "epochs": 1}
    )
    assert rebuilt.training["finetuning"]["history"] == heads.history
    assert rebuilt.training == geoindex.open_index(built.path, device="cpu").manifest.training
    assert rebuilt.encoder == geoindex.open_index(built.path, device="cpu").manifest.encoder


def test_a_fit_that_diverges_ends_with_its_epoch(tmp_path, monkeypatch):
    """Long before the step at which the journal is told."""
    monkeypatch.setattr(loop.ImageFit, "_loss", lambda self, read, random: self.learner.objective.cells.log_scale * nan)
    with pytest.raises(TrainingError, match=r"^The loss is NaN or infinite in epoch 1; lower training\.lr [^\n]+\.$"):
        tune(tmp_path)
    assert not (tmp_path / "encoder").exists()


@pytest.mark.parametrize("weights", ["frozen", "last", "lora"])
def test_what_does_not_learn_stays_as_it_was(weights, tmp_path):
    recipe = replace(with_tuning(weights=weights, blocks=1, rank=2, ema=0.0, lr=0.05))
    # nobody to validate on: the last epoch is kept
    recipe = replace(recipe, training=replace(recipe.training, epochs=2), split_ratio=(0.9, 0.0, 0.1))
    folder = tune(tmp_path, recipe)
    assert read_heads(folder).best_epoch == 2
    before = load_encoder(SPEC, RECIPE.encoding).module.state_dict()
    after = load_encoder(str(folder), RECIPE.encoding).module.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert before.keys() == after.keys()
    if read_heads(folder).best_epoch == 0 or weights == "frozen":
        assert not changed
    elif weights == "last":
        assert changed
        assert all(name.startswith(("blocks.1.", "norm.", "fc_norm.")) for name in changed)
    else:
        assert changed
        assert all(name.startswith("blocks.") and name.endswith("weight") for name in changed)


def test_labels_views_and_balance_run_together(tmp_path):
    recipe = with_tuning(auxiliary=("climate", "drive_side", "month"), views=2, balance="cell", accumulate=2)
    recipe = replace(recipe, training=replace(recipe.training, epochs=1, alpha=0.5))
    history = read_heads(tune(tmp_path, recipe)).history
    assert np.isfinite(history[1]["loss"])


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"auxiliary": ("land_cover",)}, "no image has the label 'land_cover'"),
        ({"auxiliary": ("mood",)}, "'mood' cannot be an auxiliary target"),
        ({"weights": "last", "blocks": 9}, "this encoder has 2 blocks"),
    ],
)
def test_what_cannot_be_learned_is_said_in_one_sentence(keys, words, tmp_path):
    with pytest.raises(ConfigError, match=f"(?i){words}"):
        tune(tmp_path, with_tuning(**keys))


def test_features_alone_teach_no_encoder(tmp_path):
    with pytest.raises(ConfigError, match=r"training\.method features"):
        geoindex.build_index("planted:60", out=tmp_path, training={"method": "images"})


def test_a_black_photo_is_a_photo_and_an_unreadable_one_is_told(tmp_path):
    from geoindex.training.pixels import KeptImages, PixelCache, Read, kept_images

    path = tmp_path / "pixels.npy"
    cache = PixelCache(path, 3, 4)
    pixels = torch.zeros(2, 3, 4, 4, dtype=torch.uint8)
    pixels[1] = 7
    cache.keep(Read(np.array([0, 2]), pixels, {1: "it is damaged"}))
    for each in (cache, PixelCache(path, 3, 4)):
        read = each.read(np.arange(3))
        assert read.rows.tolist() == [0, 2]
        assert read.failures == {1: "it is damaged"}
        assert read.pixels[1].unique().tolist() == [7]
    kept = kept_images(open_source("synthetic:3"), ["a", "b", "c"], path)
    assert len(pickle.dumps(kept)) < 1000
    assert isinstance(pickle.loads(pickle.dumps(kept)), KeptImages)
    assert kept.prepared("a").max() == 0
    assert kept.prepared("b") is None
