import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from geoindex.encoder import load_encoder
from geoindex.errors import (
    ConfigError,
    EncoderError,
    StorageError,
    UnreadableImageError,
    WeightsError,
    WeightsNotFoundError,
)
from geoindex.recipe import EncoderRecipe

torch = pytest.importorskip("torch")

TIMM = "timm:vit_tiny_patch16_224/random?img_size=32&depth=2&embed_dim=48&num_heads=3"
OPEN_CLIP = "open_clip:ViT-B-32/random?image_size=32&patch_size=16&layers=2&width=64&embed_dim=24"
CPU = EncoderRecipe(device="cpu")
DEIT = Path(__file__).parents[3] / "shared/weights/deit_tiny_patch16_224.safetensors"


def photos(count=3, width=50, height=40):
    rng = np.random.default_rng(count)
    return [rng.integers(0, 256, (height, width, 3), np.uint8) for _ in range(count)]


@pytest.fixture(scope="module", params=[TIMM, OPEN_CLIP], ids=["timm", "open_clip"])
def encoder(request):
    return load_encoder(request.param, CPU)


def test_features_are_finite_and_tell_images_apart(encoder):
    features = encoder.encode(photos(4))
    assert (features.shape, features.dtype) == ((4, encoder.dim), np.float32)
    assert np.isfinite(features).all()
    assert np.abs(features[0] - features[1]).max() > 1e-3
    assert (encoder.image_size, encoder.device, encoder.dtype) == (32, "cpu", "float32")


def test_features_equal_the_plain_model(encoder):
    pixels = np.stack([encoder.prepare(Image.fromarray(photo)) for photo in photos()])
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (encoder.preprocessing.mean, encoder.preprocessing.std))
    with torch.no_grad():
        want = encoder.module((torch.tensor(pixels) / 255 - mean) / std).numpy()
    assert np.allclose(encoder.features(pixels), want, atol=1e-5)


def test_a_caller_who_computes_in_less_gets_the_same_features(encoder):
    with torch.autocast("cpu", torch.bfloat16):
        inside = encoder.encode(photos())
    assert np.array_equal(inside, encoder.encode(photos()))


def test_the_size_of_batches_does_not_matter(encoder):
    by_two = load_encoder(encoder.spec, replace(CPU, batch_size=2))
    assert np.allclose(by_two.encode(photos(5)), encoder.encode(photos(5)), atol=1e-5)
    assert by_two.fingerprint == encoder.fingerprint
    assert encoder.encode([]).shape == (0, encoder.dim)


def test_threads_agree(encoder):
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(encoder.encode, [photos()] * 8))
    assert all(np.allclose(result, results[0], atol=1e-5) for result in results)


def test_read_only_batches_are_taken_and_left_alone(encoder):
    pixels = np.stack([encoder.prepare(Image.fromarray(photo)) for photo in photos()])
    want, before = encoder.features(pixels), pixels.copy()
    pixels.setflags(write=False)
    assert np.array_equal(encoder.features(pixels), want)
    assert np.array_equal(pixels, before)
    assert np.array_equal(encoder.features(pixels[::-1]), want[::-1]) or np.allclose(
        encoder.features(pixels[::-1]), want[::-1], atol=1e-5
    )


@pytest.mark.parametrize(
    "batch", [np.zeros((1, 3, 32, 32), np.float32), np.zeros((1, 32, 32, 3), np.uint8), np.zeros((3, 32, 32), np.uint8)]
)
def test_wrong_batches_are_refused(encoder, batch):
    with pytest.raises(EncoderError, match="uint8"):
        encoder.features(batch)


def test_an_unreadable_image_is_named(encoder, tmp_path):
    with pytest.raises(UnreadableImageError, match=r"none\.jpg"):
        encoder.encode([photos()[0], tmp_path / "none.jpg"])


def test_a_saved_folder_gives_the_same_encoder(encoder, tmp_path):
    encoder.save(tmp_path / "encoder")
    loaded = load_encoder(str(tmp_path / "encoder"), CPU)
    assert loaded.fingerprint == encoder.fingerprint
    assert loaded.preprocessing == encoder.preprocessing
    assert np.array_equal(loaded.encode(photos()), encoder.encode(photos()))
    assert json.loads((tmp_path / "encoder/config.json").read_text()) == encoder.to_config()
    assert load_encoder(str(tmp_path / "encoder"), replace(CPU, mean=(0, 0, 0))).fingerprint != loaded.fingerprint
    with pytest.raises(ConfigError, match="image_size"):
        load_encoder(str(tmp_path / "encoder"), replace(CPU, image_size=64))


