"""Generations as a list, the way back to one, and the removal of the others."""

import os
from time import sleep, time

import pytest
from tiles import KEYS, snapshot, world_rows, write_world

import geoindex
from geoindex.errors import ConfigError, IndexDamagedError, IndexLockedError, IndexNotFoundError
from geoindex.integrity import verify_index
from geoindex.rebuilding import rebuild_index
from geoindex.store import history
from geoindex.store.generations import IndexFolder
from geoindex.store.history import collect, list_generations
from geoindex.store.references import manifests
from geoindex.updates.rollback import roll_back


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    """An index with three generations that differ in their number of cells."""
    folder = tmp_path_factory.mktemp("history")
    table = write_world(folder / "world", world_rows(per_hub=10))
    path = geoindex.build_index(
        table, out=folder / "index", split_ratio=(0.5, 0.4, 0.1), **KEYS, geocells={"n_cells": 4}
    ).path
    for cells in (6, 8):
        sleep(0.2)
        rebuild_index(path, geocells={"n_cells": cells})
    return path


@pytest.fixture
def index(three, tmp_path):
    import shutil

    return shutil.copytree(three, tmp_path / "index")


def cells_of(path):
    return geoindex.open_index(path).searcher.ann.n_cells


def make_old(path, *names):
    for name in names:
        made_ago(path, name, 1e6)


def made_ago(path, name, seconds):
    folder = path / "generations" / name
    for each in (folder / "manifest.json", folder):
        os.utime(each, (time() - seconds, time() - seconds))


def test_the_list_tells_parents_counts_and_the_live_one(three):
    found = list_generations(three)
    assert [each.name for each in found.generations] == ["000001", "000002", "000003"]
    assert [each.parent for each in found.generations] == ["", "000001", "000002"]
    assert [each.live for each in found.generations] == [False, False, True]
    assert [each.counts["cells"] for each in found.generations] == [4, 6, 8]
    assert all(each.geoscore > 0 and not each.damage for each in found.generations)
    assert "* 000003" in found.to_text()


def test_rolling_back_goes_to_the_parent_or_to_any_other_and_forward_again(index):
    open_before = geoindex.open_index(index)
    assert roll_back(index).manifest.generation == "000002"
    assert cells_of(index) == 6
    assert open_before.searcher.ann.n_cells == 8
    assert open_before.reload()
    assert open_before.searcher.ann.n_cells == 6
    roll_back(index, "000001")
    assert cells_of(index) == 4
    with pytest.raises(ConfigError, match="is the first"):
        roll_back(index)
    roll_back(index, "000003")
    assert cells_of(index) == 8


def test_a_rebuild_after_a_rollback_descends_from_where_it_was(index):
    roll_back(index, "000001")
    assert rebuild_index(index).generation == "000004"
    assert list_generations(index).generations[-1].parent == "000001"


def test_a_damaged_generation_is_shown_and_not_gone_back_to(index):
    path = index / "generations" / "000002" / "gallery.npy"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(IndexDamagedError, match=r"gallery\.npy' does not have the checksum"):
        roll_back(index)
    assert cells_of(index) == 8
    path.write_bytes(data[:-1])
    assert "gallery.npy" in list_generations(index).generations[1].damage
    with pytest.raises(IndexNotFoundError, match="no generation '000009'; there are: 000001, 000002, 000003"):
        roll_back(index, "000009")


def test_a_manifest_of_an_old_generation_is_checked_too(index):
    path = index / "generations" / "000001" / "manifest.json"
    path.write_bytes(path.read_bytes().replace(b'"cells": 4', b'"cells": 5'))
    with pytest.raises(IndexDamagedError, match="is not what was written"):
        roll_back(index, "000001")
    (path.parent / "manifest.sha256").unlink()  # generations of older versions have none
    assert not list_generations(index).generations[0].damage


def test_collecting_removes_what_is_old_and_its_versions_of_the_tables(index):
    make_old(index, "000001", "000002", "000003")
    before = {
        table: len(list((index / "tables" / f"{table}.lance" / "data").iterdir())) for table in ("cells", "clusters")
    }
    found = collect(index, keep=1)
    assert (found.removed, found.kept) == (("000001", "000002"), ("000003",))
    assert found.freed_bytes > 0
    stored = IndexFolder(index).tables
    for table, count in before.items():
        assert len(list((index / "tables" / f"{table}.lance" / "data").iterdir())) == count - 2
        assert set(stored._connect().open_table(table).tags.list()) == {"gen-000003"}
    assert cells_of(index) == 8
    assert geoindex.evaluate(index).count > 0
    assert rebuild_index(index).generation == "000004"
    assert collect(index, keep=2).removed == ()


def test_the_live_the_newest_and_the_young_stay(index):
    roll_back(index, "000001")
    make_old(index, "000001", "000002", "000003")
    assert collect(index, keep=1).removed == ("000002",)
    assert cells_of(index) == 4
    roll_back(index, "000003")
    assert collect(index, keep=1, grace_hours=1e6).removed == ()
    assert cells_of(index) == 8


