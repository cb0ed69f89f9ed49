"""Images -> features in bulk: order, failures, resumption."""

import errno
import os
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiles import save_tile, world_rows, write_table, write_world

import geoindex.embed
import geoindex.shards
from geoindex.embed import embed_samples
from geoindex.encoder.preprocessing import Preprocessing
from geoindex.errors import EmptyDatasetError, EncoderError, StorageError, UnreadableImageError
from geoindex.shards import Shard
from geoindex.sources import open_source
from geoindex.store.durable import waiting


class Counting:
    """A source that remembers what was read, and can stop."""

    def __init__(self, source, stop_after=None):
        self.source, self.reads, self.stop_after = source, [], stop_after

    @property
    def uri(self):
        return self.source.uri

    def file_of(self, image):
        return self.source.file_of(image)

    def scan(self):
        return self.source.scan()

    def read(self, image):
        if self.stop_after is not None and len(self.reads) >= self.stop_after:
            raise KeyboardInterrupt
        self.reads.append(image)
        return self.source.read(image)


@pytest.fixture
def small_shards(monkeypatch):
    monkeypatch.setattr(geoindex.embed, "SHARD_SAMPLES", 16)


def all_features(embedded):
    return np.concatenate(list(embedded.features()))


def test_features_are_those_of_the_encoder_in_order(world, tiny_encoder, tmp_path, small_shards):
    source = open_source(world)
    samples = source.scan().samples
    embedded = embed_samples(source, samples, tiny_encoder, tmp_path)
    wanted = tiny_encoder.encode([world.parent / name for name in samples.images])
    assert np.array_equal(embedded.rows, np.arange(len(samples)))
    assert np.allclose(all_features(embedded), wanted, atol=2e-3)
    assert embedded.left_out.total == 0


def test_the_size_of_shards_does_not_matter(world, tiny_encoder, tmp_path, monkeypatch):
    source = open_source(world)
    samples = source.scan().samples
    whole = all_features(embed_samples(source, samples, tiny_encoder, tmp_path / "a"))
    monkeypatch.setattr(geoindex.embed, "SHARD_SAMPLES", 7)
    parts = all_features(embed_samples(source, samples, tiny_encoder, tmp_path / "b"))
    assert np.allclose(whole, parts, atol=2e-3)


def test_a_stopped_run_goes_on_and_reads_nothing_twice(world, tiny_encoder, tmp_path, small_shards):
    source = open_source(world)
    samples = source.scan().samples
    first = Counting(source, stop_after=70)
    with pytest.raises(KeyboardInterrupt):
        embed_samples(first, samples, tiny_encoder, tmp_path)
    finished = len(list(tmp_path.rglob("shard-*.npz"))) * 16
    assert 0 < finished <= 70
    second = Counting(source)
    embedded = embed_samples(second, samples, tiny_encoder, tmp_path)
    assert sorted(second.reads) == sorted(samples.images[finished:])
    whole = embed_samples(source, samples, tiny_encoder, tmp_path / "other")
    assert np.array_equal(all_features(embedded), all_features(whole))
    third = Counting(source)
    embed_samples(third, samples, tiny_encoder, tmp_path)
    assert third.reads == []


def test_other_samples_or_another_encoder_start_anew(world, tiny_encoder, tmp_path):
    source = open_source(world)
    samples = source.scan().samples
    embed_samples(source, samples, tiny_encoder, tmp_path)
    fewer = Counting(source)
    embed_samples(fewer, samples.take(np.arange(10)), tiny_encoder, tmp_path)
    assert len(fewer.reads) == 10


def test_unreadable_images_are_left_out_with_reasons(tiny_encoder, tmp_path, small_shards):
    rows = world_rows(per_hub=3)
    table = write_world(tmp_path / "world", rows)
    (table.parent / rows[0][0]).write_bytes(b"")
    cut = table.parent / rows[1][0]
    cut.write_bytes(cut.read_bytes()[:300])
    (table.parent / rows[2][0]).unlink()
    source = open_source(table)
    samples = source.scan().samples
    embedded = embed_samples(source, samples, tiny_encoder, tmp_path / "work")
    assert embedded.rows.tolist() == list(range(3, len(rows)))
    assert len(all_features(embedded)) == len(rows) - 3
    left_out = embedded.left_out.to_dict()
    assert {entry["examples"][0] for entry in left_out.values()} == {row[0] for row in rows[:3]}
    assert len(left_out) == 3
    assert all(entry["broken"] and entry["count"] == 1 for entry in left_out.values())


