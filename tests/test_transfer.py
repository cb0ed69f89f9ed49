"""An index that is cloned, exported and imported: the same answers, every byte checked, nothing half-done."""

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from time import sleep

import numpy as np
import pytest
from tiles import PHOTOS, points, snapshot, twice_built

import geoindex
from geoindex.errors import IndexDamagedError, IndexLockedError, IndexNotFoundError, StorageError
from geoindex.integrity import verify_index
from geoindex.rebuilding import rebuild_index
from geoindex.repair import repair_index
from geoindex.store import copying, space
from geoindex.store.generations import IndexFolder
from geoindex.store.history import collect
from geoindex.transfer import clone_index, export_index, import_index
from geoindex.updates.rollback import roll_back

CODE = Path(geoindex.__file__).parents[1]


@pytest.fixture(scope="module")
def parent(tmp_path_factory):
    """Two generations over the same images; nobody writes to it."""
    return twice_built(tmp_path_factory.mktemp("parent"), per_hub=6)


def carried(path, folder, generation=""):
    """Export an index and import it again."""
    archive = folder / "index.tar"
    export_index(path, archive, generation)
    return import_index(archive, folder / "index")


def cloned(path, folder, generation=""):
    return clone_index(path, folder / "index", generation)


WAYS = pytest.mark.parametrize("way", [cloned, carried])


def answers(path, encoder):
    return points(geoindex.open_index(path, encoder=encoder), PHOTOS)


@WAYS
def test_a_copy_answers_the_same_and_is_sound(parent, tmp_path, tiny_encoder, way):
    before = snapshot(parent)
    made = way(parent, tmp_path)
    assert (made.path, made.generation) == (tmp_path / "index", "000002")
    assert verify_index(made.path, full=True).to_text().endswith("000002 is sound (every byte read)")
    assert answers(made.path, tiny_encoder) == answers(parent, tiny_encoder)
    # with no encoder given the copy uses the one that it keeps
    assert points(geoindex.open_index(made.path), PHOTOS) == answers(parent, tiny_encoder)
    assert snapshot(parent) == before
    assert IndexFolder(made.path).names() == ["000002"]
    tables = IndexFolder(made.path).tables
    assert {t: set(tables._connect().open_table(t).tags.list()) for t in ("images", "cells", "clusters")} == {
        t: {"gen-000002"} for t in ("images", "cells", "clusters")
    }


@WAYS
def test_a_copy_stands_on_its_own(parent, tmp_path, tiny_encoder, way):
    index = shutil.copytree(parent, tmp_path / "parent")
    made = way(index, tmp_path).path
    truth = answers(made, tiny_encoder)
    shutil.rmtree(index)
    assert answers(made, tiny_encoder) == truth
    assert rebuild_index(made, geocells={"n_cells": 6}).generation == "000003"
    assert roll_back(made).manifest.generation == "000002"
    assert collect(made, keep=1, grace_hours=0).removed == ()
    assert verify_index(made, full=True).faults == ()
    assert answers(made, tiny_encoder) == truth


@WAYS
def test_an_older_generation(parent, tmp_path, tiny_encoder, way):
    made = way(parent, tmp_path, "000001")
    assert made.generation == "000001"
    assert geoindex.open_index(made.path).searcher.ann.n_cells == 4
    assert verify_index(made.path, full=True).faults == ()
    # its files are a part of those of its parent, and nothing of the other generation is among them
    assert not [name for name in snapshot(made.path) if "/000002" in name or "gen-000002" in name]
    assert set(snapshot(made.path)) < set(snapshot(parent)) | {".lock"}
    back = rebuild_index(made.path, geocells={"n_cells": 8}).path
    assert [a[:2] for a in answers(back, tiny_encoder)] == [a[:2] for a in answers(parent, tiny_encoder)]
    with pytest.raises(IndexNotFoundError, match="no generation '000009'; there are: 000001, 000002"):
        clone_index(parent, tmp_path / "other", "000009")


def test_the_same_generation_gives_the_same_bytes(parent, tmp_path):
    export_index(parent, tmp_path / "a.tar")
    clone_index(parent, tmp_path / "clone")
    export_index(tmp_path / "clone", tmp_path / "b.tar")
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()


