"""What a fit leaves behind is read by a process that has neither the training extra nor the training code."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from geoindex.assembly import finetuning
from geoindex.encoder import load_encoder
from geoindex.pipeline import read_samples
from geoindex.recipe import EncoderRecipe, FineTuningRecipe, Recipe, TrainingRecipe
from geoindex.sources import open_source
from geoindex.training.tuned import read_heads

SPEC = "timm:vit_tiny_patch16_224/random?depth=2&img_size=32&patch_size=16&embed_dim=24&num_heads=2&seed=0"
RECIPE = Recipe(
    source="synthetic:60?seed=0&size=32",
    encoding=EncoderRecipe(batch_size=32, device="cpu"),
    training=TrainingRecipe(method="images", epochs=1, places=8, images=2),
)
ALONE = """
import sys
for name in ("peft", "tensorboard", "torch.utils.tensorboard"):
    sys.modules[name] = None  # importing it fails
import numpy as np
from geoindex.encoder import load_encoder
from geoindex.training.tuned import read_heads
folder, out = sys.argv[1:]
encoder, heads = load_encoder(folder), read_heads(folder)
pixels = np.load(out + "/pixels.npy")
np.save(out + "/embeddings.npy", heads.projection.apply(encoder.features(pixels)))
np.save(out + "/cells.npy", heads.cells)
loaded = [name for name in sys.modules if name.startswith("geoindex.training.") and name != "geoindex.training.tuned"]
assert not loaded, loaded
"""


@pytest.mark.parametrize("weights", ["all", "lora"])
def test_the_export_gives_the_same_embeddings_in_a_process_of_its_own(weights, tmp_path, monkeypatch):
    if weights == "lora":
        pytest.importorskip("peft")
    recipe = replace(RECIPE, finetuning=FineTuningRecipe(weights=weights, lr=1e-2, dtype="float32", augment=0.0))
    source = open_source(recipe.source)
    samples, split, _ = read_samples(source, recipe)
    seen = {}
    export = finetuning._export

    def kept(fit, *rest):
        seen["pixels"] = next(iter(fit.job.reader.batches([np.arange(20)]))).pixels
        import torch

        with torch.no_grad():
            seen["embeddings"] = fit.validated.eval().embed(seen["pixels"]).numpy()
        export(fit, *rest)

    monkeypatch.setattr(finetuning, "_export", kept)
    before = load_encoder(SPEC, recipe.encoding)
    folder = finetuning.finetune(source, samples, split, before, recipe, tmp_path)
    np.save(tmp_path / "pixels.npy", seen["pixels"].numpy())
    subprocess.run([sys.executable, "-c", ALONE, str(folder), str(tmp_path)], check=True)
    np.testing.assert_allclose(np.load(tmp_path / "embeddings.npy"), seen["embeddings"], atol=2e-5)
    np.testing.assert_array_equal(np.load(tmp_path / "cells.npy"), read_heads(folder).cells)