def test_images_that_were_mended_are_tried_again(tiny_encoder, tmp_path, small_shards):
    rows = world_rows(per_hub=3)
    table = write_table(tmp_path / "world" / "metadata.csv", rows)
    source = open_source(table)
    samples = source.scan().samples
    with pytest.raises(EmptyDatasetError, match="None of the 24 images could be read"):
        embed_samples(source, samples, tiny_encoder, tmp_path / "work")
    for name, lat, lon, *_ in rows[4:]:
        save_tile(table.parent / name, lat, lon)
    embedded = embed_samples(source, samples, tiny_encoder, tmp_path / "work")
    assert embedded.rows.tolist() == list(range(4, 24))
    assert embedded.left_out.total == 4
    for name, lat, lon, *_ in rows[:4]:
        save_tile(table.parent / name, lat, lon)
    again = Counting(source)
    embedded = embed_samples(again, samples, tiny_encoder, tmp_path / "work")
    assert sorted(again.reads) == sorted(row[0] for row in rows[:4])
    wanted = tiny_encoder.encode([table.parent / name for name in samples.images])
    assert np.allclose(all_features(embedded), wanted, atol=2e-3)
    assert embedded.left_out.total == 0


def test_an_error_of_ours_in_a_thread_is_not_a_bad_image(world, tiny_encoder, tmp_path):
    class Broken(Counting):
        def read(self, image):
            raise ZeroDivisionError

    source = Broken(open_source(world))
    with pytest.raises(ZeroDivisionError):
        embed_samples(source, source.scan().samples, tiny_encoder, tmp_path)
    assert not list(tmp_path.rglob("shard-*"))


def test_a_source_that_fails_one_image_loses_that_one_only(world, tiny_encoder, tmp_path):
    class Picky(Counting):
        def read(self, image):
            if image.startswith("us-"):
                raise UnreadableImageError(image, "it is American")
            return super().read(image)

    source = Picky(open_source(world))
    samples = source.scan().samples
    embedded = embed_samples(source, samples, tiny_encoder, tmp_path)
    assert embedded.left_out.counts == {"it is American": 12}
    assert [samples.images[row][:2] for row in embedded.rows].count("us") == 0


def test_a_source_of_embeddings_needs_no_encoder(tmp_path):
    source = open_source("planted:50?dim=8")
    samples = source.scan().samples
    embedded = embed_samples(source, samples, None, tmp_path)
    assert all_features(embedded).shape == (50, 8)
    assert np.allclose(all_features(embedded), source.features(samples), atol=1e-3)


def test_an_image_that_was_replaced_since_is_embedded_again(tmp_path, tiny_encoder):
    table = write_world(tmp_path / "world", world_rows()[:6])
    source = open_source(table)
    samples = source.scan().samples
    embed_samples(source, samples, tiny_encoder, tmp_path / "work")
    replaced = table.parent / samples.images[2]
    Image.new("RGB", (48, 48), (1, 2, 3)).save(replaced)
    again = Counting(source)
    embedded = embed_samples(again, samples, tiny_encoder, tmp_path / "work")
    assert again.reads == [samples.images[2]]
    wanted = tiny_encoder.encode([table.parent / name for name in samples.images])
    assert np.allclose(all_features(embedded), wanted, atol=2e-3)


def test_a_damaged_shard_is_made_again(tmp_path, tiny_encoder, world):
    source = open_source(world)
    samples = source.scan().samples
    embed_samples(source, samples, tiny_encoder, tmp_path)
    shard = next(tmp_path.rglob("shard-*"))
    shard.write_bytes(shard.read_bytes()[:100])
    again = Counting(source)
    embedded = embed_samples(again, samples, tiny_encoder, tmp_path)
    assert len(again.reads) == len(samples) == len(embedded.rows)


class Moody:
    """An encoder that cannot encode dark images, and finds bright ones too large."""

    fingerprint, dim, batch_size = "moody", 2, 4
    preprocessing = Preprocessing(8, (0.5,) * 3, (0.5,) * 3)

    def features(self, batch):
        level = batch[:, 0, 0, 0].astype(np.float32)
        if (level < 50).any():
            raise EncoderError("Feature 0 is not finite.")
        return np.stack([np.where(level > 200, 1e6, level), level], axis=1)


def test_an_image_that_the_encoder_refuses_costs_no_other(tmp_path):
    levels = [100, 10, 120, 250, 130, 140]
    lines = ["file,lat,lon"]
    for number, level in enumerate(levels):
        Image.new("RGB", (8, 8), (level,) * 3).save(tmp_path / f"{number}.png")
        lines.append(f"{number}.png,1.0,{number}.5")
    (tmp_path / "t.csv").write_text("\n".join(lines))
    source = open_source(tmp_path / "t.csv")
    embedded = embed_samples(source, source.scan().samples, Moody(), tmp_path / "work")
    assert embedded.rows.tolist() == [0, 2, 4, 5]
    assert all_features(embedded)[:, 1].tolist() == [100, 120, 130, 140]
    assert embedded.left_out.counts == {
        "Feature 0 is not finite": 1,
        "its features are too large for float16": 1,
    }