@WAYS
def test_photos_that_were_removed_stay_removed(parent, tmp_path, way):
    index = shutil.copytree(parent, tmp_path / "parent")
    (index / "removed.json").write_bytes(b'{"ids": ["1"]}')
    made = way(index, tmp_path, "000001")
    assert (made.path / "removed.json").read_bytes() == b'{"ids": ["1"]}'


@WAYS
def test_tables_without_checksums_are_taken_whole(parent, tmp_path, tiny_encoder, way):
    index = shutil.copytree(parent, tmp_path / "parent")
    shutil.rmtree(index / "tables" / "checksums")
    (index / "tables" / "cells.lance" / "data" / ".tmpX").write_bytes(b"what a killed write left")
    (index / "generations" / "000001" / "manifest.sha256").unlink()
    made = way(index, tmp_path, "000001").path
    assert len(repair_index(made).steps) == 4  # three lists of checksums, and all is sound
    assert verify_index(made, full=True).faults == ()
    assert geoindex.open_index(made).searcher.ann.n_cells == 4
    assert set(IndexFolder(made).tables._connect().open_table("cells").tags.list()) == {"gen-000001"}
    assert not list(made.rglob(".tmp*"))


@pytest.mark.parametrize("name", ["with space", "größe 北京", "per%cent #1"])
def test_paths_with_spaces_and_other_letters(parent, tmp_path, tiny_encoder, name):
    folder = tmp_path / name
    folder.mkdir()
    made = cloned(parent, folder).path
    back = carried(made, folder / "back").path
    assert answers(back, tiny_encoder) == answers(parent, tiny_encoder)
    assert sorted(p.name for p in tmp_path.iterdir()) == [name]


DAMAGED = [
    "generations/000002/gallery.npy",
    "generations/000002/manifest.json",
    "tables/images.lance/data/*",
    "tables/cells.lance/_versions/1*",
    "tables/checksums/images-*",
    "encoder/*/model.safetensors",
    "encoder/*/config.json",
]


