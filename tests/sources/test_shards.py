"""Tar archives: WebDataset shards of OSV-5M with stored embeddings, and MP16-Pro in parts."""

import io
import json
import pickle
import tarfile

import numpy as np
import pytest
from tiles import HUBS, tile

import geoindex
from geoindex.errors import ConfigError, DatasetNotFoundError, EmptyDatasetError, UnreadableImageError
from geoindex.evaluation.benchmarks import open_benchmark
from geoindex.evaluation.protocol import evaluate
from geoindex.sources import open_source
from geoindex.sources.mp16 import NO_MEMBER, Mp16
from geoindex.sources.osv5m_shards import DAMAGED, Osv5mShardEmbeddings, Osv5mShards
from geoindex.sources.tars import Tars

DIM = 12


def write_tar(path, members):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def array_bytes(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def picture(lat, lon):
    file = io.BytesIO()
    tile(lat, lon).save(file, "JPEG")
    return file.getvalue()


def sample_of(number):
    """Return the members of a sample, whose embedding tells its hub."""
    hub = number % len(HUBS)
    lat, lon = (value + 0.1 * (number % 7) for value in list(HUBS.values())[hub])
    vector = np.random.default_rng(number).normal(0, 0.2, DIM) + 3.0 * np.eye(DIM)[hub]
    facts = {
        "latitude": lat, "longitude": lon, "country": "NL", "unique_country": "NL", "sub-region": None,
        "sequence": f"seq{number % 5}", "creator_username": "kim", "captured_at": 1558000000123,
    }  # fmt: skip
    return {
        f"{number}.jpg": picture(lat, lon),
        f"{number}.json": json.dumps(facts).encode(),
        f"{number}.street_clip.npy": array_bytes(vector.astype(np.float16)[None]),
        f"{number}.dinov2_vitl14_registers.npy": array_bytes(np.ones(5, np.float32)),
    }


def shard(path, numbers):
    return write_tar(path, {name: data for number in numbers for name, data in sample_of(number).items()})


@pytest.fixture
def root(tmp_path):
    shard(tmp_path / "train" / "0000.tar", range(100))
    shard(tmp_path / "train" / "0001.tar", range(100, 160))
    shard(tmp_path / "test" / "0000.tar", range(160, 200))
    return tmp_path


def test_shards_are_read_in_place(root):
    source = open_source(f"osv5m-wds:{root}")
    scan = source.scan()
    assert (len(scan.samples), scan.left_out.total) == (160, 0)
    sample = next(sample for sample in scan.samples if sample.id == "103")
    assert (sample.image, sample.lat) == ("0001.tar/103", pytest.approx(list(HUBS.values())[7][0] + 0.5))
    assert sample.labels["sequence"] == "seq3"
    assert sample.labels["captured_at"] == "2019-05-16T09:46:40Z"
    assert source.read(sample.image) == sample_of(103)["103.jpg"]
    assert source.file_of(sample.image) == root / "train" / "0001.tar"
    assert pickle.loads(pickle.dumps(source)).read(sample.image) == source.read(sample.image)


def test_stored_embeddings_come_in_the_order_of_the_samples(root):
    source = open_source(f"osv5m-wds:{root}?split=train&embedding=street_clip")
    samples = source.scan().samples
    order = np.random.default_rng(0).permutation(len(samples))
    features = source.features(samples.take(order))
    assert (features.shape, features.dtype, source.dim) == ((160, DIM), np.float32, DIM)
    wanted = [
        np.load(io.BytesIO(sample_of(int(id))[f"{id}.street_clip.npy"])).ravel() for id in samples.take(order).ids
    ]
    np.testing.assert_array_equal(features, np.array(wanted, np.float32))
    other = open_source(f"osv5m-wds:{root}?embedding=dinov2_vitl14_registers")
    assert (other.dim, other.fingerprint == source.fingerprint) == (5, False)
    assert open_source(source.uri) == source


def test_an_index_is_built_and_asked_without_an_encoder(root, tmp_path):
    built = geoindex.build_index(
        f"osv5m-wds:{root}?split=train&embedding=street_clip", out=tmp_path / "index", split_by="sequence",
        geocells={"n_cells": 8},
    )  # fmt: skip
    report = evaluate(built.path, benchmark="osv5m", root=root)
    assert (report.count, report.in_gallery, report.encoder) == (40, 0, "")
    assert report.row("1-NN").median_km < 200
    assert report.own.median_km < 500
    assert isinstance(open_benchmark("osv5m", root), Osv5mShards)  # another index asks with the images


def test_a_shard_that_was_cut_off_gives_what_came(root):
    path = root / "train" / "0001.tar"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    scan = Osv5mShards(root).scan()
    assert 100 < len(scan.samples) < 160
    path.write_bytes(b"no archive" * 100)
    scan = Osv5mShards(root).scan()
    assert (len(scan.samples), scan.left_out.examples) == (100, {DAMAGED: ["0001.tar"]})


def test_a_damaged_embedding_is_named(root):
    members = sample_of(1) | {"1.street_clip.npy": array_bytes(np.ones(3))}
    write_tar(root / "train" / "0000.tar", sample_of(0) | members)
    source = Osv5mShardEmbeddings(root)
    with pytest.raises(UnreadableImageError, match=r"0000\.tar/1\.street_clip\.npy.*3 numbers and others have 12"):
        source.features(source.scan().samples)


def test_what_is_missing_is_named(root, tmp_path):
    with pytest.raises(ConfigError, match="choose one of train, val, test"):
        Osv5mShards(root, "dev")
    with pytest.raises(DatasetNotFoundError, match=r"'val/0000\.tar'.*osv5m/osv5m-wds"):
        Osv5mShards(root, "val").scan()
    with pytest.raises(DatasetNotFoundError, match=r"no embedding 'clip'.*street_clip and dinov2"):
        Osv5mShardEmbeddings(root, "train", "clip")
    write_tar(tmp_path / "val" / "0000.tar", {"1.jpg": b"x"})
    with pytest.raises(EmptyDatasetError, match="no usable sample"):
        Osv5mShards(tmp_path, "val").scan()


MP16 = "IMG_ID,AUTHOR,LAT,LON,city,county,state,country_code"


@pytest.fixture
def mp16(tmp_path):
    """Three photos in a tar that was cut into parts in the middle of the second; a fourth is a placeholder."""
    (tmp_path / "metadata").mkdir()
    rows = [f"a{n}/b/{n}.jpg,kim,{n}.5,{n}.25,Ulm,Alb,Baden,DE" for n in range(1, 6)]
    (tmp_path / "metadata" / "MP16_Pro_filtered.csv").write_text("\n".join([MP16, *rows]) + "\n")
    photos = {f"mp-16-images/a{n}_b_{n}.jpg": bytes([n]) * 6000 for n in (1, 2, 3)}
    whole = write_tar(tmp_path / "whole", photos | {"mp-16-images/a4_b_4.jpg": b"gone"}).read_bytes()
    for part in range(3):
        (tmp_path / f"mp-16-images{part:02d}").write_bytes(whole[part * 9000 : (part + 1) * 9000 if part < 2 else None])
    (tmp_path / "whole").unlink()
    return tmp_path


def test_parts_are_read_without_being_joined(mp16):
    source = open_source(f"mp16:{mp16}")
    scan = source.scan()
    assert scan.samples.ids == ["a1/b/1.jpg", "a2/b/2.jpg", "a3/b/3.jpg"]
    assert [source.read(image) for image in scan.samples.images] == [bytes([n]) * 6000 for n in (1, 2, 3)]
    assert scan.left_out.examples == {NO_MEMBER: ["a4/b/4.jpg", "a5/b/5.jpg"]}
    labels = {"author": "kim", "city": "Ulm", "region": "Baden", "country": "DE", "sub_region": "Alb"}
    assert scan.samples[0].labels == labels


def test_the_first_parts_are_a_fair_copy(mp16):
    (mp16 / "mp-16-images02").unlink()
    samples = Mp16(mp16).scan().samples
    assert samples.ids == ["a1/b/1.jpg", "a2/b/2.jpg"]


def test_the_joined_archive_is_read_too(mp16):
    parts = sorted(mp16.glob("mp-16-images0?"))
    (mp16 / "mp-16-images.tar").write_bytes(b"".join(part.read_bytes() for part in parts))
    for part in parts:
        part.unlink()
    source = Mp16(mp16)
    assert len(source.scan().samples) == 3
    assert source.file_of("x") == mp16 / "mp-16-images.tar"


def test_mp16_says_what_is_missing(mp16):
    for part in mp16.glob("mp-16-images0?"):
        part.write_bytes(b"")
    with pytest.raises(DatasetNotFoundError, match="cannot be read"):
        Mp16(mp16).scan()
    for part in mp16.glob("mp-16-images0?"):
        part.unlink()
    with pytest.raises(DatasetNotFoundError, match=r"'mp-16-images00' and so on.*Jia-py/MP16-Pro"):
        Mp16(mp16).scan()
    with pytest.raises(ConfigError, match="it takes none"):
        open_source(f"mp16:{mp16}?split=train")


def test_members_that_are_not_there(root):
    tars = Tars(root / "train")
    for archive, member in (("0000.tar", "x.jpg"), ("0009.tar", "1.jpg")):
        with pytest.raises(UnreadableImageError, match=f"{archive}/"):
            tars.read(archive, member)


def test_only_the_last_directories_are_kept(root, monkeypatch):
    monkeypatch.setattr("geoindex.sources.tars.KEPT", 1)
    tars = Tars(root / "train")
    assert tars.directory("0000.tar") is tars.directory("0000.tar")
    tars.directory("0001.tar")
    assert list(tars._directories) == ["0001.tar"]
