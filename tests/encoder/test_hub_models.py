"""CLIP models as transformers saves them, compared with transformers itself on random weights."""

import json
import shutil
import sys
from dataclasses import replace

import huggingface_hub
import numpy as np
import pytest
from huggingface_hub import constants
from huggingface_hub.errors import EntryNotFoundError, RepositoryNotFoundError
from PIL import Image

from geoindex.encoder import load_encoder
from geoindex.encoder.clip_config import OTHER_TYPES
from geoindex.encoder.loading import outline_encoder
from geoindex.errors import ConfigError, EncoderError, WeightsError, WeightsNotFoundError
from geoindex.images import load_image
from geoindex.recipe import EncoderRecipe

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

CPU = EncoderRecipe(device="cpu")
NAME, COMMIT = "hf-hub:geolocal/StreetCLIP", "0123456789abcdef0123456789abcdef01234567"
SMALL = {"hidden_size": 64, "intermediate_size": 256, "num_hidden_layers": 2, "num_attention_heads": 4}
ODD = {"hidden_size": 49, "intermediate_size": 99, "num_hidden_layers": 3, "num_attention_heads": 7}
TEXT = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 50}


def stirred(model):
    """Let every weight differ from its neighbours: fresh norms are all ones and fresh biases all zeros."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn(weight.shape, generator=generator), alpha=0.1)
    return model.eval()


def whole_clip(**vision):
    config = transformers.CLIPConfig(
        vision_config=SMALL | {"image_size": 224, "patch_size": 32} | vision, text_config=TEXT, projection_dim=24
    )
    return stirred(transformers.CLIPModel(config))


def image_half():
    options = {"image_size": 336, "patch_size": 14, "hidden_act": "gelu", "layer_norm_eps": 1e-3, "projection_dim": 40}
    config = transformers.CLIPVisionConfig(**ODD, **options)
    return stirred(transformers.CLIPVisionModelWithProjection(config))


def saved(model, folder, **processor):
    model.save_pretrained(folder)
    side = getattr(model.config, "vision_config", model.config).image_size
    sizes = {"size": {"shortest_edge": side}, "crop_size": {"height": side, "width": side}}
    transformers.CLIPImageProcessor(**sizes | processor).save_pretrained(folder)
    return folder


def change(file, **values):
    config = json.loads(file.read_text())
    file.write_text(json.dumps({k: v for k, v in (config | values).items() if v is not ...}))


def photo(width=300, height=260):
    return np.random.default_rng(width).integers(0, 256, (height, width, 3), np.uint8)


@pytest.fixture(scope="module")
def clip():
    return whole_clip()


@pytest.fixture(scope="module")
def published(clip, tmp_path_factory):
    """A folder with a whole CLIP model; nobody writes to it."""
    return saved(clip, tmp_path_factory.mktemp("published"))


@pytest.fixture
def folder(published, tmp_path):
    return shutil.copytree(published, tmp_path / "model")


@pytest.fixture
def hub(published, tmp_path, monkeypatch):
    """A hub with one repository and an empty cache; returns what was downloaded."""
    snapshot, asked = tmp_path / "hub/models--geolocal--StreetCLIP/snapshots" / COMMIT, []

    def download(repo, file, *, revision, **_):
        assert repo == "geolocal/StreetCLIP"
        asked.append((file, revision))
        snapshot.mkdir(parents=True, exist_ok=True)
        (snapshot.parents[1] / "refs").mkdir(exist_ok=True)
        (snapshot.parents[1] / "refs/main").write_text(COMMIT)
        return shutil.copy(published / file, snapshot / file)

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", lambda *_, **__: type("Found", (), {"size": 1000}))
    return asked


@pytest.mark.parametrize("make", [whole_clip, image_half], ids=["quick_gelu-224-32", "gelu-336-14"])
def test_features_are_those_of_transformers(make, tmp_path):
    model = make()
    encoder = load_encoder(str(saved(model, tmp_path)), CPU)
    side = encoder.image_size
    pixels = torch.randn(3, 3, side, side, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        got = encoder.module(pixels)
        want = model(pixels).image_embeds if make is image_half else model.get_image_features(pixels).pooler_output
    assert want.abs().mean() > 0.1
    assert (got - want).abs().max() < 1e-5


@pytest.mark.parametrize("edge", [224, 258])
def test_a_photo_comes_out_as_transformers_has_it(clip, tmp_path, monkeypatch, edge):
    """As its processor of Pillow has it, which resizes as we do without torch; that of torchvision is a little apart.

    Where the centre lies between two pixels, we round as torchvision does, and the processor of Pillow down.
    """
    pillow = pytest.importorskip("transformers.models.clip.image_processing_pil_clip")
    encoder = load_encoder(str(saved(clip, tmp_path, size={"shortest_edge": edge})), CPU)
    images = [photo(), photo(231, 500), photo(200, 150)]
    processor = pillow.CLIPImageProcessorPil.from_pretrained(tmp_path)
    pixels = processor(images=[Image.fromarray(image) for image in images], return_tensors="pt")["pixel_values"]
    with torch.inference_mode():
        want = clip.get_image_features(pixel_values=pixels).pooler_output.numpy()
    with monkeypatch.context() as patch:
        patch.delitem(sys.modules, "torch")
        prepared = [encoder.prepare(load_image(image)) for image in images]
    assert np.abs(encoder.features(np.stack(prepared)) - want).max() < 1e-5


def test_the_hub_a_folder_and_a_saved_encoder_are_one(hub, published, tmp_path):
    from_hub, from_folder = load_encoder(NAME, CPU), load_encoder(str(published), CPU)
    from_hub.save(tmp_path / "saved")
    again = load_encoder(str(tmp_path / "saved"), CPU)
    assert from_hub.fingerprint == from_folder.fingerprint == again.fingerprint
    assert from_hub.preprocessing == again.preprocessing
    assert np.array_equal(from_hub.encode([photo()]), again.encode([photo()]))
    assert (from_hub.published, from_folder.published, again.published) == (True, False, False)
    assert load_encoder(NAME, CPU).spec == NAME


def test_one_commit_is_downloaded_once(hub):
    load_encoder(NAME, CPU)
    load_encoder(NAME, CPU)
    pinned = [("model.safetensors", COMMIT), ("preprocessor_config.json", COMMIT)]
    assert hub[0] == ("config.json", None)
    assert sorted(hub[1:]) == pinned


def test_a_revision_can_be_named(hub):
    load_encoder(f"{NAME}@v1", CPU)
    assert hub[0] == ("config.json", "v1")


def test_sizes_can_be_had_without_the_weights(hub):
    outline = outline_encoder(NAME, EncoderRecipe())
    assert (outline.dim, outline.image_size) == (24, 224)
    assert all("model" not in file for file, _ in hub)


def test_an_older_checkpoint_loads_alike(clip, published, folder):
    (folder / "model.safetensors").unlink()
    counter = {"vision_model.embeddings.position_ids": torch.arange(50)[None]}
    torch.save(clip.state_dict() | counter, folder / "pytorch_model.bin")
    change(folder / "config.json", vision_config={}, vision_config_dict=clip.config.vision_config.to_dict())
    sizes = {"size": 224, "crop_size": 224, "feature_extractor_type": "CLIPFeatureExtractor"}
    change(folder / "preprocessor_config.json", image_processor_type=..., **sizes)
    assert load_encoder(str(folder), CPU).fingerprint == load_encoder(str(published), CPU).fingerprint


def test_the_processor_may_lie_in_the_file_of_a_whole_pipeline(published, folder):
    inner = json.loads((folder / "preprocessor_config.json").read_text())
    (folder / "preprocessor_config.json").unlink()
    (folder / "processor_config.json").write_text(json.dumps({"image_processor": inner}))
    assert load_encoder(str(folder), CPU).fingerprint == load_encoder(str(published), CPU).fingerprint


@pytest.mark.parametrize("reduced", ["float16", "bfloat16"])
def test_reduced_weights_become_float32(published, tmp_path, reduced):
    saved(whole_clip().to(getattr(torch, reduced)), tmp_path)
    encoder = load_encoder(str(tmp_path), CPU)
    assert {weight.dtype for weight in encoder.module.state_dict().values()} == {torch.float32}
    assert encoder.fingerprint != load_encoder(str(published), CPU).fingerprint


def test_another_image_size_and_other_weights(published, tmp_path):
    larger = load_encoder(str(published), replace(CPU, image_size=256))
    assert (larger.image_size, larger.preprocessing.scaled) == (256, 256)
    assert larger.encode([photo()]).shape == (1, 24)
    own = load_encoder(str(published), CPU)
    own.save(tmp_path / "saved")
    again = load_encoder(str(published), CPU, weights=tmp_path / "saved/model.safetensors")
    assert again.fingerprint == own.fingerprint


def test_such_weights_serve_a_model_of_open_clip(tmp_path):
    saved(whole_clip(hidden_size=64, num_attention_heads=1, intermediate_size=256), tmp_path)
    spec = "open_clip:ViT-B-32-quickgelu?layers=2&width=64&embed_dim=24"
    named = load_encoder(spec, CPU, weights=tmp_path / "model.safetensors")
    assert np.array_equal(named.encode([photo()]), load_encoder(str(tmp_path), CPU).encode([photo()]))


@pytest.mark.parametrize(
    ("processor", "want"),
    [
        ({"size": {"shortest_edge": 256}}, ("shortest", 256, "bicubic")),
        ({"size": {"shortest_edge": 259}, "resample": 2}, ("shortest", 259, "bilinear")),
        ({"size": {"height": 224, "width": 224}}, ("squash", 224, "bicubic")),
        ({"size": {"height": 224, "width": 224}, "do_center_crop": False}, ("squash", 224, "bicubic")),
        ({"size": {"height": 240, "width": 240}, "resample": 1}, ("squash", 240, "lanczos")),
    ],
)
def test_preprocessing_is_that_of_the_file(clip, tmp_path, processor, want):
    found = load_encoder(str(saved(clip, tmp_path, **processor)), CPU).preprocessing
    assert (found.resize, found.scaled, found.interpolation) == want
    assert found.size == 224


def test_preprocessing_without_normalisation(clip, tmp_path):
    found = load_encoder(str(saved(clip, tmp_path, do_normalize=False)), CPU).preprocessing
    assert (found.mean, found.std) == ((0, 0, 0), (1, 1, 1))


@pytest.mark.parametrize(
    ("values", "say"),
    [
        ({"do_resize": False}, "do_resize False"),
        ({"do_center_crop": False}, "height and width"),
        ({"crop_size": 192}, r"crop_size 192.*224"),
        ({"size": {"shortest_edge": 200}}, "within size"),
        ({"size": {"longest_edge": 224}}, "size"),
        ({"size": ...}, "shortest_edge None"),
        ({"rescale_factor": 1.0}, "1/255"),
        ({"resample": 5}, "resample 5"),
        ({"image_std": [0, 1, 1]}, "three positive numbers"),
        ({"image_mean": [0.5]}, "three numbers"),
        ({"image_processor_type": "ViTImageProcessor"}, "CLIPImageProcessor"),
    ],
)
def test_preprocessing_that_cannot_be_followed(folder, values, say):
    change(folder / "preprocessor_config.json", **values)
    with pytest.raises(EncoderError, match=rf"preprocessor_config\.json.*{say}"):
        load_encoder(str(folder), CPU)


@pytest.mark.parametrize("value", [None, True, -1, 0, float("inf"), "x", [], {}, [1], [32, 16], 0.5])
def test_values_that_no_model_has(folder, value):
    keys = json.loads((folder / "config.json").read_text())["vision_config"]
    for key in (*SMALL, "image_size", "patch_size", "hidden_act", "layer_norm_eps", "num_channels"):
        change(folder / "config.json", vision_config=keys | {key: value})
        if (key, value) == ("layer_norm_eps", 0.5):
            continue
        with pytest.raises(EncoderError, match=r"^[^\n]+\.$"):
            load_encoder(str(folder), CPU)
    change(folder / "config.json", vision_config=value)
    if value:
        with pytest.raises(EncoderError, match=r"^[^\n]+\.$"):
            load_encoder(str(folder), CPU)


@pytest.mark.parametrize("kind", [*OTHER_TYPES, "bert", None])
def test_models_of_other_types_name_what_loads_them(folder, kind):
    change(folder / "config.json", model_type=kind)
    with pytest.raises(EncoderError, match=r"only CLIP \(clip or clip_vision_model\)") as caught:
        load_encoder(str(folder), CPU)
    assert OTHER_TYPES.get(kind, "timm:MODEL or open_clip:MODEL/PRETRAINED") in str(caught.value)


def test_a_repository_of_timm_is_named_after_its_model(hub, published, monkeypatch):
    def download(*_, **__):
        file = published.parent / "timm.json"
        file.write_text(json.dumps({"architecture": "vit_x", "pretrained_cfg": {"tag": "in1k"}}))
        return str(file)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    with pytest.raises(EncoderError, match=r"name it timm:vit_x\.in1k"):
        load_encoder("hf-hub:timm/vit_x.in1k", CPU)


def test_weights_are_mapped_one_to_one(clip, folder):
    from safetensors.torch import save_file

    weights = {name: value.contiguous() for name, value in clip.state_dict().items()}
    layer = "vision_model.encoder.layers.1"
    for gone, say in [
        ("vision_model.pre_layrnorm.bias", r"missing: ln_pre\.bias"),
        (f"{layer}.mlp.fc1.weight", r"missing: transformer\.resblocks\.1\.mlp\.c_fc\.weight"),
        (f"{layer}.self_attn.k_proj.bias", r"missing: .*in_proj_bias; unknown: .*self_attn\.q_proj\.bias"),
        ("visual_projection.weight", "CLIPVisionModelWithProjection"),
    ]:
        save_file({k: v for k, v in weights.items() if k != gone}, folder / "model.safetensors")
        with pytest.raises(WeightsError, match=say):
            load_encoder(str(folder), CPU)
    for more in ("vision_model.extra.weight", f"{layer}.layer_norm3.weight", "classifier.weight"):
        save_file(weights | {more: torch.zeros(2)}, folder / "model.safetensors")
        with pytest.raises(WeightsError, match=f"unknown: {more}"):
            load_encoder(str(folder), CPU)


def test_a_vision_model_without_its_projection_is_refused(folder):
    model = transformers.CLIPVisionModel(transformers.CLIPVisionConfig(**SMALL))
    model.save_pretrained(folder)
    with pytest.raises(WeightsError, match="CLIPVisionModelWithProjection"):
        load_encoder(str(folder), CPU)


@pytest.mark.parametrize("gone", ["preprocessor_config.json", "model.safetensors"])
def test_a_file_that_a_folder_lacks_is_named(folder, gone):
    (folder / gone).unlink()
    with pytest.raises(WeightsNotFoundError, match=rf"No {gone} or \w+.*copy it there"):
        load_encoder(str(folder), CPU)


def test_what_the_hub_does_not_have(hub, monkeypatch):
    def answer(error):
        def refuse(*_, **__):
            raise error

        monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", refuse)

    for kind, say in [(RepositoryNotFoundError, "no such repository"), (EntryNotFoundError, r"none of config\.json")]:
        answer(kind.__new__(kind))
        with pytest.raises(WeightsNotFoundError, match=rf"hf-hub:some/one.*{say}.*name a folder") as caught:
            load_encoder("hf-hub:some/one", CPU)
        assert "--weights" not in str(caught.value)
    with pytest.raises(ConfigError, match=r"hf-hub:OWNER/NAME"):
        load_encoder("hf-hub:StreetCLIP", CPU)
