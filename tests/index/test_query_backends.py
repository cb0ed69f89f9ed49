"""Queries on other backends than torch: the same answers, without torch in the process, and nothing that travels."""

import logging
import multiprocessing
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tiles import HUBS, PHOTOS, error_km, save_tile

import geoindex
from geoindex.encoder import backends
from geoindex.errors import ConfigError, ForkError
from geoindex.integrity import verify_index
from geoindex.pipeline import keep_encoder
from geoindex.store.generations import IndexFolder
from geoindex.store.history import collect

pytest.importorskip("openvino")
pytest.importorskip("onnxruntime")
spawn = multiprocessing.get_context("spawn")

QUERY = """
import sys
from geoindex.cli import main

code = main(sys.argv[1:])
sys.exit(code or (7 if 'torch' in sys.modules else 0))
"""


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def exports(path):
    return sorted(str(p.relative_to(path / "encoder")).partition("/")[2] for p in path.rglob("export.json"))


def fingerprint(path):
    return IndexFolder(path).current().manifest.encoder["fingerprint"]


def query(*arguments):
    """Query in a process of its own; exit code 7 tells that torch was imported."""
    return subprocess.run(
        [sys.executable, "-c", QUERY, "query", *map(str, arguments)], check=False, text=True, capture_output=True,
        cwd=Path(__file__).parents[2],
    )  # fmt: skip


@pytest.mark.parametrize("backend", ["openvino", "onnx"])
def test_the_same_answers(index, index_folder, backend):
    found = geoindex.open_index(index_folder, device="cpu", backend=backend)
    for photo, hub in zip(PHOTOS, HUBS.values(), strict=True):
        answer, right = found.query_image(photo), index.query_image(photo)
        assert error_km(answer, hub) < 500
        assert (answer.lat, answer.lon) == pytest.approx((right.lat, right.lon), abs=1e-3)
        assert answer.encoder == right.encoder
        assert [e.id for e in answer.evidence[:1]] == [e.id for e in right.evidence[:1]]
    assert exports(index_folder) == [f".{backend}/export.json"]
    assert len(list(found.query_images(PHOTOS))) == len(PHOTOS)


@pytest.mark.parametrize("name", ["openvino", "onnx"])
def test_a_cold_query_does_not_import_torch(index_folder, photo, name):
    first = query(photo, "--index", index_folder, "--format", "jsonl", "--backend", name)
    assert first.returncode == 7, first.stderr  # exported by torch
    [line] = first.stderr.splitlines()  # the libraries keep their peace
    assert line.startswith("geoindex: Exporting encoder")
    for backend in (name, "auto") if name == "openvino" else (name,):
        again = query(photo, "--index", index_folder, "--format", "jsonl", "--backend", backend)
        assert again.returncode == 0, again.stderr
        assert again.stderr == ""
        assert again.stdout.partition('"timings_ms"')[0] == first.stdout.partition('"timings_ms"')[0]


def test_it_is_exported_once_by_many_threads(index_folder, caplog):
    from concurrent.futures import ThreadPoolExecutor

    found = geoindex.open_index(index_folder, device="cpu", backend="openvino")
    with caplog.at_level(logging.WARNING), ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(found.query_image, PHOTOS[:4]))
    assert caplog.text.count("Exporting encoder") == 1
    assert all(error_km(answer, hub) < 500 for answer, hub in zip(answers, HUBS.values(), strict=False))


def test_exports_neither_travel_nor_disturb(index_folder, tmp_path):
    bare = geoindex.clone_index(index_folder, tmp_path / "bare")
    geoindex.open_index(index_folder, device="cpu", backend="openvino").query_image(PHOTOS[0])
    assert exports(index_folder) == [".openvino/export.json"]
    assert verify_index(index_folder, full=True).faults == ()
    clone = geoindex.clone_index(index_folder, tmp_path / "clone")
    assert clone.bytes == bare.bytes
    geoindex.export_index(index_folder, tmp_path / "archive.tar")
    geoindex.import_index(tmp_path / "archive.tar", tmp_path / "imported")
    for path in (tmp_path / "clone", tmp_path / "imported"):
        assert exports(path) == []
        assert geoindex.open_index(path, device="cpu").query_image(PHOTOS[0]).lat