def test_a_save_that_fails_leaves_nothing(encoder, tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("geoindex.encoder.encoder.write_durably", fail)
    with pytest.raises(StorageError):
        encoder.save(tmp_path / "encoder")
    assert list(tmp_path.iterdir()) == []


def test_seeded_weights_and_folders_are_not_published(encoder, tmp_path):
    encoder.save(tmp_path / "encoder")
    assert not encoder.published
    assert not load_encoder(str(tmp_path / "encoder"), CPU).published


def test_a_folder_with_other_weights_is_refused(encoder, tmp_path):
    encoder.save(tmp_path)
    other = load_encoder(f"{encoder.spec}&seed=5", CPU)
    other.save(tmp_path / "other")
    (tmp_path / "other/model.safetensors").replace(tmp_path / "model.safetensors")
    with pytest.raises(WeightsError, match="not the one that was saved"):
        load_encoder(str(tmp_path), CPU)


def test_a_folder_as_timm_publishes_it(tmp_path):
    from safetensors.torch import save_file

    options = {"img_size": 32, "depth": 2, "embed_dim": 48, "num_heads": 3}
    pretrained = {"input_size": [3, 32, 32], "mean": [0.1, 0.2, 0.3], "std": [1, 1, 1], "crop_pct": 1.0}
    config = {"architecture": "vit_tiny_patch16_224", "model_args": options, "pretrained_cfg": pretrained}
    (tmp_path / "config.json").write_text(json.dumps(config))
    state = load_encoder(TIMM, CPU).module.state_dict()
    head = {"head.weight": torch.zeros(10, 48), "head.bias": torch.zeros(10)}
    save_file(state | head, tmp_path / "model.safetensors")
    loaded = load_encoder(str(tmp_path), CPU)
    same = load_encoder(TIMM, replace(CPU, mean=(0.1, 0.2, 0.3), std=(1.0, 1.0, 1.0)))
    assert (loaded.preprocessing.mean, loaded.preprocessing.crop_pct) == ((0.1, 0.2, 0.3), 1.0)
    pixels = np.stack(photos(2, 32, 32)).transpose(0, 3, 1, 2)
    assert np.allclose(loaded.features(pixels), same.features(pixels), atol=1e-5)
    loaded.save(tmp_path / "ours")
    assert load_encoder(str(tmp_path / "ours"), CPU).fingerprint == loaded.fingerprint


def test_the_tag_of_a_name_does_not_count_where_weights_are_given(tmp_path):
    torch.save(load_encoder(TIMM, CPU).module.state_dict(), tmp_path / "w.pt")
    spec = TIMM.replace("/random", "")
    tagged = spec.replace("224?", "224.augreg_in21k?")
    prints = {load_encoder(s, CPU, weights=tmp_path / "w.pt").fingerprint for s in (spec, tagged)}
    assert len(prints) == 1


def test_folders_that_are_no_encoder(tmp_path):
    with pytest.raises(EncoderError, match=r"No config\.json"):
        load_encoder(str(tmp_path))
    for text in ("{", "[]", '{"format": 99}'):
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(EncoderError, match=r"config\.json"):
            load_encoder(str(tmp_path))


def test_a_checkpoint_replaces_published_weights(tmp_path):
    trained = load_encoder(f"{TIMM}&seed=3", CPU)
    state = {f"module.{name}": value for name, value in trained.module.state_dict().items()}
    state |= {"module.head.weight": torch.zeros(10, 48), "module.head.bias": torch.zeros(10)}
    torch.save({"state_dict": state}, tmp_path / "w.pth")
    spec = TIMM.replace("/random", "")
    loaded = load_encoder(spec, CPU, weights=tmp_path / "w.pth")
    assert loaded.fingerprint == trained.fingerprint
    assert not loaded.published
    assert loaded.to_config()["weights"] == str(tmp_path / "w.pth")
    with pytest.raises(WeightsError, match="do not fit"):
        load_encoder(spec.replace("depth=2", "depth=3"), CPU, weights=tmp_path / "w.pth")
    with pytest.raises(ConfigError, match="contradict"):
        load_encoder(TIMM, CPU, weights=tmp_path / "w.pth")
    with pytest.raises(WeightsNotFoundError, match=r"none\.pt"):
        load_encoder(spec, CPU, weights="none.pt")


@pytest.mark.parametrize("prefix", ["visual.", ""])
def test_only_the_image_tower_of_a_clip_checkpoint_is_used(tmp_path, prefix):
    trained = load_encoder(f"{OPEN_CLIP}&seed=3", CPU)
    state = {prefix + name: value for name, value in trained.module.state_dict().items()}
    if prefix:
        state |= {"positional_embedding": torch.zeros(77, 8), "logit_scale": torch.zeros(())}
    torch.save(state, tmp_path / "clip.pt")
    loaded = load_encoder(OPEN_CLIP.replace("/random", ""), CPU, weights=tmp_path / "clip.pt")
    assert loaded.fingerprint == trained.fingerprint


@pytest.mark.parametrize("spec", [TIMM, OPEN_CLIP])
def test_position_embeddings_follow_the_image_size(tmp_path, spec):
    torch.save(load_encoder(spec, CPU).module.state_dict(), tmp_path / "w.pt")
    larger = load_encoder(spec.replace("/random", ""), replace(CPU, image_size=64), weights=tmp_path / "w.pt")
    assert larger.image_size == 64
    assert larger.encode(photos()).shape == (3, larger.dim)


def test_seeds_decide_untrained_weights_and_nothing_else_is_drawn(encoder):
    torch.manual_seed(1)
    want = torch.rand(3)
    torch.manual_seed(1)
    again, other = load_encoder(encoder.spec, CPU), load_encoder(f"{encoder.spec}&seed=1", CPU)
    assert torch.equal(torch.rand(3), want)
    assert again.fingerprint == encoder.fingerprint != other.fingerprint


@pytest.mark.parametrize("change", [{"mean": (0.1, 0.2, 0.3)}, {"std": (0.1, 0.2, 0.3)}, {"image_size": 48}])
def test_overrides_change_features_and_fingerprint(change, encoder):
    changed = load_encoder(encoder.spec, replace(CPU, **change))
    assert changed.fingerprint != encoder.fingerprint
    assert not np.allclose(changed.encode(photos()), encoder.encode(photos()))


def test_reduced_arithmetic_is_close_and_does_not_change_the_fingerprint(encoder):
    reduced = load_encoder(encoder.spec, replace(CPU, dtype="bfloat16"))
    assert (reduced.dtype, reduced.fingerprint) == ("bfloat16", encoder.fingerprint)
    exact, rough = encoder.encode(photos()), reduced.encode(photos())
    assert rough.dtype == np.float32
    assert not np.array_equal(exact, rough)
    assert cosines(exact, rough).min() > 0.99


def test_models_without_a_fixed_size():
    encoder = load_encoder("timm:resnet18/random", replace(CPU, image_size=64))
    assert (encoder.image_size, encoder.encode(photos(1)).shape) == (64, (1, encoder.dim))


@pytest.mark.parametrize(
    ("spec", "say"),
    [
        ("timm:deit_tinny_patch16_224/random", "deit_tiny_patch16_224"),
        ("timm:vit_base_patch16_224.nope", r"vit_base_patch16_224\.\w+"),
        ("open_clip:ViT-B-33/openai", "ViT-B-32"),
        ("open_clip:ViT-B-32/laion2b_s34b", "laion2b_s34b_b79k"),
        ("timm:vit_tiny_patch16_224/random?bogus=1", "bogus"),
        ("open_clip:ViT-B-32/random?bogus=1", "bogus"),
        ("timm:test_vit/random?img_size=95", "95"),
    ],
)
def test_unknown_models_and_options_name_what_is_close(spec, say):
    with pytest.raises(EncoderError, match=say):
        load_encoder(spec, CPU)


def test_a_clip_model_without_weights_lists_them():
    with pytest.raises(ConfigError, match="openai"):
        load_encoder("open_clip:ViT-B-32", CPU)


def test_devices_that_are_not_here(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    for device in ("cuda", "cuda:3"):
        with pytest.raises(ConfigError, match=device):
            load_encoder(TIMM, EncoderRecipe(device=device))
    for device in ("gpu", "meta"):
        with pytest.raises(ConfigError, match="give auto"):
            load_encoder(TIMM, EncoderRecipe(device=device))


def test_importing_the_package_does_not_import_torch():
    code = "import sys, geoindex.encoder; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.skipif(not DEIT.is_file(), reason="needs deit_tiny_patch16_224.safetensors")
def test_real_weights_match_timm():
    """To rounding where nothing is resized, and nearly where torch resizes here and Pillow there."""
    ours = load_encoder("timm:deit_tiny_patch16_224", CPU, weights=DEIT)
    timms = timm_deit()
    as_large, larger = (
        [Image.fromarray(p) for p in photos(2, 330, 248)],
        [Image.fromarray(p) for p in photos(2, 640, 480)],
    )
    assert np.allclose(ours.encode(as_large), timms(as_large), atol=1e-5)
    assert cosines(ours.encode(larger), timms(larger)).min() > 0.99999


def timm_deit():
    """The model and the transform as timm's users put them together."""
    timm = pytest.importorskip("timm")
    from safetensors.torch import load_file

    plain = timm.create_model("deit_tiny_patch16_224", num_classes=0).eval()
    plain.load_state_dict({k: v for k, v in load_file(DEIT).items() if not k.startswith("head.")})
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(plain))

    def encode(images):
        with torch.inference_mode():
            return plain(torch.stack([transform(image) for image in images])).numpy()

    return encode


def cosines(a, b):
    return (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


@pytest.mark.gpu
def test_the_gpu_agrees_with_the_cpu(encoder):
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    exact = load_encoder(encoder.spec, EncoderRecipe(device="cuda", dtype="float32"))
    assert np.allclose(exact.encode(photos()), encoder.encode(photos()), atol=1e-3)
    assert exact.fingerprint == encoder.fingerprint
    rough = load_encoder(encoder.spec, EncoderRecipe())
    assert rough.device.startswith("cuda")
