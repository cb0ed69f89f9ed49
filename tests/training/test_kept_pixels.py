"""The file of prepared images: whole or not there."""

import errno
import multiprocessing
import os

import numpy as np
import pytest
import torch
from PIL import Image
from tiles import write_table

from geoindex.encoder.preprocessing import Preprocessing
from geoindex.errors import StorageError
from geoindex.shards import stamp_of
from geoindex.sources import open_source
from geoindex.training.pixels import PixelCache, PixelReader, PreparedImages, Read, _leave_group, kept_images


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


NAMES = [f"{number}.png" for number in range(4)]
PLAIN = Preprocessing(8, (0.5,) * 3, (0.5,) * 3)


@pytest.fixture
def photos(tmp_path):
    """Return a source of three grey photos; that of the last row is missing."""
    for number, name in enumerate(NAMES[:3]):
        Image.new("L", (8, 8), 10 * number).save(tmp_path / name)
    rows = [(name, number, 0, "", "") for number, name in enumerate(NAMES)]
    return open_source(str(write_table(tmp_path / "photos.csv", rows)))


def filled(source, path):
    """Return the reader of a complete file, and the first value of each image that it has."""
    stamps = [stamp_of(source.file_of(name)) for name in NAMES]
    reader = PixelReader(PreparedImages(source, NAMES, PLAIN), PixelCache(path, 4, 8, stamps))
    (read,) = reader.batches([np.arange(4)])
    assert reader.cache.complete
    return reader, dict(zip(read.rows.tolist(), read.pixels[:, 0, 0, 0].tolist(), strict=True))


def test_a_photo_that_was_replaced_is_read_again_and_no_other(photos, tmp_path):
    path = tmp_path / "work" / "pixels.npy"
    assert filled(photos, path)[1] == {0: 0, 1: 10, 2: 20}
    Image.new("L", (8, 8), 200).save(tmp_path / NAMES[1], compress_level=0)
    (tmp_path / NAMES[2]).unlink()
    Image.new("L", (8, 8), 30).save(tmp_path / NAMES[3])  # could not be read when the fit began
    reader, values = filled(photos, path)
    assert values == {0: 0, 1: 200, 2: 20}
    assert not len(reader.cache.changed)
    assert not len(PixelCache(path, 4, 8, [stamp_of(photos.file_of(name)) for name in NAMES]).changed)
    Image.new("L", (8, 8), 20).save(tmp_path / NAMES[2], compress_level=0)  # another one is there
    assert filled(photos, path)[1] == {0: 0, 1: 200, 2: 20}


def test_a_kill_while_changed_photos_are_read_again_spoils_nothing(photos, tmp_path, monkeypatch):
    path = tmp_path / "work" / "pixels.npy"
    filled(photos, path)
    for name in NAMES[:2]:
        Image.new("L", (8, 8), 200).save(tmp_path / name, compress_level=0)
    monkeypatch.setattr("geoindex.training.pixels.ROWS_AT_ONCE", 1)
    with monkeypatch.context() as patch:
        patch.setattr(PixelCache, "_finish", refusing(errno.EIO))
        with pytest.raises(OSError, match=os.strerror(errno.EIO)):
            filled(photos, path)
    assert filled(photos, path)[1] == {0: 200, 1: 200, 2: 20}


def test_a_photo_that_was_replaced_since_is_not_handed_out_as_prepared(photos, tmp_path):
    path = tmp_path / "work" / "pixels.npy"
    assert kept_images(photos, NAMES, path) is photos
    filled(photos, path)
    kept = kept_images(photos, NAMES, path)
    assert kept.prepared(NAMES[1]).max() == 10
    Image.new("L", (8, 8), 200).save(tmp_path / NAMES[1], compress_level=0)
    assert kept.prepared(NAMES[1]) is None
    assert kept.prepared(NAMES[2]).max() == 20
    assert kept.prepared(NAMES[3]) is None


def test_a_file_of_an_earlier_version_is_not_trusted(photos, tmp_path):
    """It tells nothing of the photos that it was filled with."""
    path = tmp_path / "pixels.npy"
    np.save(path, np.ones((4, 3, 8, 8), np.uint8))
    path.with_suffix(".done").write_text("{}")
    assert kept_images(photos, NAMES, path) is photos
    assert filled(photos, path)[1] == {0: 0, 1: 10, 2: 20}


def test_workers_leave_the_process_group():
    context = multiprocessing.get_context("spawn")
    theirs = context.Queue()
    process = context.Process(target=tell_group, args=(theirs,))
    process.start()
    assert theirs.get(timeout=60) == process.pid != os.getpgid(0)
    process.join()


def tell_group(queue):
    _leave_group(0)
    queue.put(os.getpgid(0))