class TestGrace:
    """It counts from when a generation went out of use, however long ago it was made."""

    def test_one_that_was_live_until_now_stays(self, index):
        make_old(index, "000001", "000002", "000003")
        rebuild_index(index)
        rebuild_index(index)
        assert collect(index, keep=1).removed == ("000001", "000002")
        assert roll_back(index, "000003").manifest.generation == "000003"

    def test_one_that_a_rollback_left(self, index):
        roll_back(index, "000002")
        make_old(index, "000001", "000002", "000003")
        rebuild_index(index)
        make_old(index, "000004")
        assert collect(index, keep=1).removed == ("000001",)
        make_old(index, "000002")
        assert collect(index, keep=1).removed == ("000002", "000003")

    def test_an_older_geoindex_noted_nothing(self, index):
        make_old(index, "000001", "000002")
        assert collect(index, keep=1).removed == ("000001",)
        assert collect(index, keep=1, grace_hours=0.0).removed == ("000002",)


class TestClocks:
    """A clock that was wrong when a generation was made."""

    def made(self, index, *seconds_ago):
        for name, ago in zip(("000001", "000002", "000003"), seconds_ago, strict=True):
            made_ago(index, name, ago)

    def test_one_that_went_back_makes_nothing_old(self, index):
        self.made(index, 60.0, 1e6, 1e6)
        assert collect(index, keep=1).removed == ()
        self.made(index, 1e6, 1e6, 1e9)
        assert collect(index, keep=1).removed == ("000001", "000002")
        assert cells_of(index) == 8

    def test_the_live_one_stays_whatever_its_age(self, index):
        roll_back(index, "000001")
        self.made(index, 1e9, 1e9, 1e6)
        assert collect(index, keep=1).removed == ("000002",)
        assert cells_of(index) == 4

    def test_one_that_was_ahead_delays_a_collection_but_not_one_without_grace(self, index):
        self.made(index, -1e6, 1e6, 1e6)
        assert collect(index, keep=1).removed == ()
        assert collect(index, keep=1, grace_hours=0.0).removed == ("000001", "000002")
        assert cells_of(index) == 8


def test_versions_between_those_that_are_needed_go(index):
    roll_back(index, "000001")
    make_old(index, "000001", "000002", "000003")
    named = {name: IndexFolder(index).generation(name).manifest.tables["cells"] for name in ("000001", "000003")}
    assert collect(index, keep=1).removed == ("000002",)
    stored = IndexFolder(index).tables
    assert sorted(manifests(stored.folder / "cells.lance")) == sorted(named.values())
    for version in named.values():
        assert stored.read("cells", version, ["cell"]).num_rows > 0
    assert rebuild_index(index).generation == "000004"
    assert verify_index(index, full=True).faults == ()


def test_a_tag_of_somebody_else_keeps_its_version(index):
    make_old(index, "000001", "000002", "000003")
    stored, first = IndexFolder(index).tables, IndexFolder(index).generation("000001").manifest.tables["cells"]
    stored.tag("cells", first, "paper")
    collect(index, keep=1)
    assert stored.read("cells", first, ["cell"]).num_rows == 4


def test_a_reader_of_a_generation_that_goes_away_goes_on(index):
    reader = geoindex.open_index(index)
    row = reader.searcher.sidecar.gallery.live_embeddings()[:1].astype("float32")
    answer = reader.query_embeddings(row / (row**2).sum() ** 0.5)
    rebuild_index(index)
    make_old(index, "000001", "000002", "000003", "000004")
    assert "000003" in collect(index, keep=1).removed
    again = reader.query_embeddings(row / (row**2).sum() ** 0.5)
    assert (again[0].lat, again[0].lon) == (answer[0].lat, answer[0].lon)


def test_nothing_is_removed_beside_a_damaged_generation_that_stays(index):
    make_old(index, "000001", "000002", "000003")
    (index / "generations" / "000002" / "manifest.json").write_bytes(b"{}")
    before = snapshot(index / "generations")
    with pytest.raises(IndexDamagedError):
        collect(index, keep=2)
    assert snapshot(index / "generations") == before


def test_a_collection_that_was_killed_is_finished_by_the_next(index, monkeypatch):
    make_old(index, "000001", "000002", "000003")

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(history.shutil, "rmtree", killed)
    with pytest.raises(KeyboardInterrupt):
        collect(index, keep=1)
    monkeypatch.undo()
    assert cells_of(index) == 8
    assert collect(index, keep=1).kept == ("000003",)
    assert sorted(p.name for p in (index / "generations").iterdir()) == ["000003"]
    assert set(IndexFolder(index).tables._connect().open_table("cells").tags.list()) == {"gen-000003"}


@pytest.mark.parametrize("numbers", [{"keep": 0}, {"grace_hours": -1.0}, {"grace_hours": float("nan")}])
def test_numbers_that_cannot_be_meant(index, numbers):
    with pytest.raises(ConfigError, match="must be at least 1"):
        collect(index, **numbers)


def test_two_writers_are_one_too_many(index):
    with IndexFolder(index).writing():
        with pytest.raises(IndexLockedError):
            collect(index)
        with pytest.raises(IndexLockedError):
            roll_back(index)


def test_no_index(tmp_path):
    with pytest.raises(IndexNotFoundError):
        list_generations(tmp_path / "nothing")
