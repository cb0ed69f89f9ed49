import numpy as np
import torch

from geoindex.training.augmentation import vary


def images(count=6, size=32):
    ramp = torch.arange(size, dtype=torch.float32) * (200 / size)
    return ramp.expand(count, 3, size, size).to(torch.uint8)  # lighter from left to right


def test_no_strength_leaves_images_alone():
    assert torch.equal(vary(images(), 0.0, np.random.default_rng(0)), images().float())


def test_images_are_never_mirrored_or_turned():
    varied = vary(images(200), 1.0, np.random.default_rng(0))
    assert (varied[..., 24:].mean(dim=(1, 2, 3)) > varied[..., :8].mean(dim=(1, 2, 3)) + 50).all()
    rows = varied.mean(dim=(1, 3))
    assert (rows[:, 24:].mean(dim=1) - rows[:, :8].mean(dim=1)).abs().max() < 5


def test_each_image_is_varied_on_its_own_and_the_same_seed_gives_the_same():
    first, again = (vary(images(), 1.0, np.random.default_rng(1)) for _ in range(2))
    assert torch.equal(first, again)
    assert len({round(float(image.mean()), 3) for image in first}) == 6
    assert first.min() >= 0
    assert first.max() <= 255
