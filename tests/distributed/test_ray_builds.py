"""Builds on a Ray cluster equal local ones, whatever dies meanwhile."""

import sys

import numpy as np
import pytest
from tiles import world_rows, write_world

import geoindex
import geoindex.embed
from geoindex.errors import ClusterError, ConfigError, MissingExtraError
from geoindex.integrity import verify_index
from geoindex.pipeline import build_from
from geoindex.progress import Stages
from geoindex.sources import open_source
from geoindex.store.generations import IndexFolder

# what Ray warns of in its own code
pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning",
    "ignore::ResourceWarning",
    "ignore::FutureWarning",
    "ignore:lance is not fork-safe:UserWarning",  # the nodes of the tests begin and end when it is there
)

ENCODER = "timm:vit_tiny_patch16_224/random?depth=2&img_size=64"
PLANTED = "planted:3000?dim=32"


def tables(path):
    """What an index holds: facts and features of its images, cells and clusters."""
    folder = IndexFolder(path)
    versions = folder.current().manifest.tables
    images = folder.tables.read("images", versions["images"], ["row", "id", "lat", "lon", "split", "content"])
    features = folder.tables.read("images", versions["images"], ["row", "features"])["features"]
    groups = [
        folder.tables.read(name, versions[name], [name[:-1], "site_lat", "site_lon", "n_images"])
        for name in ("cells", "clusters")
    ]
    return images, np.array(features.to_pylist(), np.float32), groups


def data_files(path):
    return [path for path in (path / "tables" / "images.lance" / "data").iterdir() if path.suffix == ".lance"]


def assert_equal(one, other):
    (images, features, groups), (others, their_features, their_groups) = tables(one), tables(other)
    assert images.equals(others)
    assert np.abs(features - their_features).max() < 2e-3
    assert all(ours.equals(theirs) for ours, theirs in zip(groups, their_groups, strict=True))


@pytest.fixture
def photos(tmp_path):
    rows = world_rows(per_hub=40)
    table = write_world(tmp_path / "world", rows)
    (table.parent / rows[3][0]).write_bytes(b"no image")
    return table


@pytest.mark.parametrize("name", ["dask", "rays", "local:8"])
def test_an_executor_that_is_none_is_refused(world, tmp_path, name):
    with pytest.raises(ConfigError, match="take local, ray, or ray:ADDRESS"):
        geoindex.build_index(world, out=tmp_path / "index", executor=name)
    assert not (tmp_path / "index" / "CURRENT").exists()


def test_without_ray_the_extra_is_named(world, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"geoindex\[ray\]"):
        geoindex.build_index(world, out=tmp_path / "index", executor="ray")


@pytest.mark.ray
def test_no_cluster_at_an_address_is_one_sentence(world, tmp_path):
    with pytest.raises(ClusterError, match="ray start --head") as found:
        geoindex.build_index(world, out=tmp_path / "index", executor="ray:127.0.0.1:1")
    assert "\n" not in str(found.value)


@pytest.mark.ray
def test_a_build_on_several_nodes_equals_the_local_one(photos, tmp_path, nodes, monkeypatch):
    monkeypatch.setattr(geoindex.embed, "SHARD_SAMPLES", 64)
    monkeypatch.setattr("geoindex.assembly.rows.RUN_SHARDS", 2)
    local = geoindex.build_index(photos, out=tmp_path / "local", encoder=ENCODER)
    spread = geoindex.build_index(photos, out=tmp_path / "ray", encoder=ENCODER, executor="ray")
    assert spread.left_out == local.left_out
    assert spread.failed == 1
    assert spread.timings_s["ray start"] > 0
    assert_equal(tmp_path / "local", tmp_path / "ray")
    assert len(data_files(tmp_path / "local")) == 1
    assert len(data_files(tmp_path / "ray")) > 1  # one a task
    assert not verify_index(tmp_path / "ray", full=True).faults


@pytest.mark.ray
def test_a_rebuild_by_another_encoder_equals_the_local_one(photos, tmp_path, nodes, monkeypatch):
    monkeypatch.setattr(geoindex.embed, "SHARD_SAMPLES", 64)
    other = ENCODER.replace("depth=2", "depth=1")
    for executor in ("local", "ray"):
        geoindex.build_index(photos, out=tmp_path / executor, encoder=ENCODER)
        report = geoindex.rebuild_index(tmp_path / executor, encoder=other, executor=executor)
    assert report.generation == "000002"
    assert_equal(tmp_path / "local", tmp_path / "ray")
    assert not verify_index(tmp_path / "ray", full=True).faults


