import json
import os
import subprocess
import sys

import pytest
from terminal import TINY
from tiles import world_rows, write_world

RECIPE = """
source = "synthetic:90?seed=0&size=32"
encoder = "timm:vit_tiny_patch16_224/random?depth=1&img_size=32&patch_size=16&embed_dim=24&num_heads=2&seed=0"
[encoding]
device = "cpu"
[training]
method = "images"
epochs = 2
places = 8
images = 2
[finetuning]
weights = "all"
lr = 0.001
dtype = "float32"
augment = 0.0
"""


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "small.toml"
    path.write_text(RECIPE)
    return path


def test_an_encoder_is_trained_and_an_index_built_with_it(run, recipe, tmp_path):
    code, out, err = run("train", recipe, "--out", tmp_path / "fit", "--training.epochs", 1, "--format", "json")
    assert (code, err) == (0, "")
    report = json.loads(out)
    assert [row["epoch"] for row in report["history"]] == [0, 1]
    assert report["path"] == str(tmp_path / "fit" / "encoder")
    code, out, err = run("build", recipe, "--encoder", report["path"], "--out", tmp_path / "index")
    assert code == 0
    manifest = json.loads(next((tmp_path / "index" / "generations").glob("*/manifest.json")).read_text())
    assert [row["epoch"] for row in manifest["training"]["finetuning"]["history"]] == [0, 1]


def test_the_table_marks_the_epoch_that_was_kept(run, recipe, tmp_path):
    code, out, _ = run("train", recipe, "--out", tmp_path / "fit")
    assert code == 0
    assert sum(line.startswith("* ") and line[2:].split()[0].isdigit() for line in out.splitlines()) == 1
    again = run("train", recipe, "--out", tmp_path / "fit")  # finished: nothing is done twice
    assert again[1] == out


def test_photos_that_cannot_be_read_are_told_as_a_build_tells_them(run, tmp_path):
    rows = world_rows(per_hub=4)
    table = write_world(tmp_path / "world", rows)
    (tmp_path / "world" / rows[0][0]).write_bytes(b"no photo")
    flags = ["--out", tmp_path / "fit", *TINY, "--split-by", "none", "--training.epochs", 1, "--finetuning.weights"]
    code, out, _ = run("train", table, *flags, "all", "--finetuning.workers", 0, "--format", "json")
    assert code == 3
    assert json.loads(out)["failed"] == 1
    code, out, _ = run("train", table, *flags, "all", "--finetuning.workers", 0)
    assert code == 3
    assert rows[0][0] in next(line for line in out.splitlines() if line.startswith("left out 1: "))


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["/no/such/folder"], 1, "/no/such/folder"),
        (["planted:60"], 2, "training.method features"),
        (["synthetic:90?size=32", "--finetuning.lr", "0"], 2, "finetuning.lr"),
    ],
)
def test_what_cannot_be_trained_is_one_sentence(run, tmp_path, arguments, code, words):
    found, out, err = run("train", *arguments, "--out", tmp_path / "fit", "--encoder", RECIPE.split('"')[3])
    assert (found, out) == (code, "")
    assert words in err
    assert len(err.strip().splitlines()) == 1


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="gloo over loopback is tested on Linux")
def test_two_processes_train_as_one_does(run, recipe, tmp_path):
    _, alone, _ = run("train", recipe, "--out", tmp_path / "one", "--format", "json")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "geoindex"]
    command += ["train", str(recipe), "--out", str(tmp_path / "two"), "--format", "json"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    for one, two in zip(json.loads(alone)["history"], json.loads(done.stdout)["history"], strict=True):
        assert (one["loss"] or 0.0) == pytest.approx(two["loss"] or 0.0, rel=1e-4)
        assert one["geoscore"] == pytest.approx(two["geoscore"], rel=0.02)
