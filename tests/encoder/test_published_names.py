"""Names of models that people ask for: the installed libraries know them, and prepare images as they were trained."""

import pytest

from geoindex.encoder.backbone import library_of
from geoindex.encoder.clip_config import OTHER_TYPES
from geoindex.encoder.loading import outline_encoder
from geoindex.encoder.spec import parse_spec
from geoindex.recipe import EncoderRecipe

pytest.importorskip("torch")

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
SATELLITE = ((0.43, 0.411, 0.296), (0.213, 0.156, 0.143))
HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))

TIMM = [
    ("vit_small_patch14_dinov2.lvd142m", 384, 518, IMAGENET, "bicubic", "shortest", 1.0),
    ("vit_small_patch14_reg4_dinov2.lvd142m", 384, 518, IMAGENET, "bicubic", "shortest", 1.0),
    ("vit_small_patch16_dinov3.lvd1689m", 384, 256, IMAGENET, "bicubic", "shortest", 1.0),
    ("vit_large_patch16_dinov3.sat493m", 1024, 256, SATELLITE, "bicubic", "shortest", 1.0),
    ("vit_base_patch16_siglip_224.v2_webli", 768, 224, HALF, "bicubic", "shortest", 0.9),
    ("vit_pe_core_tiny_patch16_384.fb", 192, 384, HALF, "bicubic", "shortest", 1.0),
    ("vit_pe_spatial_tiny_patch16_512.fb", 192, 512, HALF, "bicubic", "shortest", 1.0),
]
"""Name, length of features, and preprocessing; all are built with one block."""

OPEN_CLIP = [
    ("PE-Core-T-16-384/meta", 512, 384, HALF, "bilinear", "squash"),
    ("PE-Core-B-16/meta", 1024, 224, HALF, "bilinear", "squash"),
    ("ViT-B-16-SigLIP2/webli", 768, 224, HALF, "bicubic", "squash"),
    ("ViT-L-14-336/openai", 768, 336, CLIP, "bicubic", "shortest"),
]
"""Likewise; the first two and SigLIP2 are towers of timm, which takes no depth here."""


def check(name, dim, preprocessing):
    spec = parse_spec(name)
    assert library_of(spec.library).remote_weights(spec).repo.startswith("timm/")
    encoder = outline_encoder(name, EncoderRecipe())
    found = encoder.preprocessing
    assert encoder.dim == dim
    assert (found.size, (found.mean, found.std), found.interpolation, found.resize, found.crop_pct) == preprocessing


@pytest.mark.parametrize(("name", "dim", "size", "colours", "interpolation", "resize", "crop"), TIMM)
def test_models_of_timm(name, dim, size, colours, interpolation, resize, crop):
    check(f"timm:{name}?depth=1", dim, (size, colours, interpolation, resize, crop))


@pytest.mark.parametrize(
    ("name", "dim", "size", "colours", "interpolation", "resize"),
    [OPEN_CLIP[0], *(pytest.param(*row, marks=pytest.mark.slow) for row in OPEN_CLIP[1:])],
)
def test_models_of_open_clip(name, dim, size, colours, interpolation, resize):
    check(f"open_clip:{name}", dim, (size, colours, interpolation, resize, 1.0))


@pytest.mark.parametrize("name", [f"timm:{row[0]}" for row in TIMM] + [f"open_clip:{row[0]}" for row in OPEN_CLIP])
def test_all_names_mean_something(name):
    spec = parse_spec(name)
    library = library_of(spec.library)
    assert library.architecture(spec, None).model == spec.model
    assert library.remote_weights(spec).repo


@pytest.mark.parametrize("name", OTHER_TYPES.values())
def test_the_names_of_messages_exist(name):
    test_all_names_mean_something(name)
