"""Power cuts at syncs while photos are added, removed or purged."""

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parents[1] / "store"))
from power_loss import LOSSES, Disk, restore

import geoindex
from geoindex.integrity import verify_index
from geoindex.repair import repair_index
from geoindex.store.generations import IndexFolder
from geoindex.store.tombstones import TOMBSTONES_NAME
from geoindex.updates.adding import add_images
from geoindex.updates.compaction import compact_index
from geoindex.updates.removing import remove_images

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc tells which file a descriptor is")

GONE = ["planted-5", "planted-77"]


def add(path):
    add_images(path, "planted:140?dim=8&seed=0")


def remove(path):
    remove_images(path, GONE)


def compact(path):
    compact_index(path)


WORKS = {"add": add, "remove": remove, "compact": compact}
PHOTOS = {"add": (120, 140), "remove": (120, 118), "compact": (128, 128)}
"""Photos in the gallery before and after."""


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    """An index to start from for each work; nobody writes to them."""
    plain = tmp_path_factory.mktemp("plain") / "index"
    keys = {"training": {"method": "none"}, "split_by": "none", "geocells": {"n_cells": 4}}
    geoindex.build_index("planted:120?dim=8&seed=0", out=plain, **keys)
    used = shutil.copytree(plain, tmp_path_factory.mktemp("used") / "index")
    add_images(used, "planted:130?dim=8&seed=0")
    remove_images(used, GONE)
    return {"add": plain, "remove": plain, "compact": used}


@pytest.fixture(scope="module")
def queries():
    return np.eye(8, dtype=np.float32)


def answers(path, queries):
    return [(a.lat, a.lon, a.place) for a in geoindex.open_index(path).query_embeddings(queries)]


def named(path, queries):
    found = geoindex.open_index(path).query_embeddings(queries, evidence=500, top_cells=99)
    return {evidence.id for answer in found for evidence in answer.evidence}


def photos(path):
    return IndexFolder(path).current().manifest.counts["gallery"]


def holding(path, mark):
    files = (file for file in path.rglob("*") if file.is_file() and file.name != TOMBSTONES_NAME)
    return [file for file in files if mark in file.read_bytes()]


def check(path, name, queries, right, finished):
    """Check what a stop left: the state before or after, sound, and the same work goes through."""
    found = answers(path, queries)
    assert found in right
    before, after = PHOTOS[name]
    assert photos(path) in ((after,) if finished else (before, after))
    if finished and name != "add":
        assert not named(path, queries) & set(GONE)
    generation = geoindex.open_index(path).manifest.generation
    if verify_index(path, full=True).faults:
        repaired = repair_index(path)
        assert (repaired.generation, repaired.left, repaired.lost) == (generation, (), ())
    assert answers(path, queries) == found


def go_through(path, name, queries, right):
    WORKS[name](path)
    assert verify_index(path, full=True).faults == ()
    assert photos(path) == PHOTOS[name][1]
    assert answers(path, queries) == right[-1]
    if name == "compact":
        assert holding(path, b"planted-77") == []


def watched(bases, folder, name, queries):
    """Return the moments of a work, and the answers before and after it."""
    folder.mkdir()
    path = shutil.copytree(bases[name], folder / "index")
    right = [answers(path, queries)]
    with Disk(folder) as disk:
        WORKS[name](path)
    return disk.moments, [*right, answers(path, queries)]


@pytest.mark.parametrize("name", WORKS)
def test_a_power_cut_leaves_the_state_before_or_after(bases, tmp_path, name, queries):
    moments, right = watched(bases, tmp_path / "disk", name, queries)
    assert len(moments) > 10
    for number, n in enumerate(np.linspace(0, len(moments) - 1, 7).round().astype(int)):
        moment = moments[n]
        path = restore(moment.files(LOSSES[number % len(LOSSES)]), tmp_path / f"{n}") / "index"
        check(path, name, queries, right, moment.step == "returned")
        if number % 3 == 0:
            go_through(path, name, queries, right)
    path = restore(moments[-1].files("dropped"), tmp_path / "last") / "index"
    check(path, name, queries, right, finished=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", WORKS)
def test_a_power_cut_at_every_sync(bases, tmp_path, name, queries):
    moments, right = watched(bases, tmp_path / "disk", name, queries)
    seen = set()
    for n, moment in enumerate(moments):
        for loss in (*LOSSES, "seed 1"):
            files = moment.files(loss)
            state = hash((moment.step == "returned", *files.items()))
            if state in seen:
                continue
            seen.add(state)
            path = restore(files, tmp_path / f"{n}-{loss}") / "index"
            check(path, name, queries, right, moment.step == "returned")
            go_through(path, name, queries, right)
            shutil.rmtree(path.parent)
    assert len(seen) > len(moments) / 2
