"""A collection is the cure for a full disk, so it only ever makes files go."""

import resource
import shutil
from contextlib import contextmanager

import pytest
from planted import ids, planted_index, source

from geoindex.errors import IndexDamagedError
from geoindex.integrity import verify_index
from geoindex.store.generations import IndexFolder
from geoindex.store.history import collect, folder_bytes
from geoindex.store.references import TRANSACTIONS, files_of
from geoindex.updates.adding import add_images
from geoindex.updates.compaction import compact_index
from geoindex.updates.labelling import label_images
from geoindex.updates.removing import remove_images
from geoindex.updates.rollback import roll_back


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """An index whose tables are in many pieces; nobody writes to it."""
    path = planted_index(tmp_path_factory.mktemp("base") / "index", 300, geocells={"n_cells": 5})
    for count in range(310, 360, 10):
        add_images(path, source(count))
    remove_images(path, ids(0, 30))
    return path


@pytest.fixture
def path(base, tmp_path):
    return shutil.copytree(base, tmp_path / "index")


@contextmanager
def full_disk():
    """Let no file grow."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def files(path):
    return {file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file()}


def test_nothing_is_written_and_what_goes_is_counted(path):
    before, size = files(path), folder_bytes(path)
    with full_disk():
        report = collect(path, keep=1, grace_hours=0.0)
    assert files(path) < before
    assert report.freed_bytes == size - folder_bytes(path) > 0
    assert verify_index(path, full=True).faults == ()
    assert collect(path, keep=1, grace_hours=0.0).freed_bytes == 0


def test_no_file_is_left_that_no_version_stands_on(path):
    collect(path, keep=1, grace_hours=0.0)
    tables = IndexFolder(path).current().manifest.tables
    for name, version in tables.items():
        folder = path / "tables" / f"{name}.lance"
        left = {file for file in files(folder) if not file.startswith("_refs") and not file.endswith(".json")}
        needed = files_of(folder, version)
        assert left == {file for file in needed if not file.startswith(TRANSACTIONS) or file in left}
        assert [list_path.name for list_path in (path / "tables" / "checksums").glob(f"{name}-*")] == [
            f"{name}-{version}.json"
        ]


def test_a_collection_that_was_killed_between_two_files_is_finished(path, monkeypatch):
    unlink = type(path).unlink

    def killed(file, **keys):
        if file.parent.name == "data":
            raise KeyboardInterrupt
        unlink(file, **keys)

    monkeypatch.setattr(type(path), "unlink", killed)
    with pytest.raises(KeyboardInterrupt):
        collect(path, keep=1, grace_hours=0.0)
    monkeypatch.undo()
    assert verify_index(path, full=True).faults == ()
    test_no_file_is_left_that_no_version_stands_on(path)


def test_nothing_goes_from_a_table_that_lacks_what_is_needed(path):
    live = IndexFolder(path).current().manifest.tables["images"]
    folder = path / "tables" / "images.lance"
    lost = next(file for file in sorted(files_of(folder, live)) if file.startswith("data/"))
    (folder / lost).unlink()
    before = files(folder / "data")
    with pytest.raises(IndexDamagedError, match=r"is gone.*geoindex repair"):
        collect(path, keep=1, grace_hours=0.0)
    assert files(folder / "data") == before


def test_pieces_are_merged_by_a_compaction(path):
    collect(path, keep=1, grace_hours=0.0)
    live = IndexFolder(path).current().manifest
    folder = path / "tables" / "images.lance"
    assert sum(file.startswith("data/") for file in files_of(folder, live.tables["images"])) == 6
    compact_index(path)
    live = IndexFolder(path).current().manifest
    for name, version in live.tables.items():
        made_of = files_of(path / "tables" / f"{name}.lance", version)
        assert sum(file.startswith(("data/", "_deletions/")) for file in made_of) == 1
    assert compact_index(path).renewed == {}
    (path.parent / "labels.csv").write_text("id,city\nplanted-100,Rome\n")
    label_images(path, path.parent / "labels.csv")
    assert set(compact_index(path).renewed) == {live.generation, f"{int(live.generation) + 1:06d}"}
    assert compact_index(path).renewed == {}
    assert verify_index(path, full=True).faults == ()


def test_changes_go_on_from_any_kept_generation(path):
    roll_back(path, "000001")
    collect(path, keep=1, grace_hours=0.0)
    add_images(path, source(400))
    assert verify_index(path, full=True).faults == ()
    collect(path, keep=1, grace_hours=0.0)
    remove_images(path, ids(40, 50))
    assert verify_index(path, full=True).faults == ()
