"""What a build would take, against builds that took it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tiles import KEYS, TINY_ENCODER, snapshot

import geoindex
from geoindex.dry_run import plan_build
from geoindex.errors import ConfigError, DatasetNotFoundError, EncoderError
from geoindex.store import space

CODE = Path(geoindex.__file__).parents[1]
WITHOUT_FIT = {"training": {"method": "none"}}

BUILDS = [
    ("planted:700?dim=32", {}),
    ("planted:2000?dim=256", {}),
    ("planted:2000?dim=256", {"split_by": "none", "geocells": {"n_cells": 12}}),
    ("planted:4000?dim=96", {"encoding": {"projection": "whiten", "dim": 24}}),
    ("planted:2000?dim=64", {"clusters": {"levels": 2}}),
]


def size_of(path):
    return sum(size for size, _ in snapshot(path).values())


@pytest.mark.parametrize(("source", "keys"), BUILDS)
def test_an_index_is_as_large_as_planned(source, keys, tmp_path):
    planned = plan_build(source, tmp_path / "index", **keys, **WITHOUT_FIT)
    built = geoindex.build_index(source, out=tmp_path / "index", **keys, **WITHOUT_FIT)
    for name in ("images", "gallery", "val", "test"):
        assert planned.counts[name] == built.counts[name]
    assert sum(planned.bytes.values()) == pytest.approx(size_of(tmp_path / "index"), rel=0.3)
    assert planned.needed_bytes > size_of(tmp_path / "index")
    for name in ("cells", "clusters"):
        assert planned.counts[name] / 3 < built.counts[name] <= planned.most[name]


def test_an_index_that_keeps_its_encoder(world, built, tmp_path):
    planned = plan_build(world, tmp_path / "index", **KEYS)
    assert planned.encoder == {"spec": TINY_ENCODER, "kept": True}
    assert planned.feature_dim == 32
    assert {k: planned.counts[k] for k in ("images", "gallery")} == {k: built.counts[k] for k in ("images", "gallery")}
    encoder = size_of(next((built.path / "encoder").iterdir()))
    assert planned.bytes["encoder"] == pytest.approx(encoder, rel=0.2)
    assert sum(planned.bytes.values()) == pytest.approx(size_of(built.path), rel=0.3)


def test_weights_are_neither_loaded_nor_kept_where_the_name_stands_for_them(world, monkeypatch):
    def refused(*_):
        raise AssertionError

    monkeypatch.setattr("geoindex.encoder.loading.fetch_weights", refused)
    for spec, dim in (("auto", 512), ("timm:vit_tiny_patch16_224", 192)):
        planned = plan_build(world, encoder=spec)
        assert (planned.feature_dim, planned.encoder["kept"], planned.bytes["encoder"]) == (dim, False, 0)
    planned = plan_build(world, encoder="timm:vit_tiny_patch16_224", weights="nowhere.safetensors")
    assert planned.encoder["kept"]
    assert planned.bytes["encoder"] > 20e6


def test_an_encoder_in_a_folder(world, tiny_encoder, tmp_path):
    tiny_encoder.save(tmp_path / "encoder")
    planned = plan_build(world, encoder=str(tmp_path / "encoder"))
    assert (planned.feature_dim, planned.encoder["kept"]) == (32, True)


def test_fine_tuning_needs_more_room_meanwhile(world):
    plain, tuning = (plan_build(world, **KEYS, training={"method": m}) for m in ("none", "images"))
    assert tuning.work_bytes > plain.work_bytes + 96 * 3 * 16 * 16
    assert sum(tuning.bytes.values()) == sum(plain.bytes.values())
    uncached = plan_build(world, **KEYS, training={"method": "images"}, finetuning={"cache_gib": 0.0})
    assert uncached.work_bytes == tuning.work_bytes - 96 * 3 * 16 * 16


# not getrusage, which counts the process that started this one too
MEASURE = """
import sys, geoindex
from pathlib import Path
geoindex.build_index(sys.argv[1], out=sys.argv[2])
print(next(line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the system does not say what a process took at the most")
@pytest.mark.parametrize("source", ["planted:900?dim=32", "planted:3000?dim=256", "planted:20000?dim=128"])
def test_memory_is_about_as_planned(source, tmp_path):
    command = [sys.executable, "-c", MEASURE, source, str(tmp_path / "index")]
    ran = subprocess.run(command, cwd=CODE, capture_output=True, text=True, check=True)
    planned = plan_build(source, tmp_path / "index").memory_bytes
    assert planned == pytest.approx(1024 * int(ran.stdout.split()[-1]), rel=0.4)


def test_the_command_prints_the_plan_and_writes_nothing(world, tmp_path, run, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, _ = run("build", world, "--dry-run", "--encoder", TINY_ENCODER, "--out", tmp_path / "index")
    assert code == 0
    assert f"{tmp_path / 'index'}; nothing was written" in out
    assert "features of 32" in out
    assert ", enough\n" in out
    code, out, _ = run("build", "planted:50?dim=8", "--dry-run", "--format", "json")
    facts = json.loads(out)
    assert (code, facts["path"], facts["counts"]["images"]) == (0, "indexes/planted-50", 50)
    assert facts["bytes"].keys() >= {"images table", "gallery", "search index", "encoder"}
    assert list(tmp_path.iterdir()) == []


def test_a_plan_says_when_the_room_is_too_little(monkeypatch, tmp_path):
    monkeypatch.setattr(space.shutil, "disk_usage", lambda _: space.shutil._ntuple_diskusage(2, 1, 1))
    assert "1 B free, too little: the build would refuse to start" in plan_build("planted:50?dim=8").to_text()


def test_plans_of_what_cannot_be_built(world, tmp_path):
    with pytest.raises(DatasetNotFoundError):
        plan_build(tmp_path / "none")
    with pytest.raises(EncoderError):
        plan_build(world, encoder="timm:vit_tinny")
    with pytest.raises(ConfigError):
        plan_build("")