def test_exports_go_with_the_encoder_that_they_are_of(index_folder):
    geoindex.open_index(index_folder, device="cpu", backend="openvino").query_image(PHOTOS[0])
    collect(index_folder, keep=1, grace_hours=0.0)
    assert exports(index_folder) == [".openvino/export.json"]
    other = index_folder / "encoder" / ("0" * 64) / ".openvino"
    other.mkdir(parents=True)
    collect(index_folder, keep=1, grace_hours=0.0)
    assert not other.parent.exists()


def test_an_encoder_is_kept_beside_an_export_that_was_there_first(index_folder, tiny_encoder):
    index, folder = IndexFolder(index_folder), IndexFolder(index_folder).encoder_folder(tiny_encoder.fingerprint)
    (folder / "config.json").unlink()
    (folder / "model.safetensors").unlink()
    (folder / ".openvino").mkdir()
    keep_encoder(index, tiny_encoder, tiny_encoder.spec)
    assert sorted(path.name for path in folder.iterdir()) == [".openvino", "config.json", "model.safetensors"]


def test_a_backend_that_cannot_be_meant_is_told_at_opening(index_folder, run, photo):
    with pytest.raises(ConfigError, match="Backend 'tpu' is unknown"):
        geoindex.open_index(index_folder, backend="tpu")
    code, out, err = run("query", photo, "--index", index_folder, "--backend", "tpu")
    assert (code, out) == (2, "")
    assert "Backend 'tpu' is unknown; give auto, torch, openvino" in err


def test_a_backend_that_is_not_installed_names_its_extra(index_folder, run, photo, monkeypatch):
    monkeypatch.setattr(backends, "find_spec", lambda name: None)
    code, out, err = run("query", photo, "--index", index_folder, "--backend", "onnx")
    assert (code, out) == (1, "")
    assert "pip install 'geoindex[onnx]'" in err


def ask_apart(index, results):
    answer = index.query_image(PHOTOS[0])
    results.put((index.encoder.backend, answer.lat, answer.lon, "torch" in sys.modules))


def test_it_travels_to_a_spawned_process_with_its_backend(index_folder):
    found = geoindex.open_index(index_folder, device="cpu", backend="openvino")
    here, results = found.query_image(PHOTOS[0]), spawn.Queue()
    process = spawn.Process(target=ask_apart, args=(found, results))
    process.start()
    assert results.get(timeout=120) == ("openvino", here.lat, here.lon, False)
    process.join(60)
    assert pickle.loads(pickle.dumps(found)).encoder.backend == "openvino"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore")  # Python warns of the fork itself
def test_a_forked_process_is_refused_at_once(index_folder):
    found = geoindex.open_index(index_folder, device="cpu", backend="openvino")
    encoder = found.encoder
    encoder.encode(PHOTOS[:1])
    child = os.fork()
    if child == 0:
        refused = 0
        for work in (
            lambda: encoder.features(np.zeros((1, 3, 16, 16), np.uint8)),
            lambda: found.query_image(PHOTOS[0]),
        ):
            try:
                work()
            except ForkError:
                refused += 1
        os._exit(0 if refused == 2 else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_evaluation_computes_with_it_too(index_folder, tmp_path, run):
    save_tile(tmp_path / "other" / "a.jpg", 52.0, 5.0)
    (tmp_path / "other" / "metadata.csv").write_text("image,latitude,longitude\na.jpg,52.0,5.0\n")
    source = tmp_path / "other" / "metadata.csv"
    code, out, _ = run("eval", index_folder, "--source", source, "--backend", "openvino")
    assert (code, bool(out)) == (0, True)
    assert exports(index_folder) == [".openvino/export.json"]
