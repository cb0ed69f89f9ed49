import json
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from geoindex.encoder.preprocessing import Preprocessing
from geoindex.encoder.resampling import held_pixels, resample
from geoindex.errors import EncoderError

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)


def noise(width, height):
    rng = np.random.default_rng(width * 1000 + height)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8))


SIZES = st.integers(1, 90), st.integers(1, 90), st.sampled_from([1.0, 0.9, 0.875]), st.integers(8, 40)
KINDS = st.sampled_from(["bicubic", "bilinear"])


def torchvision_and_ours(size, crop_pct, interpolation):
    transforms = pytest.importorskip("torchvision.transforms")
    mode = transforms.InterpolationMode(interpolation)
    reference = transforms.Compose([transforms.Resize(int(size / crop_pct), mode), transforms.CenterCrop(size)])
    return reference, Preprocessing(size, MEAN, STD, interpolation, crop_pct=crop_pct)


def without_torch(preprocessing, image):
    with pytest.MonkeyPatch.context() as patch:
        patch.delitem(sys.modules, "torch")
        return preprocessing.apply(image)


@settings(max_examples=60, deadline=None)
@given(*SIZES, KINDS)
def test_shortest_without_torch_equals_torchvision_on_images(width, height, crop_pct, size, interpolation):
    reference, preprocessing = torchvision_and_ours(size, crop_pct, interpolation)
    image = noise(width, height)
    assert np.array_equal(without_torch(preprocessing, image), np.asarray(reference(image)).transpose(2, 0, 1))


@settings(max_examples=60, deadline=None)
@given(*SIZES, KINDS)
def test_shortest_with_torch_is_torchvision_on_tensors_but_for_rounding(width, height, crop_pct, size, interpolation):
    reference, preprocessing = torchvision_and_ours(size, crop_pct, interpolation)
    image = noise(3, 3).resize((width + 8, height + 8), Image.Resampling.BILINEAR)  # noise is rounded too differently
    tensor = torch.from_numpy(np.array(image)).permute(2, 0, 1)
    assert np.abs(preprocessing.apply(image).astype(int) - reference(tensor).numpy()).max() <= 2


def test_photos_are_as_good_as_the_same_with_torch_and_without():
    x, y = np.meshgrid(np.linspace(0, 9, 400), np.linspace(0, 7, 300))
    waves = np.stack([np.sin(x * y), np.cos(3 * x), np.sin(2 * y + x)], axis=2)
    image = Image.fromarray((127 * (waves + 1)).astype(np.uint8))
    preprocessing = Preprocessing(100, MEAN, STD)
    off = np.abs(preprocessing.apply(image).astype(int) - without_torch(preprocessing, image))
    assert off.max() == 1  # 0 would say that they are not two
    assert off.mean() < 0.01


def test_torch_leaves_the_numbers_of_a_pixel_together():
    """It unpacks what it takes for planes, which costs a third of a resize."""
    assert resample(noise(50, 40), 25, 20, "bicubic").strides == (4 * 25, 4, 1)


def test_a_large_image_is_resized_like_a_small_one():
    """Pillow holds it in several pieces, which torch cannot take as they are."""
    image = noise(3, 2).resize((2600, 1800))
    pixels = Preprocessing(32, MEAN, STD).apply(image)
    assert np.abs(pixels.astype(int) - Preprocessing(32, MEAN, STD).apply(image.resize((1300, 900)))).max() <= 2


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 90), st.integers(1, 90))
def test_pixels_are_found_where_pillow_holds_them(width, height):
    image = noise(width, height)
    pixels = held_pixels(image)
    assert (pixels.shape, pixels.flags.owndata) == ((height, width, 4), False)
    assert np.array_equal(pixels[..., :3], np.asarray(image))
    assert [held_pixels(image.convert(mode)) for mode in ("L", "F")] == [None, None]  # nothing is taken for such pixels


def test_other_interpolations_are_those_of_pillow():
    image = noise(50, 50)
    for name in ("nearest", "lanczos"):
        expected = np.asarray(image.resize((20, 20), Image.Resampling[name.upper()])).transpose(2, 0, 1)
        assert np.array_equal(Preprocessing(20, MEAN, STD, name).apply(image), expected)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 90),
    st.integers(1, 90),
    st.sampled_from(["shortest", "longest", "squash"]),
    st.floats(0.3, 1.0),
    st.integers(1, 40),
)
def test_the_result_is_always_a_square_of_bytes(width, height, resize, crop_pct, size):
    pixels = Preprocessing(size, MEAN, STD, resize=resize, crop_pct=crop_pct).apply(noise(width, height))
    assert (pixels.shape, pixels.dtype) == ((3, size, size), np.uint8)
    assert pixels.flags.c_contiguous


def test_longest_fills_around_the_whole_image():
    image = Image.new("RGB", (40, 20), (200, 0, 0))
    pixels = Preprocessing(20, MEAN, STD, resize="longest", fill=(1, 2, 3)).apply(image)
    assert pixels[:, 0, 0].tolist() == pixels[:, -1, -1].tolist() == [1, 2, 3]
    assert pixels[:, 10, 0].tolist() == pixels[:, 10, -1].tolist() == [200, 0, 0]


def test_squash_keeps_both_edges():
    image = Image.new("RGB", (60, 20))
    image.paste((255, 0, 0), (0, 0, 20, 20))
    image.paste((0, 0, 255), (40, 0, 60, 20))
    pixels = Preprocessing(30, MEAN, STD, resize="squash", interpolation="nearest").apply(image)
    assert (pixels[:, 15, 0].tolist(), pixels[:, 15, 29].tolist()) == ([255, 0, 0], [0, 0, 255])


def test_it_survives_json():
    preprocessing = Preprocessing(96, MEAN, STD, "bilinear", "longest", 0.9, (1, 2, 3))
    assert Preprocessing.from_dict(json.loads(json.dumps(preprocessing.to_dict()))) == preprocessing


@pytest.mark.parametrize("wrong", [{"resize": "stretch"}, {"interpolation": "magic"}, {"crop_pct": 0.0}, {"size": 0}])
def test_nonsense_is_refused(wrong):
    with pytest.raises(EncoderError):
        Preprocessing(**{"size": 8, "mean": MEAN, "std": STD} | wrong)
