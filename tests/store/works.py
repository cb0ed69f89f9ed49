"""What writes to an index, and what must be true of it when that was stopped."""

import shutil

import numpy as np

import geoindex
from geoindex.errors import IndexDamagedError, IndexNotFoundError
from geoindex.integrity import verify_index
from geoindex.repair import repair_index
from geoindex.store.generations import IndexFolder
from geoindex.store.history import collect
from geoindex.updates.rollback import roll_back

SOURCE = "planted:120?dim=8&seed=0"
PHOTOS = 120
PLAIN = {"training": {"method": "none"}}


def build(path, cells=5):
    geoindex.build_index(SOURCE, out=path, geocells={"n_cells": cells}, **PLAIN)


def rebuild(path, cells=5):
    geoindex.rebuild_index(path, geocells={"n_cells": cells})


def rollback(path):
    roll_back(path, "000001")


def gc(path):
    collect(path, keep=1, grace_hours=0.0)


WORKS = {
    "first build": (build, "", "000001"),
    "build": (build, "000002", "000003"),
    "rebuild": (rebuild, "000002", "000003"),
    "rollback": (rollback, "000002", "000001"),
    "gc": (gc, "000002", "000002"),
}
"""By name: the work, and the live generation before and after it."""


def begin(base, folder, name):
    """Return a folder that holds what is there before the work."""
    folder.mkdir(parents=True)
    if name != "first build":
        shutil.copytree(base, folder / "index")
    return folder / "index"


def answers(path, queries):
    return [(a.lat, a.lon, a.place) for a in geoindex.open_index(path).query_embeddings(queries)]


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


def check_sound(path):
    """Every byte of the live generation is right, at the latest when the torn head of a table is out of its way."""
    assert len(answers(path, np.eye(8, dtype=np.float32))) == 8
    generation = geoindex.open_index(path).manifest.generation
    if verify_index(path, full=True).faults:
        assert repair_index(path).generation == generation
    index = IndexFolder(path)
    version = index.current().manifest.tables["images"]
    assert index.tables.read("images", version, ["row"]).num_rows == PHOTOS
