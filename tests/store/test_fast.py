"""The mode `fast`: nothing waits for the disk, nothing has a checksum, and all else is as it is in `durable`."""

import json
import os
import shutil

import numpy as np
import pytest

import geoindex
from geoindex.errors import IndexDamagedError
from geoindex.integrity import verify_index
from geoindex.rebuilding import rebuild_index
from geoindex.repair import repair_index
from geoindex.store import durable, following
from geoindex.store.generations import IndexFolder
from geoindex.transfer import clone_index, export_index, import_index
from geoindex.updates.adding import add_images
from geoindex.updates.removing import remove_images

SOURCE = "planted:400?dim=16&seed=0"
KEYS = {"training": {"method": "none"}, "geocells": {"n_cells": 4}}


@pytest.fixture(scope="module")
def fast(tmp_path_factory):
    path = tmp_path_factory.mktemp("fast") / "index"
    with pytest.MonkeyPatch.context() as patch:
        forbid_syncs(patch)
        geoindex.build_index(SOURCE, out=path, durability="fast", **KEYS)
    return path


@pytest.fixture
def index(fast, tmp_path):
    return shutil.copytree(fast, tmp_path / "index")


def forbid_syncs(patch):
    def refuse(*_):
        raise AssertionError("waits for the disk")

    patch.setattr(os, "fsync", refuse)
    patch.setattr(os, "fdatasync", refuse)
    patch.setattr(following, "send", refuse)
    patch.setattr(durable, "measure", refuse)


def answers(path):
    opened = geoindex.open_index(path)
    rows = opened.searcher.sidecar.gallery.live_embeddings()[::20].astype(np.float32)
    found = opened.query_embeddings(rows / np.linalg.norm(rows, axis=1, keepdims=True))
    return [(a.lat, a.lon, a.candidates, a.evidence) for a in found]


def records(path):
    """Return the records of all files that the live generation stands on."""
    index = IndexFolder(path)
    manifest = index.current().manifest
    tables = [index.tables.checksums.of(table, version) for table, version in manifest.tables.items()]
    return [*manifest.files.values(), *(record for table in tables for record in table.values())]


def flip(path):
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def test_an_index_says_how_it_was_written(fast):
    manifest = IndexFolder(fast).current().manifest
    assert manifest.durability == manifest.recipe["durability"] == "fast"
    assert IndexFolder(fast).mode == "fast"
    assert IndexFolder(fast / "nothing").mode == "durable"
    assert {record.sha256 for record in records(fast)} == {""}
    assert min(record.bytes for record in records(fast)) > 0


def test_it_answers_as_a_durable_one(fast, tmp_path):
    geoindex.build_index(SOURCE, out=tmp_path / "durable", **KEYS)
    assert IndexFolder(tmp_path / "durable").current().manifest.durability == "durable"
    assert all(record.sha256 for record in records(tmp_path / "durable"))
    assert answers(fast) == answers(tmp_path / "durable")


def test_everything_that_changes_it_stays_fast(index, monkeypatch):
    forbid_syncs(monkeypatch)
    assert rebuild_index(index, geocells={"n_cells": 6}).counts["cells"] == 6
    removed = str(geoindex.open_index(index).searcher.sidecar.gallery.facts(np.array([3]))[0]["id"])
    remove_images(index, [removed])
    add_images(index, "planted:430?dim=16&seed=0")
    assert IndexFolder(index).current().manifest.durability == "fast"
    assert {record.sha256 for record in records(index)} == {""}


def test_current_is_replaced_at_once_in_fast_too(index, monkeypatch):
    replaced, replace = [], type(index).replace
    monkeypatch.setattr(type(index), "replace", lambda a, b: (replaced.append(b.name), replace(a, b))[1])
    rebuild_index(index)
    assert {"CURRENT", "manifest.json"} <= set(replaced)
    assert [name for name in os.listdir(index) if name.endswith(".tmp")] == []  # noqa: PTH208


def test_verify_names_what_has_no_checksums(fast):
    found = verify_index(fast, full=True)
    assert found.faults == ()
    assert {"images", "cells", "clusters", "gallery.npy", "index.faiss"} <= set(found.unrecorded)
    assert "no checksums of images, cells, clusters, " in found.to_text()
    assert "written fast" in found.to_text()
    assert verify_index(fast).unrecorded == ()
    assert repair_index(fast).steps == ()


@pytest.mark.parametrize("name", ["gallery.npy", "index.faiss", "cells.arrow"])
def test_another_size_is_damage_and_repaired_in_the_same_mode(index, name):
    path = index / "generations" / "000001" / name
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(IndexDamagedError, match="the manifest says"):
        geoindex.open_index(index)
    assert any(name in fault for fault in verify_index(index, full=True).faults)
    assert repair_index(index).generation == "000002"
    assert IndexFolder(index).current().manifest.durability == "fast"


def test_a_rebuild_follows_its_recipe(index):
    rebuild_index(index, durability="durable")
    manifest = IndexFolder(index).current().manifest
    assert manifest.durability == manifest.recipe["durability"] == "durable"
    assert all(record.sha256 for record in records(index))
    assert verify_index(index, full=True).unrecorded == ()
    flip(max((index / "tables" / "images.lance" / "data").iterdir()))
    assert any("images.lance" in fault for fault in verify_index(index, full=True).faults)


def test_a_rebuild_can_be_fast_over_durable_images(index, monkeypatch):
    rebuild_index(index, durability="durable")
    assert rebuild_index(index, durability="fast").generation == "000003"
    index_folder = IndexFolder(index)
    manifest = index_folder.current().manifest
    assert manifest.durability == "fast"
    assert index_folder.tables.checksums.complete("images", manifest.tables["images"])
    assert not index_folder.tables.checksums.complete("cells", manifest.tables["cells"])


def test_copies_of_it_can_be_made(fast, tmp_path):
    export_index(fast, tmp_path / "index.tar")
    import_index(tmp_path / "index.tar", tmp_path / "imported")
    clone_index(fast, tmp_path / "clone")
    assert answers(tmp_path / "imported") == answers(tmp_path / "clone") == answers(fast)
    data = bytearray((tmp_path / "index.tar").read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "index.tar").write_bytes(data)
    with pytest.raises(IndexDamagedError):
        import_index(tmp_path / "index.tar", tmp_path / "other")


def test_the_flag(run, tmp_path):
    code, said, _ = run(
        "build", SOURCE, "--out", tmp_path / "index", "--durability", "fast", "--training.method", "none",
        "--format", "json",
    )  # fmt: skip
    assert (code, json.loads(said)["generation"]) == (0, "000001")
    assert IndexFolder(tmp_path / "index").current().manifest.durability == "fast"
