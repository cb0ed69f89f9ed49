"""The file of prepared images: whole or not there."""

import numpy as np
import torch

from geoindex.training.pixels import PixelCache, Read


def batch(first, value=7, size=8):
    """Return five images of one colour from a row on."""
    return Read(np.arange(first, first + 5), torch.full((5, 3, size, size), value, dtype=torch.uint8), {})


def seen(cache):
    """Return the colour of each of ten images."""
    return cache.read(np.arange(10)).pixels[:, 0, 0, 0].tolist()


def test_two_that_fill_one_file_do_not_spoil_it(tmp_path):
    path = tmp_path / "pixels.npy"
    one = PixelCache(path, 10, 8)
    one.keep(batch(0))
    other = PixelCache(path, 10, 8)
    one.keep(batch(5))
    assert seen(PixelCache(path, 10, 8)) == seen(one) == [7] * 10
    other.keep(batch(0))
    other.keep(batch(5))
    assert seen(PixelCache(path, 10, 8)) == seen(other) == [7] * 10


def test_half_a_file_is_not_trusted(tmp_path):
    path = tmp_path / "pixels.npy"
    PixelCache(path, 10, 8).keep(batch(0))
    assert list(tmp_path.iterdir()) == []
    again = PixelCache(path, 10, 8)
    assert not again.complete
    again.keep(batch(0))
    again.keep(batch(5))
    assert PixelCache(path, 10, 8).complete
    path.with_suffix(".done").unlink()
    assert not PixelCache(path, 10, 8).complete
