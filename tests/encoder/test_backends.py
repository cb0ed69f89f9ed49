"""Backends that compute an export of the model: they agree with torch, are made once, and are never trusted blindly."""

import json
import logging
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from geoindex.encoder import backends, exporting, load_encoder, onnx_graph, open_encoder
from geoindex.encoder.check_images import check_batches
from geoindex.encoder.exported import ExportedEncoder
from geoindex.encoder.process import thread_count
from geoindex.errors import ConfigError, EncoderError, MissingExtraError, StorageError
from geoindex.recipe import EncoderRecipe

torch = pytest.importorskip("torch")
pytest.importorskip("openvino")
pytest.importorskip("onnxruntime")

TIMM = "timm:vit_tiny_patch16_224/random?img_size=32&depth=2&embed_dim=48&num_heads=3"
OPEN_CLIP = "open_clip:ViT-B-32/random?image_size=32&patch_size=16&layers=2&width=64&embed_dim=24"
RESNET = "timm:resnet10t/random"
CPU = EncoderRecipe(device="cpu")
SMALL = {TIMM: CPU, OPEN_CLIP: CPU, RESNET: replace(CPU, image_size=64)}


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """Let exports of a test lie in a folder of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def plain():
    return load_encoder(TIMM, CPU)


@pytest.fixture(scope="module")
def made(plain, tmp_path_factory):
    """A folder with an export for OpenVINO; nobody writes to it."""
    folder = tmp_path_factory.mktemp("made")
    open_encoder(TIMM, CPU, plain.fingerprint, backend="openvino", kept=folder)
    return folder


@pytest.fixture
def kept(made, tmp_path):
    return shutil.copytree(made, tmp_path / "kept")


def no_torch(*_):
    pytest.fail("torch was asked for")


def cosines(a, b):
    return (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


def opened(plain, kept, backend="openvino", recipe=CPU):
    return open_encoder(plain.spec, recipe, plain.fingerprint, backend=backend, kept=kept)


@pytest.mark.parametrize("backend", ["openvino", "onnx"])
@pytest.mark.parametrize("spec", SMALL)
def test_features_are_those_of_torch_in_batches_of_any_size(spec, backend, tmp_path):
    exact = load_encoder(spec, SMALL[spec])
    found = open_encoder(spec, SMALL[spec], exact.fingerprint, backend=backend, kept=tmp_path)
    assert (type(found), found.backend, found.device, found.dtype) == (ExportedEncoder, backend, "cpu", "float32")
    for attribute in ("spec", "dim", "fingerprint", "image_size", "preprocessing", "architecture", "min_side"):
        assert getattr(found, attribute) == getattr(exact, attribute)
    for batch in (*check_batches(exact.image_size), np.zeros((3, 3, exact.image_size, exact.image_size), np.uint8)):
        assert cosines(found.features(batch), exact.features(batch)).min() > 0.99999
        assert np.allclose(found.features(batch), exact.features(batch), atol=1e-4)
    assert found.features(batch[:0]).shape == (0, exact.dim)
    with pytest.raises(EncoderError, match="uint8"):
        found.features(batch.astype(np.float32))


def test_integers_say_how_close_they_are(plain, tmp_path, caplog):
    with caplog.at_level(logging.WARNING, "geoindex"):
        found = opened(plain, tmp_path, "onnx-int8")
    record = json.loads((tmp_path / ".onnx-int8/export.json").read_text())["export"]
    assert 0.98 < record["cosine"]["min"] < record["cosine"]["mean"] < 1 - 1e-6
    assert f"{record['cosine']['min']:.4f} at least" in caplog.text
    assert found.dtype == "int8"
    batch = check_batches(plain.image_size)[-1]
    assert 0.98 < cosines(found.features(batch), plain.features(batch)).min() < 1 - 1e-6


def test_integers_below_their_floor_are_refused(plain, tmp_path, monkeypatch):
    monkeypatch.setitem(backends.BACKENDS, "onnx-int8", replace(backends.BACKENDS["onnx-int8"], floor=0.99999))
    with pytest.raises(EncoderError, match=r"computes other features with onnx-int8: cosine 0\.99\d+ to torch"):
        opened(plain, tmp_path, "onnx-int8")
    assert list(tmp_path.rglob("*.onnx")) == []


def test_an_export_is_made_once_and_needs_no_torch(plain, kept, monkeypatch):
    monkeypatch.setattr("geoindex.encoder.opening.load_encoder", no_torch)
    monkeypatch.setattr("geoindex.encoder.opening.make_export", no_torch)
    found = opened(plain, kept)
    images = [np.full((40, 50, 3), value, np.uint8) for value in (0, 90, 255)]
    assert np.allclose(found.encode(images), plain.encode(images), atol=1e-4)
    assert np.array_equal(found.prepare(Image.new("RGB", (9, 9))), plain.prepare(Image.new("RGB", (9, 9))))


def test_it_has_its_weights_when_somebody_asks(plain, kept, tmp_path):
    found = opened(plain, kept)
    assert found.weight_bytes == plain.weight_bytes
    found.save(tmp_path / "saved")
    assert load_encoder(str(tmp_path / "saved"), CPU).fingerprint == plain.fingerprint
    assert not found.published


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)


def cut(path):
    path.write_bytes(path.read_bytes()[:-9])


@pytest.mark.parametrize("damage", [flip, cut, os.unlink])
@pytest.mark.parametrize("name", ["model.bin", "model.xml", "export.json"])
def test_what_is_damaged_is_made_again(plain, kept, name, damage):
    damage(kept / ".openvino" / name)
    assert exporting.find_export("openvino", plain.fingerprint, [kept / ".openvino"]) is None
    batch = check_batches(plain.image_size)[-1]
    assert np.allclose(opened(plain, kept).features(batch), plain.features(batch), atol=1e-4)
    assert exporting.find_export("openvino", plain.fingerprint, [kept / ".openvino"])
    assert [path.name for path in kept.iterdir()] == [".openvino"]


@pytest.mark.parametrize(
    "change",
    [
        ("geoindex.encoder.export_record.FORMAT", 99),
        ("geoindex.encoder.export_record.version_of", lambda _: "0.1"),
    ],
)
def test_what_another_version_made_is_made_again(plain, kept, monkeypatch, change):
    monkeypatch.setattr(*change)
    assert exporting.find_export("openvino", plain.fingerprint, [kept / ".openvino"]) is None


def test_an_export_of_another_encoder_or_backend_is_not_taken(plain, kept):
    shutil.copytree(kept / ".openvino", kept / ".onnx")
    assert exporting.find_export("onnx", plain.fingerprint, [kept / ".onnx"]) is None
    assert exporting.find_export("openvino", "0" * 64, [kept / ".openvino"]) is None


def test_a_record_that_was_edited_is_not_trusted(plain, kept):
    file = kept / ".openvino/export.json"
    whole = json.loads(file.read_text())
    whole["export"]["encoder"]["preprocessing"]["interpolation"] = "nearest"
    file.write_text(json.dumps(whole))
    assert exporting.find_export("openvino", plain.fingerprint, [kept / ".openvino"]) is None


def test_another_encoder_than_was_named_comes_back_as_it_is(plain, tmp_path):
    other = open_encoder(f"{TIMM}&seed=5", CPU, plain.fingerprint, backend="openvino", kept=tmp_path)
    assert other.fingerprint != plain.fingerprint
    assert list(tmp_path.rglob("model.xml")) == []


def wrong(monkeypatch):
    """Let exports for OpenVINO compute something else."""
    from geoindex.encoder import openvino_graph

    load = openvino_graph.load
    monkeypatch.setattr(openvino_graph, "load", lambda *a: lambda pixels: load(*a)(pixels)[:, ::-1])


def test_an_export_that_computes_something_else_is_refused(plain, tmp_path, monkeypatch):
    wrong(monkeypatch)
    with pytest.raises(EncoderError, match=r"other features with openvino: cosine .* take backend torch\.$"):
        opened(plain, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_auto_goes_on_with_the_next_one_and_says_so(plain, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(backends, "FASTEST", ("openvino", "onnx"))
    wrong(monkeypatch)
    assert opened(plain, tmp_path, "auto").backend == "onnx"
    assert "Going on without openvino." in caplog.text
    monkeypatch.setattr(onnx_graph, "load", lambda *_: 1 / 0)
    assert opened(plain, tmp_path, "auto").backend == "torch"
    assert "Going on without onnx." in caplog.text


def test_models_that_torch_cannot_follow_are_left_to_it(plain, tmp_path, monkeypatch, caplog):
    def fail(*_, **__):
        raise RuntimeError("data-dependent\nand more")

    monkeypatch.setattr(backends, "FASTEST", ("openvino",))
    monkeypatch.setattr(torch.export, "export", fail)
    assert opened(plain, tmp_path, "auto").backend == "torch"
    assert "cannot be exported (data-dependent)" in caplog.text
    with pytest.raises(EncoderError, match="cannot be exported"):
        opened(plain, tmp_path)


def test_auto_takes_the_fastest_that_is_installed(monkeypatch):
    monkeypatch.setattr(backends, "FASTEST", ("openvino", "onnx"))
    assert backends.candidates("auto", "cpu", "auto") == ("openvino", "onnx", "torch")
    assert backends.candidates("auto", "cuda", "auto") == ("torch",)
    assert backends.candidates("auto", "cpu", "bfloat16") == ("openvino", "torch")
    monkeypatch.setattr(backends, "find_spec", lambda name: None if name == "openvino" else object())
    assert backends.candidates("auto", "cpu", "auto") == ("onnx", "torch")
    assert backends.candidates("torch", "cuda", "float16") == ("torch",)


def test_auto_asks_torch_only_where_there_may_be_a_gpu(monkeypatch):
    monkeypatch.setattr(backends, "FASTEST", ("openvino",))
    monkeypatch.setattr("geoindex.encoder.device.choose_device", no_torch)
    monkeypatch.setattr(backends, "_may_have_gpu", lambda: False)
    assert backends.candidates("auto", "auto", "auto") == ("openvino", "torch")
    monkeypatch.setattr("geoindex.encoder.device.choose_device", lambda _: torch.device("cuda"))
    monkeypatch.setattr(backends, "_may_have_gpu", lambda: True)
    assert backends.candidates("auto", "auto", "auto") == ("torch",)


def test_names_that_cannot_be_meant(monkeypatch):
    with pytest.raises(ConfigError, match=r"'tensorrt' is unknown; give auto, torch, openvino, onnx or onnx-int8\.$"):
        backends.check_backend("tensorrt", "cpu")
    with pytest.raises(ConfigError, match="computes on the CPU, not on 'cuda'"):
        backends.check_backend("onnx", "cuda")
    with pytest.raises(ConfigError, match="does not compute in bfloat16"):
        backends.check_backend("onnx", "cpu", "bfloat16")
    monkeypatch.setattr(backends, "find_spec", lambda name: None)
    for name, extra in (("openvino", "openvino"), ("onnx", "onnx"), ("onnx-int8", "onnx")):
        with pytest.raises(MissingExtraError, match=rf"not installed: pip install 'geoindex\[{extra}\]'\.$"):
            backends.check_backend(name, "auto")


def test_threads_agree(plain, kept):
    found, batch = opened(plain, kept), check_batches(plain.image_size)[-1]
    want = found.features(batch)
    with ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(lambda i: found.features(batch[i % 8 : i % 8 + 1]), range(64)))
    assert all(np.allclose(part, want[i % 8], atol=1e-4) for i, part in enumerate(parts))


def test_features_stay_as_they_are_when_more_are_computed(plain, kept):
    found, batch = opened(plain, kept), check_batches(plain.image_size)[-1]
    first = found.features(batch[:1])
    copy = first.copy()
    found.features(batch[1:2])
    assert np.array_equal(first, copy)


def test_read_only_batches_are_taken(plain, kept):
    batch = check_batches(plain.image_size)[-1][::2]
    batch.setflags(write=False)
    assert np.allclose(opened(plain, kept).features(batch), plain.features(batch), atol=1e-4)


def test_reduced_arithmetic_is_close(plain, kept):
    found = opened(plain, kept, recipe=replace(CPU, dtype="bfloat16"))
    batch = check_batches(plain.image_size)[-1]
    assert found.dtype == "bfloat16"
    assert cosines(found.features(batch), plain.features(batch)).min() > 0.99


def test_as_many_threads_as_there_are_cores(monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1, 2}, raising=False)
    for wanted, count in (("", 3), ("2", 2), ("9", 3), ("0", 3), ("many", 3)):
        monkeypatch.setenv("OMP_NUM_THREADS", wanted)
        assert thread_count() == count


def test_where_the_folder_cannot_be_written_the_cache_of_the_user_is(plain, tmp_path, own_cache, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    kept = tmp_path / "file" / "kept"
    assert opened(plain, kept).backend == "openvino"
    assert [path.name for path in own_cache.rglob("*.xml")] == ["model.xml"]
    with monkeypatch.context() as patch:
        patch.setattr("geoindex.encoder.opening.load_encoder", no_torch)
        assert opened(plain, kept).backend == "openvino"
    shutil.rmtree(own_cache)
    own_cache.write_text("no folder either")
    with pytest.raises(StorageError, match="Cannot write to"):
        opened(plain, kept)
    monkeypatch.setattr(backends, "FASTEST", ("openvino",))
    assert opened(plain, kept, "auto").backend == "torch"


def test_an_export_that_stops_half_way_leaves_nothing(plain, tmp_path, monkeypatch):
    monkeypatch.setattr(exporting, "_cosines", lambda *_: 1 / 0)
    with pytest.raises(EncoderError, match="cannot be exported for openvino"):
        opened(plain, tmp_path)
    assert list(tmp_path.rglob("*")) == []


def test_what_killed_exports_left_goes_with_the_next_one(plain, tmp_path):
    old, young = tmp_path / ".openvino.old", tmp_path / ".openvino.young"
    for folder in (old, young):
        folder.mkdir()
    os.utime(old, (0, 0))
    opened(plain, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".openvino", ".openvino.young"]


@pytest.mark.parametrize("backend", ["openvino", "onnx", "onnx-int8"])
def test_an_export_is_one_line_in_the_log_and_sets_nothing_up(plain, tmp_path, backend):
    code = (
        "import logging, sys; from pathlib import Path; from geoindex.encoder import open_encoder; "
        "from geoindex.recipe import EncoderRecipe; logging.getLogger('geoindex').setLevel(logging.ERROR); "
        "spec, fingerprint, backend, kept = sys.argv[1:]; "
        "open_encoder(spec, EncoderRecipe(device='cpu'), fingerprint, backend=backend, kept=Path(kept)); "
        "sys.exit(bool(logging.getLogger().handlers))"
    )
    command = [sys.executable, "-c", code, TIMM, plain.fingerprint, backend, str(tmp_path)]
    done = subprocess.run(command, check=False, cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / f".{backend}/export.json").is_file()
