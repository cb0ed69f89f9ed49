"""The file of prepared images: whole or not there."""

import errno
import os

import numpy as np
import pytest
import torch

from geoindex.errors import StorageError
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


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="this system takes no room before a file is written")
def test_its_room_is_taken_at_once(tmp_path):
    cache = PixelCache(tmp_path / "pixels.npy", 100, 64)
    facts = next(tmp_path.iterdir()).stat()
    assert 512 * facts.st_blocks >= facts.st_size > 100 * 3 * 64 * 64
    assert not cache.complete


def refusing(code):
    def refuse(*args):
        raise OSError(code, os.strerror(code))

    return refuse


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="this system takes no room before a file is written")
def test_a_full_disk_is_one_sentence_before_an_image_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "posix_fallocate", refusing(errno.ENOSPC))
    with pytest.raises(StorageError, match=r"^The disk of [^\n]+ is full; [^\n]+\.$"):
        PixelCache(tmp_path / "pixels.npy", 10, 8)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="this system takes no room before a file is written")
def test_a_file_system_that_takes_no_room_ahead_will_do(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "posix_fallocate", refusing(errno.EOPNOTSUPP))
    cache = PixelCache(tmp_path / "pixels.npy", 10, 8)
    cache.keep(batch(0))
    cache.keep(batch(5))
    assert cache.complete
