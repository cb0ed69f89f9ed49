"""Table 1: what the report says of given errors, and one whole table with an encoder that learns in a moment."""

import json
from dataclasses import replace

import numpy as np
import pytest

from geoindex.errors import ConfigError
from geoindex.evaluation import table1
from geoindex.evaluation.rivals import best_constant
from geoindex.evaluation.table1_report import Line, Table1
from geoindex.geo import haversine_km
from geoindex.pipeline import read_samples
from geoindex.recipe import EncoderRecipe, FineTuningRecipe, GeocellRecipe, Recipe, TrainingRecipe, paper_recipe
from geoindex.recipe_files import load_recipe
from geoindex.sources import open_source
from geoindex.sources.shuffled import ShuffledSource
from geoindex.splits import split_samples

LINES = (
    Line("human", "quoted", 1219.8),
    Line("plain", "paper", 208.6),
    Line("contrastive", "paper", 167.2, "plain"),
    Line("chance", "floor"),
    Line("constant", "floor"),
)
FIRST = {"encoder": "a ViT", "source": "somewhere", "train": 8, "test": 4}


def made(plain, contrastive, chance=5000.0, constant=4000.0, seeds=2):
    def around(km):
        return {f"photo{i}": km + 10.0 * (i % 5) for i in range(60)}

    run = {"plain": around(plain), "contrastive": around(contrastive)}
    run |= {"chance": around(chance), "constant": around(constant)}
    return Table1(LINES, [run] * seeds, [["photo0", "photo4"]] * seeds, {"first": FIRST})


def test_a_row_that_beats_both_floors_has_learned():
    table = made(plain=500.0, contrastive=400.0)
    assert table.learned(LINES[1])
    assert table.photo_means_km("plain") == [520.0, 520.0]
    assert "contrastive over plain: -100 km (-100 to -100), nearer in 2 of 2 seeds: it helps" in table.to_text()


@pytest.mark.parametrize(("chance", "constant"), [(5000.0, 490.0), (490.0, 4000.0)])
def test_a_row_that_is_behind_one_floor_has_not(chance, constant):
    table = made(500.0, 400.0, chance, constant)
    assert not table.learned(LINES[1])
    assert table.learned(LINES[2])
    assert "| plain | 208.6 | 520 ± 0 | 520 ± 0 | 520 ± 0 |" in table.to_text()
    assert table.to_text().count("not learned") == 2  # the row, and the note


def test_what_hurts_is_said_and_the_human_row_is_quoted():
    table = made(plain=400.0, contrastive=500.0)
    assert table.verdicts()[0].endswith("it hurts.")
    assert "| human | 1,219.8 | | | | | not measured here |" in table.to_text()


def test_positions_are_dealt_anew_inside_each_split_and_the_splits_stay():
    source = open_source("synthetic:400?seed=0&size=32")
    samples = source.scan().samples

    def split(of):
        return split_samples(of, by="block", ratio=(0.6, 0.2, 0.2), block_km=500.0, seed=0)

    before = split(samples)
    dealt = ShuffledSource(source, samples, before, 1).scan().samples
    assert dealt.ids == samples.ids
    assert dealt.images == samples.images
    np.testing.assert_array_equal(split(dealt), before)
    for part in ("train", "val", "test"):
        np.testing.assert_array_equal(np.sort(dealt.lat[before == part]), np.sort(samples.lat[before == part]))
    assert (dealt.lat == samples.lat).mean() < 0.05
    climate_of = dict(zip(samples.lat, samples.label("climate"), strict=True))
    assert [climate_of[lat] for lat in dealt.lat] == dealt.label("climate")


def test_the_constant_of_the_table_has_the_least_mean_distance():
    lat, lon = np.array([0.0, 0, 0, 0, 80]), np.array([0.0, 1, 60, 61, 170])
    point = best_constant(lat, lon, 0, np.negative)
    means = [haversine_km(a, b, lat, lon).mean() for a, b in zip(lat, lon, strict=True)]
    assert haversine_km(*point, lat, lon).mean() == min(means)


def test_the_recipe_file_holds_the_settings_of_the_paper():
    file = load_recipe("indexes/table1.toml")
    paper = paper_recipe(file.source)
    cells = replace(paper.geocells, source=file.source, max_positions=100_000)
    assert file == replace(paper, geocells=cells)
    assert load_recipe("indexes/table1-small.toml").training.method == "images"


@pytest.mark.parametrize(("key", "value"), [("seeds", 0), ("photos", 0), ("resnet_epochs", -1)])
def test_a_plan_needs_numbers_above_zero(key, value):
    with pytest.raises(ConfigError, match=key):
        table1.Table1Plan(**{key: value})


SPEC = "timm:vit_tiny_patch16_224/random?depth=2&img_size=32&patch_size=16&embed_dim=24&num_heads=2&seed=0"
RECIPE = Recipe(
    source="synthetic:240?seed=0&size=32",
    encoder=SPEC,
    encoding=EncoderRecipe(batch_size=64, device="cpu"),
    geocells=GeocellRecipe(n_cells=8),
    training=TrainingRecipe(method="images", epochs=1, places=16, images=2),
    finetuning=FineTuningRecipe(weights="all", lr=1e-3, dtype="float32"),
)
PLAN = table1.Table1Plan(photos=5, resnet="timm:test_resnet/random", resnet_epochs=1)


def test_every_row_answers_for_the_same_photos_and_a_second_run_only_reads(tmp_path, monkeypatch):
    monkeypatch.setattr(table1, "CONTRASTIVE", table1.CONTRASTIVE[:1])
    table = table1.run_table1(RECIPE, PLAN, tmp_path)
    measured = [line.name for line in table.lines if line.kind != "quoted"]
    assert set(table.runs[0]) == set(measured)
    test = {tuple(sorted(table.runs[0][name])) for name in measured}
    assert len(test) == 1
    samples, split, _ = read_samples(open_source(RECIPE.source), RECIPE)
    assert list(test.pop()) == sorted(np.array(samples.ids)[split == "test"])
    assert "timm" in table.settings["recipe"]["encoder"]
    table.write(tmp_path)
    assert {row["name"] for row in json.loads((tmp_path / "table1.json").read_text())["rows"]} > set(measured)
    assert (tmp_path / "table1.png").stat().st_size > 10_000

    def never(*_args):
        raise AssertionError("a row that is done was made again")

    monkeypatch.setattr(table1, "build_from", never)
    monkeypatch.setattr(table1, "regress", never)
    assert table1.run_table1(RECIPE, PLAN, tmp_path).to_text() == table.to_text()
    with pytest.raises(ConfigError, match="other settings"):
        table1.run_table1(replace(RECIPE, block_km=50.0), PLAN, tmp_path)


def test_features_have_no_table(tmp_path):
    with pytest.raises(ConfigError, match="needs images"):
        table1.run_table1(replace(RECIPE, source="planted:100?dim=8"), PLAN, tmp_path)


def test_a_baseline_without_weights_starts_from_random_ones_and_says_so(monkeypatch, caplog):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    encoder = table1._resnet(replace(PLAN, resnet="timm:resnet18.a1_in1k"), RECIPE)
    assert table1._resnet_name(encoder.spec) == "resnet18, random-init"
    assert encoder.image_size == 32
    assert "random weights" in caplog.text
    recipe = table1._resnet_recipe(RECIPE, PLAN, encoder.spec)
    assert recipe.finetuning.weights == "all"
    assert table1._resnet_recipe(RECIPE, PLAN, "timm:resnet152.a1_in1k").finetuning.weights == "last"
