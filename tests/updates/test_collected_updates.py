"""Whatever was done to an index in whatever order, a collection leaves it sound, and all else possible."""

import shutil
from itertools import permutations

import pytest
from planted import answers, ids, planted_index, queries, source

import geoindex
from geoindex.integrity import verify_index
from geoindex.repair import repair_index
from geoindex.store.checksums import TableChecksums
from geoindex.store.history import collect
from geoindex.updates.adding import add_images
from geoindex.updates.compaction import compact_index
from geoindex.updates.labelling import label_images
from geoindex.updates.removing import remove_images
from geoindex.updates.rollback import roll_back


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """An index of planted photos; nobody writes to it."""
    return planted_index(tmp_path_factory.mktemp("base") / "index", 200, geocells={"n_cells": 5})


def add(path):
    add_images(path, source(geoindex.open_index(path).manifest.counts["images"] + 30))


def remove(path):
    remove_images(path, ids(0, 10))


def label(path):
    table = path.parent / "labels.csv"
    table.write_text("id,city\nplanted-100,Rome\nplanted-101,Oslo\n")
    label_images(path, table)


def gc(path):
    collect(path, keep=1, grace_hours=0.0)


def check_sound(path):
    """Nothing is at fault, and it can be copied, repaired, rebuilt and changed."""
    assert verify_index(path, full=True).faults == ()
    assert repair_index(path).steps == ()
    clone = path.parent / "clone"
    geoindex.clone_index(path, clone)
    assert verify_index(clone, full=True).faults == ()
    asked = queries(path)
    assert answers(geoindex.open_index(clone), asked) == answers(geoindex.open_index(path), asked)
    shutil.rmtree(clone)


@pytest.mark.parametrize(
    "order", [*permutations((add, remove, label))], ids=lambda order: "-".join(w.__name__ for w in order)
)
def test_a_collection_after_changes_in_any_order(path, order):
    for work in (*order, gc):
        work(path)
    check_sound(path)
    for work in (add, gc, label, gc):
        work(path)
    check_sound(path)
    geoindex.rebuild_index(path)
    gc(path)
    check_sound(path)
    compact_index(path)
    check_sound(path)


def test_a_generation_that_is_kept_stays_whole(path):
    add(path)
    remove(path)
    add(path)
    asked = queries(path)
    before = answers(geoindex.open_index(path), asked)
    roll_back(path, "000002")
    collect(path, keep=2, grace_hours=0.0)
    check_sound(path)
    roll_back(path, "000004")
    assert answers(geoindex.open_index(path), asked) == before
    check_sound(path)


def test_an_index_whose_lists_name_what_is_gone(path, monkeypatch):
    """Older versions of geoindex listed, with each version, the files of all before it."""
    with monkeypatch.context() as patch:
        patch.setattr(TableChecksums, "own", lambda self, name, version, records: dict(records))
        for work in (add, remove, label, add):
            work(path)
    gc(path)
    listed = (path / "tables" / "checksums").glob("images-*.json")
    assert any(list_path.read_text().count(".manifest") > 1 for list_path in listed)
    check_sound(path)
    for work in (add, gc):
        work(path)
    check_sound(path)