@pytest.mark.ray
def test_tasks_that_decode_feed_encoders_on_gpus(photos, tmp_path, nodes, monkeypatch):
    """Ray takes our word for a GPU; the encoder that is put there finds none and computes on the processor."""
    monkeypatch.setattr(geoindex.embed, "SHARD_SAMPLES", 64)
    nodes[0].add_node(num_cpus=1, num_gpus=1)
    spread = geoindex.build_index(photos, out=tmp_path / "ray", encoder=ENCODER, executor="ray")
    geoindex.build_index(photos, out=tmp_path / "local", encoder=ENCODER)
    assert spread.failed == 1
    assert_equal(tmp_path / "local", tmp_path / "ray")


@pytest.mark.ray
def test_ready_embeddings_and_clusters_are_the_same(tmp_path, nodes, monkeypatch):
    monkeypatch.setattr("geoindex.geocells.clusters.PARALLEL_FROM", 1000)
    monkeypatch.setattr("geoindex.ann.ranges.RANGE_CLUSTERS", 100)
    for executor in ("local", "ray"):
        report = geoindex.build_index(PLANTED, out=tmp_path / executor, executor=executor)
    assert report.counts["clusters"] > 200  # three runs of cells or more
    assert_equal(tmp_path / "local", tmp_path / "ray")
    local, spread = (IndexFolder(tmp_path / name).current().file("index.faiss") for name in ("local", "ray"))
    assert local.read_bytes() == spread.read_bytes()


@pytest.mark.ray
def test_a_lost_node_costs_no_row(photos, tmp_path, nodes, monkeypatch):
    """A node dies in the middle; whether the build bears it or stops, the next run has every row once."""
    monkeypatch.setattr(geoindex.embed, "SHARD_SAMPLES", 16)
    cluster, workers = nodes
    save, seen = geoindex.embed.ShardWriter.save, []

    def saved(self, shard, path, stamps):
        save(self, shard, path, stamps)
        seen.append(path)
        if len(seen) == 3:
            cluster.remove_node(workers.pop())

    monkeypatch.setattr(geoindex.embed.ShardWriter, "save", saved)
    try:
        geoindex.build_index(photos, out=tmp_path / "ray", encoder=ENCODER, executor="ray")
    except ClusterError:
        done = len(seen)
        geoindex.build_index(photos, out=tmp_path / "ray", encoder=ENCODER, executor="ray")
        assert len(seen[done:]) == len(set(seen)) - done + 1  # the one of the broken image is tried again
    assert not workers[1:]
    geoindex.build_index(photos, out=tmp_path / "local", encoder=ENCODER)
    assert_equal(tmp_path / "local", tmp_path / "ray")


@pytest.mark.ray
def test_a_stopped_build_goes_on_with_ray_or_without(photos, tmp_path, nodes, monkeypatch):
    monkeypatch.setattr(geoindex.embed, "SHARD_SAMPLES", 32)
    with monkeypatch.context() as patch:
        patch.setattr("geoindex.pipeline.assemble", _interrupt)
        with pytest.raises(KeyboardInterrupt):
            geoindex.build_index(photos, out=tmp_path / "index", encoder=ENCODER, executor="ray")
    source = open_source(photos)
    reads = []
    monkeypatch.setattr("geoindex.embed.prepare_image", lambda image, *_: reads.append(image) or "it is not read")
    geoindex.build_index(photos, out=tmp_path / "index", encoder=ENCODER)
    assert len(reads) == 1  # the broken one
    assert len(tables(tmp_path / "index")[0]) == len(source.scan().samples) - 1


def _interrupt(*_):
    raise KeyboardInterrupt


@pytest.mark.ray
def test_images_that_workers_do_not_see_stop_the_build(photos, tmp_path, nodes, monkeypatch):
    """As on computers without the folder: the worker finds no file where this process found one."""
    opened = open_source(photos)
    away = photos.parent.with_name("elsewhere")
    parts = geoindex.embed._parts

    def moved(*args):
        found = list(parts(*args))
        photos.parent.rename(away)
        return iter(found)

    monkeypatch.setattr(geoindex.embed, "_parts", moved)
    with pytest.raises(ClusterError, match="mount the images at the same path"):
        build_from(opened, geoindex.Recipe(source=str(photos), encoder=ENCODER), tmp_path / "index", executor="ray")


def test_the_local_executor_takes_no_time(tmp_path):
    from geoindex.distributed.executor import HERE, executing

    stages = Stages()
    with executing("local", stages) as heavy:
        assert heavy is HERE
    assert stages.rounded() == {}
