"""Generations whose photos were all removed since, and removals that were stopped."""

import pytest
from planted import answers, ids, named, planted_index, queries, source

import geoindex
from geoindex.errors import EmptyDatasetError
from geoindex.integrity import verify_index
from geoindex.store.generations import IndexFolder
from geoindex.store.history import list_generations
from geoindex.store.tombstones import Tombstones
from geoindex.updates.adding import add_images
from geoindex.updates.compaction import compact_index
from geoindex.updates.removing import remove_images
from geoindex.updates.rollback import roll_back


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """60 photos; nobody writes to it."""
    return planted_index(tmp_path_factory.mktemp("base") / "index", 60, geocells={"n_cells": 4})


@pytest.fixture
def replaced(path):
    """All photos of the first generation are gone, and the third has others."""
    add_images(path, source(100))
    remove_images(path, ids(0, 60))
    return path


def pending(path, gone):
    """Leave a removal as one that was killed after its list was written."""
    folder = IndexFolder(path)
    (folder.tombstones() | Tombstones(frozenset(gone))).write(folder.tombstones_path)


def test_a_compaction_goes_on_without_them(replaced):
    asked = queries(replaced)
    before = answers(geoindex.open_index(replaced), asked)
    report = compact_index(replaced)
    assert (report.renewed, report.emptied) == ({"000002": "000004", "000003": "000005"}, ("000001",))
    assert "deleted 000001, whose photos were all removed" in report.to_text()
    assert [(g.name, g.parent) for g in list_generations(replaced).generations] == [
        ("000004", ""),
        ("000005", "000004"),
    ]
    assert answers(geoindex.open_index(replaced), asked) == before
    assert verify_index(replaced, full=True).faults == ()
    assert (compact_index(replaced).renewed, compact_index(replaced).emptied) == ({}, ())
    roll_back(replaced, "000004")
    assert named(geoindex.open_index(replaced), asked) == set(ids(60, 100))


def test_children_of_one_that_is_gone_get_its_parent(path):
    geoindex.rebuild_index(path)
    add_images(path, source(100))
    remove_images(path, ids(0, 60))
    compact_index(path)
    assert [(g.name, g.parent) for g in list_generations(path).generations] == [("000005", ""), ("000006", "000005")]


def test_a_rollback_to_one_is_refused_with_the_cure(replaced):
    with pytest.raises(EmptyDatasetError, match=r"gallery of generation 000001 .*removed since; name another one"):
        roll_back(replaced, "000001")
    assert geoindex.open_index(replaced).manifest.generation == "000003"
    assert verify_index(replaced, full=True).faults == ()
    assert sorted(p.name for p in (replaced / "generations").iterdir()) == ["000001", "000002", "000003"]


def test_the_last_photo_stays_beside_a_removal_that_was_stopped(path):
    pending(path, ids(0, 59))
    before = (path / "removed.json").read_bytes()
    with pytest.raises(EmptyDatasetError, match="would leave no photo"):
        remove_images(path, ids(59, 60))
    assert (path / "removed.json").read_bytes() == before
    # it can be finished all the same
    assert (remove_images(path, ids(0, 10)).removed, remove_images(path, ids(0, 10)).images) == (0, 1)
    assert verify_index(path, full=True).faults == ()


def test_what_is_added_is_counted_beside_a_removal_that_was_stopped(path):
    pending(path, ids(0, 50))
    report = add_images(path, source(70))
    assert (report.added, report.images) == (10, 20)
    assert "added 10; generation 000002 has 20" in report.to_text()
    assert verify_index(path, full=True).faults == ()


def test_photos_can_take_the_place_of_all_that_a_stopped_removal_named(path):
    pending(path, ids(0, 60))
    report = add_images(path, source(70))
    assert (report.added, report.images) == (10, 10)
    assert verify_index(path, full=True).faults == ()
