"""Folders that may not be written or read: queries need no right to write, and a refusal is one sentence."""

import subprocess
import sys
from pathlib import Path

import pytest
from tiles import snapshot

import geoindex
from geoindex.integrity import verify_index

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="root gives up its rights by a call of Linux")

BOUND = """
import ctypes, os, sys
if os.geteuid() == 0:  # root may do anything until it gives that up
    header, none = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    assert ctypes.CDLL(None, use_errno=True).capset(header, none) == 0
import numpy as np
import geoindex
from geoindex.errors import GeoindexError
from geoindex.integrity import verify_index
from geoindex.inspection import inspect_index
from geoindex.store.history import collect, list_generations
from geoindex.updates.rollback import roll_back
path = sys.argv[1]
for work in sys.argv[2:]:
    try:
        print("done", eval(work))
    except GeoindexError as error:
        print(type(error).__name__, error)
"""
QUERY = "geoindex.open_index(path).query_embeddings(np.eye(8, dtype=np.float32))[0].generation"


def bound(path, *works):
    """Do something in a process that rights bind, root's too; return what it said of each."""
    code = Path(geoindex.__file__).parents[1]
    run = subprocess.run(
        [sys.executable, "-c", BOUND, str(path), *works], capture_output=True, text=True, cwd=code, timeout=120
    )
    assert run.returncode == 0, run.stderr
    said = run.stdout.splitlines()
    assert len(said) == len(works), run.stdout
    return said


@pytest.fixture
def planted(tmp_path):
    path = tmp_path / "index"
    geoindex.build_index("planted:120?dim=8&seed=0", out=path, training={"method": "none"}, geocells={"n_cells": 3})
    geoindex.rebuild_index(path)
    yield path
    for each in [path, *path.rglob("*")]:
        each.chmod(0o755)


def forbid(path, folder_mode, file_mode):
    for each in [*path.rglob("*"), path]:
        each.chmod(folder_mode if each.is_dir() else file_mode)


def check_refusals(said):
    for line in said:
        assert line.startswith("StorageError Cannot write to '")
        assert line.endswith("change its permissions or choose another place.")


def test_a_read_only_index_answers_and_refuses_to_change(planted):
    forbid(planted, 0o555, 0o444)
    before = snapshot(planted)
    readers = [QUERY, "verify_index(path, full=True).faults", "inspect_index(path).manifest.counts['images']"]
    readers.append("len(list_generations(path).generations)")
    writers = ["geoindex.rebuild_index(path)", "roll_back(path)", "collect(path)"]
    said = bound(planted, *readers, *writers)
    assert said[: len(readers)] == ["done 000002", "done ()", "done 120", "done 2"]
    check_refusals(said[len(readers) :])
    assert snapshot(planted) == before


@pytest.mark.parametrize(
    "part", ["tables/clusters.lance/_versions", "tables/clusters.lance/data", "generations", "tables/checksums", "."]
)
def test_a_folder_that_may_not_be_written_stops_a_rebuild_and_nothing_else(planted, part):
    (planted / part).chmod(0o555)
    check_refusals(bound(planted, "geoindex.rebuild_index(path)"))
    (planted / part).chmod(0o755)
    assert geoindex.open_index(planted).manifest.generation == "000002"
    assert verify_index(planted, full=True).faults == ()
    assert geoindex.rebuild_index(planted).generation == "000003"


OWN = ("", "manifest.json", "manifest.sha256", "index.faiss", "gallery.npy")


@pytest.mark.parametrize("part", ["CURRENT", "generations", *(f"generations/000002/{name}" for name in OWN)])
def test_what_may_not_be_read_is_one_sentence(planted, part):
    works = ["verify_index(path)", "inspect_index(path)", "list_generations(path)", "geoindex.rebuild_index(path)"]
    (planted / part).chmod(0o000)
    said = bound(planted, QUERY, *works)
    (planted / part).chmod(0o755)
    for line in said:
        assert line.startswith(("done", "Index", "StorageError"))
    if not part.endswith("manifest.sha256"):  # CURRENT vouches for the live manifest, not its seal
        assert not said[0].startswith("done")
    assert geoindex.open_index(planted).manifest.generation >= "000002"


def test_a_folder_below_one_that_may_not_be_written(tmp_path):
    tmp_path.chmod(0o555)
    said = bound(tmp_path / "below" / "index", "geoindex.build_index('planted:120?dim=8', out=path)")
    tmp_path.chmod(0o755)
    check_refusals(said)
