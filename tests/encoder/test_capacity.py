"""How many images an encoder computes at once, and whose features it hands out."""

import numpy as np
import pytest
import torch
from PIL import Image

from geoindex.encoder import Encoder, load_encoder
from geoindex.encoder.capacity import Capacity
from geoindex.encoder.device import choose_batch_size
from geoindex.errors import ConfigError, EncoderError
from geoindex.recipe import EncoderRecipe

TIMM = "timm:vit_tiny_patch16_224/random?img_size=32&depth=2&embed_dim=48&num_heads=3"
OPEN_CLIP = "open_clip:ViT-B-32/random?image_size=32&patch_size=16&layers=2&width=64&embed_dim=24"


def photos(count=3):
    return list(np.random.default_rng(count).integers(0, 256, (count, 40, 50, 3), np.uint8))


@pytest.fixture(scope="module", params=[TIMM, OPEN_CLIP], ids=["timm", "open_clip"])
def encoder(request):
    return load_encoder(request.param, EncoderRecipe(device="cpu"))


class Cramped(torch.nn.Module):
    """A model that some images at once are too many for; it notes how many it was given."""

    def __init__(self, model, most, error=None):
        super().__init__()
        self.model, self.most, self.given = model, most, []
        self.error = error or torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")

    def forward(self, pixels):
        self.given.append(len(pixels))
        if len(pixels) > self.most:
            raise self.error
        return self.model(pixels)


@pytest.fixture
def cramped(encoder, monkeypatch):
    """What makes the model of an encoder one that takes so many images at once."""

    def cramp(most, error=None):
        model = Cramped(encoder.module, most, error)
        monkeypatch.setattr(encoder._backbone, "module", model)
        monkeypatch.setattr(encoder._backbone, "_capacity", Capacity("cuda:0"))
        return model

    return cramp


def pixels_of(encoder, count):
    return np.stack([encoder.prepare(Image.fromarray(photo)) for photo in photos(count)])


def test_what_does_not_fit_is_computed_in_parts(encoder, cramped, caplog):
    batch = pixels_of(encoder, 11)
    wanted, model = encoder.features(batch), cramped(3)
    np.testing.assert_allclose(encoder.features(batch), wanted, atol=1e-5)
    assert model.given == [11, 6, 3, 3, 3, 2]
    assert [record.getMessage() for record in caplog.records] == [
        "11 images at once do not fit on cuda:0; going on with 6.",
        "6 images at once do not fit on cuda:0; going on with 3.",
    ]
    model.given.clear()
    np.testing.assert_allclose(encoder.features(batch), wanted, atol=1e-5)
    assert model.given == [3, 3, 3, 2]


def test_a_device_that_was_full_is_tried_again_and_that_is_not_told_again(encoder, cramped, monkeypatch, caplog):
    monkeypatch.setattr("geoindex.encoder.capacity.PATIENCE", 4)
    batch, model = pixels_of(encoder, 8), cramped(2)
    for _ in range(6):
        encoder.features(batch)
    assert model.given.count(4) > 1
    assert len(caplog.records) == 2
    model.most = 8
    for _ in range(6):
        encoder.features(batch)
    assert model.given[-1] == 8


@pytest.mark.parametrize("error", [
    None, RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"),
    RuntimeError("CUDA error: out of memory"), RuntimeError("DefaultCPUAllocator: can't allocate memory: 2 GB"),
])  # fmt: skip
def test_not_even_one_image_fits(encoder, cramped, error):
    cramped(0, error)
    with pytest.raises(EncoderError, match="Not even one image fits on cpu; take device cpu"):
        encoder.encode(photos())


def test_another_error_is_not_about_memory(encoder, cramped):
    model = cramped(0, RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        encoder.encode(photos())
    assert model.given == [3]


def test_an_encoder_with_features_of_its_own_is_asked_for_them(encoder, monkeypatch):
    class Own(Encoder):
        def features(self, batch):
            return super().features(batch) * 2

    monkeypatch.setattr(Encoder, "on_gpu", True)
    own = object.__new__(Own)
    vars(own).update(vars(encoder))
    batch = pixels_of(encoder, 2)
    assert isinstance(encoder.features_there(batch), torch.Tensor)
    np.testing.assert_array_equal(own.features_there(batch), encoder.features(batch) * 2)
    monkeypatch.setattr(encoder, "features", lambda batch: batch.mean(axis=(1, 2, 3)))
    np.testing.assert_array_equal(encoder.features_there(batch), batch.mean(axis=(1, 2, 3)))


def test_batches_are_larger_on_a_gpu_unless_the_recipe_says_how_large():
    assert [choose_batch_size(None, kind) for kind in ("cpu", "mps", "cuda")] == [32, 32, 256]
    assert [choose_batch_size(7, kind) for kind in ("cpu", "cuda")] == [7, 7]
    with pytest.raises(ConfigError, match=r"encoding\.batch_size"):
        EncoderRecipe(batch_size=0)
