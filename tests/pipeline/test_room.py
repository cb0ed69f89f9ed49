"""A build or rebuild that does not fit on the disk does not start."""

import shutil

import pytest
from tiles import KEYS, snapshot

import geoindex
from geoindex.dry_run import plan_build
from geoindex.errors import StorageError
from geoindex.store import space
from geoindex.store.generations import IndexFolder


@pytest.fixture
def free(monkeypatch):
    """Set what the disk has free."""

    def free(count):
        usage = shutil._ntuple_diskusage(10**12, 10**12 - count, count)
        monkeypatch.setattr(space.shutil, "disk_usage", lambda _: usage)

    return free


def never(*_):
    raise AssertionError


def test_a_build_says_what_it_needs_before_it_works(world, tmp_path, free, monkeypatch):
    needed = plan_build(world, **KEYS).needed_bytes
    free(needed - 1)
    monkeypatch.setattr("geoindex.pipeline.embed_samples", never)
    with pytest.raises(
        StorageError, match=r"has \d+ kB free, and \d+ kB are needed; free some space, or name a folder"
    ):
        geoindex.build_index(world, out=tmp_path / "index", **KEYS)
    assert not (tmp_path / "index").exists()
    monkeypatch.undo()
    free(needed)
    assert geoindex.build_index(world, out=tmp_path / "index", **KEYS).generation == "000001"


def test_what_a_stopped_build_left_needs_no_room_again(world, tmp_path, free, monkeypatch):
    path, needed = tmp_path / "index", plan_build(world, **KEYS).needed_bytes
    with monkeypatch.context() as patch:
        patch.setattr("geoindex.pipeline.assemble", never)
        with pytest.raises(AssertionError):
            geoindex.build_index(world, out=path, **KEYS)
    left = sum(size for size, _ in snapshot(IndexFolder(path).work).values())
    assert left > 0
    free(needed - min(left, plan_build(world, **KEYS).work_bytes))
    assert geoindex.build_index(world, out=path, **KEYS).generation == "000001"


def test_a_rebuild_says_what_it_needs(index_folder, free):
    before = snapshot(index_folder)
    free(10_000)
    with pytest.raises(StorageError, match=r"has 10\.0 kB free, and .* are needed; .* 'geoindex gc'"):
        geoindex.rebuild_index(index_folder)
    assert {name for name in snapshot(index_folder) if name != ".lock"} == {name for name in before if name != ".lock"}
    free(plan_build("planted:96?dim=32").needed_bytes)
    assert geoindex.rebuild_index(index_folder).generation == "000002"


def test_a_rebuild_needs_room_for_what_it_writes(index_folder):
    """The upper estimate holds, and is not the whole index with its images and encoder."""
    from geoindex.assembly.sizes import Extent, GroupCounts, part_bytes
    from geoindex.recipe_files import recipe_from_dict

    live = IndexFolder(index_folder).current().manifest
    recipe, extent = recipe_from_dict(live.recipe), Extent.stored(live)
    parts = part_bytes(extent, GroupCounts.most(extent.gallery, recipe), recipe)
    before = sum(size for size, _ in snapshot(index_folder).values())
    geoindex.rebuild_index(index_folder)
    written = sum(size for size, _ in snapshot(index_folder).values()) - before
    assert written < sum(parts.values()) - parts["images table"] < 4 * written
