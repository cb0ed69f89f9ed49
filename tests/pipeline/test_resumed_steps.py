"""A build or rebuild that was stopped goes on after the last step that it finished."""

import json
import shutil
import signal
import subprocess
import sys

import pytest
from tiles import TINY_ENCODER, world_rows, write_table, write_world

import geoindex
from geoindex.assembly import steps as assembly
from geoindex.errors import GeoindexError
from geoindex.integrity import verify_index
from geoindex.store.generations import IndexFolder

SOURCE = "planted:900?dim=12&seed=3"
KEYS = {"training": {"method": "features", "epochs": 2, "places": 16}, "clusters": {"levels": 2}}
OTHER = {"geocells": {"n_cells": 9}}
"""What the rebuilds of these tests change."""

STOPS = {
    "divide": {"divide": 0, "learn": 0},  # by name of what is stopped: how often each has been done
    "fit_projection": {"divide": 1, "learn": 0},
    "learn": {"divide": 1, "learn": 0},
    "write_gallery": {"divide": 1, "learn": 1},
    "fit_posterior": {"divide": 1, "learn": 1},
    "verify_generation": {"divide": 1, "learn": 1},
    "IndexFolder.publish": {"divide": 1, "learn": 1},
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """An index, and what an unbroken rebuild makes of it; nobody writes to them."""
    folder = tmp_path_factory.mktemp("made")
    before = geoindex.build_index(SOURCE, out=folder / "before", **KEYS).path
    after = shutil.copytree(before, folder / "after")
    geoindex.rebuild_index(after, **OTHER)
    return before, after


@pytest.fixture
def path(made, tmp_path):
    return shutil.copytree(made[0], tmp_path / "index")


@pytest.fixture
def counted(monkeypatch):
    """Count how often the long steps are done."""
    counts = {"divide": 0, "learn": 0}

    def count(name):
        step = getattr(assembly, name)

        def counting(*args):
            counts[name] += 1
            return step(*args)

        monkeypatch.setattr(assembly, name, counting)

    for name in counts:
        count(name)
    return counts


def interrupted(*_, **__):
    raise KeyboardInterrupt


def stop(step, action, error=KeyboardInterrupt):
    """Run something that is stopped at a step of the assembly."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(f"geoindex.assembly.steps.{step}", interrupted)
        with pytest.raises(error):
            action()


def rebuild(path, **keys):
    return lambda: geoindex.rebuild_index(path, **OTHER | keys)


def kept(path):
    return sorted(file.name.partition("-")[0] for file in (path / "work" / "steps").glob("*"))


def contents(path):
    """Return the files and tables of the live generation, without what differs between any two runs."""
    folder = IndexFolder(path)
    live = folder.current()
    manifest = json.loads(live.manifest.to_json())
    for name in ("created", "timings_s", "generation", "parent", "tables"):
        manifest.pop(name)
    tables = {}
    for name, version in live.manifest.tables.items():
        columns = folder.tables.columns(name, version)
        key = "row" if name == "images" else name[:-1]
        tables[name] = folder.tables.read(name, version, [key, *(each for each in columns if each != key)])
    manifest["files"].pop("tables.json")  # names of Lance's files are drawn
    files = {name: (live.folder / name).read_bytes() for name in manifest["files"]}
    return manifest, tables, files


def assert_same(path, other):
    (manifest, tables, files), (manifest_2, tables_2, files_2) = contents(path), contents(other)
    assert manifest == manifest_2
    assert files == files_2
    for name, table in tables.items():
        assert table.equals(tables_2[name]), name


class TestRebuild:
    """A rebuild that was stopped, and the next one."""

    @pytest.mark.parametrize("step", STOPS)
    def test_it_does_no_finished_step_again(self, made, path, counted, step):
        stop(step, rebuild(path))
        stopped = dict(STOPS[step])
        if step in counted:  # it replaced what counts
            stopped[step] = 0
        assert counted == stopped
        assert rebuild(path)().generation == "000002"
        assert counted == {"divide": 1, "learn": 1}
        assert_same(path, made[1])
        assert not (path / "work" / "steps").exists()
        assert verify_index(path, full=True).faults == ()

    def test_a_run_that_is_stopped_twice(self, made, path, counted):
        stop("learn", rebuild(path))
        stop("write_gallery", rebuild(path))
        rebuild(path)()
        assert counted == {"divide": 1, "learn": 1}
        assert_same(path, made[1])

    @pytest.mark.parametrize(
        ("keys", "counts"),
        [
            ({"geocells": {"n_cells": 8}}, (2, 2)),
            ({"clusters": {"max_clusters": 6}}, (2, 2)),
            ({"seed": 1}, (2, 2)),
            ({"training": {"lr": 2e-3}}, (1, 2)),
            ({"encoding": {"projection": "whiten"}}, (1, 2)),
            ({"training": {"method": "none"}}, (1, 1)),  # nothing to learn
            ({"search": {"top_cells": 3}}, (1, 1)),
        ],
    )
    def test_another_recipe_takes_only_what_it_would_make_too(self, made, path, counted, tmp_path, keys, counts):
        stop("write_gallery", rebuild(path))
        rebuild(path, **keys)()
        assert (counted["divide"], counted["learn"]) == counts
        unbroken = shutil.copytree(made[0], tmp_path / "unbroken")
        rebuild(unbroken, **keys)()
        assert_same(path, unbroken)

    def test_photos_that_were_removed_meanwhile(self, made, path, counted, tmp_path):
        unbroken = shutil.copytree(made[0], tmp_path / "unbroken")
        stop("write_gallery", rebuild(path))
        for index in (path, unbroken):
            geoindex.open_index(index).remove(["planted-5", "planted-17"])
            rebuild(index)()
        assert counted == {"divide": 3, "learn": 3}
        assert_same(path, unbroken)

    def test_photos_that_were_added_meanwhile(self, made, path, counted, tmp_path):
        unbroken = shutil.copytree(made[0], tmp_path / "unbroken")
        stop("write_gallery", rebuild(path))
        for index in (path, unbroken):
            geoindex.open_index(index).add("planted:950?dim=12&seed=3")
            rebuild(index)()
        assert counted == {"divide": 3, "learn": 3}
        assert_same(path, unbroken)

    @pytest.mark.parametrize("name", ["division", "training"])
    @pytest.mark.parametrize("damage", ["flip", "cut", "other"])
    def test_what_is_damaged_is_made_anew(self, made, path, counted, name, damage):
        stop("write_gallery", rebuild(path))
        assert kept(path) == ["division", "training"]
        (file,) = (path / "work" / "steps").glob(f"{name}-*")
        (other,) = {*(path / "work" / "steps").iterdir()} - {file}
        data = bytearray(file.read_bytes())
        data[len(data) // 2] ^= 4
        file.write_bytes({"flip": data, "cut": data[:100], "other": other.read_bytes()}[damage])
        rebuild(path)()
        assert counted == {"divide": 2 if name == "division" else 1, "learn": 2 if name == "training" else 1}
        assert_same(path, made[1])

    def test_steps_of_other_recipes_do_not_pile_up(self, path):
        for cells in (5, 6, 7):
            stop("write_gallery", rebuild(path, geocells={"n_cells": cells}))
        assert kept(path) == ["division", "training"]

    def test_another_version_of_geoindex_does_them_again(self, path, counted, monkeypatch):
        stop("write_gallery", rebuild(path))
        monkeypatch.setattr("geoindex.assembly.resumption.VERSION", "99")
        rebuild(path)()
        assert counted == {"divide": 2, "learn": 2}

    @pytest.mark.parametrize("method", ["optics", "quadtree", "balanced"])
    def test_every_kind_of_cells_comes_back(self, made, path, counted, tmp_path, method):
        keys = {"geocells": {"method": method, "within": "country"}, "training": {"method": "none"}}
        stop("write_gallery", rebuild(path, **keys))
        rebuild(path, **keys)()
        assert counted["divide"] == 1
        unbroken = shutil.copytree(made[0], tmp_path / "unbroken")
        rebuild(unbroken, **keys)()
        assert_same(path, unbroken)

    def test_cells_of_other_positions_that_have_changed(self, path, counted, tmp_path):
        table = write_table(tmp_path / "others.csv", world_rows(per_hub=20))
        keys = {"geocells": {"source": str(table), "n_cells": 6}}
        stop("learn", rebuild(path, **keys))
        stop("learn", rebuild(path, **keys))
        assert counted["divide"] == 1
        write_table(table, world_rows(per_hub=20, seed=1))
        rebuild(path, **keys)()
        assert counted["divide"] == 2

    def test_an_index_whose_tables_have_no_checksums(self, made, path, counted):
        shutil.rmtree(path / "tables" / "checksums")
        stop("write_gallery", rebuild(path))
        rebuild(path)()
        assert counted == {"divide": 1, "learn": 1}
        assert_same(path, made[1])


class TestBuild:
    """A build that was stopped, and the next one."""

    @pytest.mark.parametrize("step", ["fit_projection", "write_gallery", "IndexFolder.publish"])
    def test_it_does_no_finished_step_again(self, made, tmp_path, counted, step):
        path = tmp_path / "index"
        stop(step, lambda: geoindex.build_index(SOURCE, out=path, **KEYS))
        assert geoindex.build_index(SOURCE, out=path, **KEYS).generation == "000001"
        assert counted == {"divide": 1, "learn": 1}
        assert IndexFolder(path).current().manifest.tables["images"] == 1  # nor are the images stored again
        assert_same(path, made[0])
        assert not (path / "work").exists()

    def test_images_that_have_changed_are_stored_and_learned_anew(self, tmp_path, counted):
        table = write_world(tmp_path / "world", world_rows(per_hub=20))
        keys = {"encoder": TINY_ENCODER, "encoding": {"device": "cpu"}, "training": KEYS["training"]}
        stop("write_gallery", lambda: geoindex.build_index(table, out=tmp_path / "index", **keys))
        shutil.copy(table.parent / "nl-00.jpg", table.parent / "jp-00.jpg")
        geoindex.build_index(table, out=tmp_path / "index", **keys)
        assert counted == {"divide": 1, "learn": 2}  # it is where it was
        geoindex.build_index(table, out=tmp_path / "unbroken", **keys)
        assert_same(tmp_path / "index", tmp_path / "unbroken")

    def test_a_table_that_is_gone_is_written_again(self, made, tmp_path, counted):
        path = tmp_path / "index"
        stop("write_gallery", lambda: geoindex.build_index(SOURCE, out=path, **KEYS))
        shutil.rmtree(path / "tables")
        geoindex.build_index(SOURCE, out=path, **KEYS)
        assert counted == {"divide": 1, "learn": 1}
        assert_same(path, made[0])

    def test_a_step_that_fails_leaves_those_before_it(self, tmp_path, counted):
        def build(**keys):
            return geoindex.build_index("planted:300?dim=8", out=tmp_path / "index", **keys)

        with pytest.raises(GeoindexError, match="must be 1 to 8"):
            build(encoding={"projection": "whiten", "dim": 9})
        build(encoding={"projection": "whiten", "dim": 8})
        assert counted["divide"] == 1


WORK = """
import sys, time
from geoindex.assembly import learning, steps
from geoindex.training import features
step = features._Fit.run_epoch
def slow(fit, epoch):
    print("training", flush=True)
    time.sleep(60)
features._Fit.run_epoch = slow
import geoindex
geoindex.rebuild_index(sys.argv[1], geocells={"n_cells": 9})
"""


def test_a_kill_in_the_middle_of_training(made, path, counted):
    process = subprocess.Popen([sys.executable, "-c", WORK, str(path)], stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdout.readline() == "training\n"
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert kept(path) == ["division"]
    rebuild(path)()
    assert counted == {"divide": 0, "learn": 1}
    assert_same(path, made[1])
