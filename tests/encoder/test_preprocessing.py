import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from geoindex.encoder.preprocessing import Preprocessing
from geoindex.errors import EncoderError

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)


def noise(width, height):
    rng = np.random.default_rng(width * 1000 + height)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8))


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 90), st.integers(1, 90), st.sampled_from([1.0, 0.9, 0.875]), st.integers(8, 40))
def test_shortest_equals_torchvision(width, height, crop_pct, size):
    transforms = pytest.importorskip("torchvision.transforms")
    mode = transforms.InterpolationMode.BICUBIC
    preprocessing = Preprocessing(size, MEAN, STD, crop_pct=crop_pct)
    reference = transforms.Compose([transforms.Resize(int(size / crop_pct), mode), transforms.CenterCrop(size)])
    image = noise(width, height)
    want = np.asarray(reference(image)).transpose(2, 0, 1)
    assert np.array_equal(preprocessing.apply(image), want)


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