def flipped(data):
    return data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 1]) + data[len(data) // 2 + 1 :]


@pytest.mark.parametrize(
    ("pattern", "how"),
    # a table that has lost its record passes for an older one
    [(p, how) for p in DAMAGED for how in ("flipped", "longer", "deleted") if (p, how) != (DAMAGED[4], "deleted")],
)
def test_a_damaged_source_is_refused(parent, tmp_path, pattern, how):
    index = shutil.copytree(parent, tmp_path / "parent")
    # Lance counts the names of versions down, so the first is that of the live generation
    path = min(index.glob(pattern)) if "data" not in pattern else next(index.glob(pattern))
    if how == "deleted":
        path.unlink()
    else:
        path.write_bytes(flipped(path.read_bytes()) if how == "flipped" else path.read_bytes() + b"}")
    for way in (cloned, carried):
        with pytest.raises(IndexDamagedError) as caught:
            way(index, tmp_path)
        assert str(caught.value).count("\n") == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["parent"]


def test_what_is_not_copied_need_not_be_sound(parent, tmp_path):
    index = shutil.copytree(parent, tmp_path / "parent")
    (index / "generations" / "000001" / "gallery.npy").unlink()
    assert cloned(index, tmp_path).generation == "000002"
    with pytest.raises(IndexDamagedError, match=r"gallery\.npy' is gone"):
        clone_index(index, tmp_path / "other", "000001")


@WAYS
def test_a_place_that_is_taken(parent, tmp_path, way):
    (tmp_path / "index").mkdir()  # an empty folder is none
    way(parent, tmp_path)
    before = snapshot(tmp_path / "index")
    with pytest.raises(StorageError, match="is there already"):
        way(parent, tmp_path)
    assert snapshot(tmp_path / "index") == before


def test_an_archive_is_replaced_only_on_demand(parent, tmp_path):
    path = tmp_path / "index.tar"
    export_index(parent, path, "000001")
    before = path.read_bytes()
    with pytest.raises(StorageError, match="replace it with --replace"):
        export_index(parent, path)
    assert path.read_bytes() == before
    export_index(parent, path, replace=True)
    assert import_index(path, tmp_path / "index").generation == "000002"
    with pytest.raises(StorageError, match="is there already"):
        export_index(parent, tmp_path / "index", replace=True)


def test_nothing_to_copy(tmp_path):
    for verb in (clone_index, export_index):
        with pytest.raises(IndexNotFoundError, match="No index at"):
            verb(tmp_path / "none", tmp_path / "out")
    with pytest.raises(IndexNotFoundError, match="No archive at"):
        import_index(tmp_path / "none", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@WAYS
def test_a_disk_without_room_is_refused_before_anything_is_written(parent, tmp_path, monkeypatch, way):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(space.shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(StorageError, match=r"has 1\.0 kB free, and \d+ kB are needed"):
        way(parent, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_two_copies_to_one_place_at_once(parent, tmp_path):
    with copying.beside(tmp_path / "index"), pytest.raises(IndexLockedError):
        cloned(parent, tmp_path)
    assert cloned(parent, tmp_path).generation == "000002"


@WAYS
def test_a_step_that_fails_leaves_nothing(parent, tmp_path, monkeypatch, way):
    def interrupted(*_):
        raise KeyboardInterrupt

    for step in ("sync_tree", "_complete"):
        with monkeypatch.context() as patch:
            patch.setattr(copying, step, interrupted)
            with pytest.raises(KeyboardInterrupt):
                way(parent, tmp_path)
        assert [p.name for p in tmp_path.iterdir() if p.name != "index.tar"] == []
        (tmp_path / "index.tar").unlink(missing_ok=True)


REPEAT = """
import sys
from itertools import count
from pathlib import Path
import lancedb
from geoindex.transfer import clone_index, export_index, import_index
verb, source, folder = sys.argv[1:]
for number in count():
    print(number, flush=True)
    globals()[verb](source, Path(folder) / str(number))
"""


@pytest.mark.parametrize("kills", [1, pytest.param(10, marks=pytest.mark.slow)])
@pytest.mark.parametrize("verb", [clone_index, export_index, import_index])
def test_a_kill_leaves_a_whole_one_or_none(parent, tmp_path, verb, kills):
    source, folder, rng = parent, tmp_path / "made", np.random.default_rng(kills)
    if verb is import_index:
        source = tmp_path / "index.tar"
        export_index(parent, source)
    command = [sys.executable, "-c", REPEAT, verb.__name__, str(source), str(folder)]
    for _ in range(kills):
        shutil.rmtree(folder, ignore_errors=True)
        wanted, moment_s = rng.integers(0, 9), rng.uniform(0.0, 0.05)
        with subprocess.Popen(command, cwd=CODE, stdout=subprocess.PIPE, text=True) as child:
            begun = next(int(line) for line in child.stdout if int(line) >= wanted)
            sleep(moment_s)
            child.send_signal(signal.SIGKILL)
            begun = max([begun, *map(int, child.stdout)])
        for each in range(begun + 2):
            check_made(folder / str(each), tmp_path / f"from-{each}", verb, acknowledged=each < begun)
        if not (folder / str(begun)).exists():
            verb(source, folder / str(begun))
        # of what the killed one left, only the lock of a run that had just renamed its work may be there
        assert not [path for path in folder.glob(".*.partial/*") if path.name != ".lock"]


def check_made(made, out, verb, acknowledged):
    """What was acknowledged is there; all that is there is whole."""
    if not made.exists():
        assert not acknowledged
        with pytest.raises(IndexNotFoundError):
            (import_index if verb is export_index else clone_index)(made, out)
        return
    if verb is export_index:
        import_index(made, out)
        made = out
    assert verify_index(made).faults == ()
    assert geoindex.open_index(made).manifest.generation == "000002"
    shutil.rmtree(out, ignore_errors=True)


def test_the_commands(parent, tmp_path, run):
    code, out, _ = run("clone", parent, tmp_path / "clone", "--generation", "000001")
    assert (code, out.startswith(f"{tmp_path / 'clone'}: generation 000001, ")) == (0, True)
    code, out, _ = run("export", tmp_path / "clone", tmp_path / "a.tar", "--format", "json")
    assert (code, json.loads(out)["bytes"]) == (0, (tmp_path / "a.tar").stat().st_size)
    assert run("export", tmp_path / "clone", tmp_path / "a.tar")[0] == 1
    assert run("export", tmp_path / "clone", tmp_path / "a.tar", "--replace")[0] == 0
    code, out, _ = run("import", tmp_path / "a.tar", tmp_path / "b")
    assert (code, run("verify", tmp_path / "b", "--full")[0]) == (0, 0)
    code, out, err = run("import", tmp_path / "a.tar", tmp_path / "b")
    assert (code, out, err.count("\n")) == (1, "", 1)
