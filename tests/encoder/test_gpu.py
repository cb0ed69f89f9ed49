"""Encoders on a GPU."""

import numpy as np
import pytest

from geoindex.encoder import load_encoder, open_encoder
from geoindex.encoder.check_images import check_batches
from geoindex.recipe import EncoderRecipe

pytestmark = pytest.mark.gpu

SPEC = "timm:vit_tiny_patch16_224/random?img_size=32&depth=2&embed_dim=48&num_heads=3"


def test_torch_computes_there_whatever_else_is_installed(tmp_path, monkeypatch):
    monkeypatch.setattr("geoindex.encoder.backends.FASTEST", ("openvino", "onnx"))
    exact = load_encoder(SPEC, EncoderRecipe(device="cpu"))
    found = open_encoder(SPEC, EncoderRecipe(device="auto"), exact.fingerprint, kept=tmp_path)
    assert (found.backend, found.device) == ("torch", "cuda")
    assert list(tmp_path.iterdir()) == []
    batch = check_batches(exact.image_size)[-1]
    a, b = exact.features(batch), found.features(batch)
    assert ((a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)).min() > 0.99