class Events:
    """An encoder and a source that tell when they encode and read, and what is written meanwhile."""

    fingerprint, dim, batch_size = "events", 2, 4
    preprocessing = Preprocessing(8, (0.5,) * 3, (0.5,) * 3)

    def __init__(self, source):
        self.source, self.events, self.read_next = source, [], threading.Event()
        self.uri, self.file_of, self.scan = source.uri, source.file_of, source.scan

    def read(self, image):
        self.events.append(f"read {image[:2]}")
        if image.startswith("us"):
            self.read_next.set()
        return self.source.read(image)

    def features(self, batch):
        self.events.append("encode")
        return np.ones((len(batch), 2), np.float32)


def test_the_next_shard_is_read_while_one_is_encoded(world, tmp_path, monkeypatch):
    monkeypatch.setattr(geoindex.embed, "SHARD_SAMPLES", 12)  # one of each hub
    both = Events(open_source(world))
    encode = both.features

    def features(batch):
        if both.events.count("encode") == 2:  # the last batch of the first shard
            assert both.read_next.wait(10)
        return encode(batch)

    both.features = features
    embed_samples(both, both.scan().samples, both, tmp_path)
    assert both.events.count("encode") == 24


def test_a_shard_is_written_while_the_next_is_encoded(world, tiny_encoder, tmp_path, monkeypatch):
    monkeypatch.setattr(geoindex.embed, "SHARD_SAMPLES", 32)
    encoded, written, write = threading.Event(), [], geoindex.shards.write_durably
    features = tiny_encoder.features

    def slow(path, data):
        if not written:
            assert encoded.wait(10)
        written.append(path.name)
        write(path, data)

    monkeypatch.setattr("geoindex.shards.write_durably", slow)
    count = iter(range(10))
    monkeypatch.setattr(tiny_encoder, "features", lambda batch: (next(count) and encoded.set(), features(batch))[1])
    source = open_source(world)
    embedded = embed_samples(source, source.scan().samples, tiny_encoder, tmp_path)
    assert written == [f"shard-{number:06d}.npz" for number in range(3)]
    assert len(all_features(embedded)) == 96


def test_a_disk_that_refuses_a_shard_is_told(world, tiny_encoder, tmp_path, small_shards, monkeypatch):
    def full(path, data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("geoindex.shards.write_durably", full)
    source = open_source(world)
    with pytest.raises(StorageError, match="is full"):
        embed_samples(source, source.scan().samples, tiny_encoder, tmp_path)
    one = source.scan().samples.take(np.arange(3))
    with pytest.raises(StorageError, match="is full"):
        embed_samples(source, one, tiny_encoder, tmp_path)  # the last shard is no exception


@pytest.mark.parametrize("durability", ["durable", "fast"])
def test_shards_wait_for_the_disk_only_if_they_are_to(tmp_path, monkeypatch, durability):
    synced = []
    monkeypatch.setattr(os, "fsync", synced.append)
    source = open_source("planted:50?dim=8")
    with waiting(durability):
        embed_samples(source, source.scan().samples, None, tmp_path)
    assert bool(synced) == (durability == "durable")


def test_no_thread_is_left(world, tiny_encoder, tmp_path, small_shards):
    before = set(threading.enumerate())
    source = open_source(world)
    with pytest.raises(KeyboardInterrupt):
        embed_samples(Counting(source, stop_after=40), source.scan().samples, tiny_encoder, tmp_path)
    embed_samples(source, source.scan().samples, tiny_encoder, tmp_path)
    assert set(threading.enumerate()) <= before


def test_an_image_file_is_opened_once(world, tiny_encoder, tmp_path, monkeypatch):
    opened, open_path = [], Path.open
    monkeypatch.setattr(Path, "open", lambda self, *a, **k: (opened.append(self.name), open_path(self, *a, **k))[1])
    source = open_source(world)
    samples = source.scan().samples.take(np.arange(5))
    embed_samples(source, samples, tiny_encoder, tmp_path)
    assert [opened.count(Path(image).name) for image in samples.images] == [1] * 5


def test_a_shard_without_features_keeps_none_in_memory():
    shard = Shard(np.arange(3), np.ones((3, 4), np.float16), np.full(3, "", np.str_), {})
    bare = shard.without_features()
    assert bare.features.shape == (0, 4)
    assert bare.features.base is None
