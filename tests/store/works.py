"""What writes to an index, and what must be true of it when that was stopped."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import geoindex
from geoindex.errors import IndexDamagedError, IndexNotFoundError
from geoindex.integrity import verify_index
from geoindex.repair import repair_index
from geoindex.store.generations import IndexFolder
from geoindex.store.history import collect
from geoindex.updates.adding import add_images
from geoindex.updates.compaction import compact_index
from geoindex.updates.removing import remove_images
from geoindex.updates.rollback import roll_back

PHOTOS, MORE = 120, 150
SOURCE = f"planted:{PHOTOS}?dim=8&seed=0"
LARGER = f"planted:{MORE}?dim=8&seed=0"
PLAIN = {"training": {"method": "none"}}
REMOVED = ("planted-3", "planted-50", "planted-51")


def build(path, cells=5):
    geoindex.build_index(SOURCE, out=path, geocells={"n_cells": cells}, **PLAIN)


def rebuild(path, cells=5):
    geoindex.rebuild_index(path, geocells={"n_cells": cells})


def twice_built(path):
    """Make an index of two generations."""
    build(path, 3)
    rebuild(path, 4)
    return path


def rollback(path):
    roll_back(path, "000001")


def gc(path):
    collect(path, keep=1, grace_hours=0.0)


def add(path):
    add_images(path, LARGER)


def remove(path):
    remove_images(path, REMOVED)


@dataclass(frozen=True)
class Work:
    """One kind of writing.

    Attributes:
        run: does it.
        before, after: the live generation before and after it; empty for none.
        begin: makes of a copy of the base what it starts from.
        rows: how many rows the images table may have then.
    """

    run: Callable[[Path], object]
    before: str
    after: str
    begin: Callable[[Path], object] = lambda path: None
    rows: tuple[int, ...] = (PHOTOS,)


WORKS = {
    "first build": Work(build, "", "000001", begin=shutil.rmtree),
    "build": Work(build, "000002", "000003"),
    "rebuild": Work(rebuild, "000002", "000003"),
    "rollback": Work(rollback, "000002", "000001"),
    "gc": Work(gc, "000002", "000002"),
    "add": Work(add, "000002", "000003", rows=(PHOTOS, MORE)),
    "remove": Work(remove, "000002", "000003"),
    "compact": Work(compact_index, "000003", "000006", begin=remove, rows=(PHOTOS, PHOTOS - len(REMOVED))),
}


def begin(base, folder, name):
    """Return the index in a folder as it is before the work."""
    folder.mkdir(parents=True)
    path = shutil.copytree(base, folder / "index")
    WORKS[name].begin(path)
    return path


def answers(path, queries):
    found = geoindex.open_index(path).query_embeddings(queries)
    return [(a.lat, a.lon, a.place, tuple(e.id for e in a.evidence)) for a in found]


def live(path):
    """Return the name of the generation that answers; empty if none was finished."""
    try:
        return geoindex.open_index(path).manifest.generation
    except IndexNotFoundError:
        return ""
    except IndexDamagedError as error:  # a first build that ended just before it was named
        if "CURRENT' is gone; run 'geoindex repair" in str(error):
            return ""
        raise


def check_sound(path, rows=(PHOTOS,)):
    """Every byte of the live generation is right, at the latest when the torn head of a table is out of its way."""
    assert len(answers(path, np.eye(8, dtype=np.float32))) == 8
    generation = geoindex.open_index(path).manifest.generation
    if verify_index(path, full=True).faults:
        assert repair_index(path).generation == generation
    index = IndexFolder(path)
    version = index.current().manifest.tables["images"]
    assert index.tables.read("images", version, ["row"]).num_rows in rows
