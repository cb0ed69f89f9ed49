"""Power cuts and kills at every sync of a build, a rebuild, a rollback and a collection."""

import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from power_loss import LOSSES, Disk, restore
from works import WORKS, answers, begin, check_sound, live, twice_built

import geoindex
from geoindex.integrity import verify_index
from geoindex.store.durable import make_folder, write_durably

REBUILDS = ("first build", "build", "rebuild", "rollback", "gc")

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc tells which file a descriptor is")


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """Two generations; nobody writes to it."""
    return twice_built(tmp_path_factory.mktemp("base") / "index")


@pytest.fixture(scope="module")
def queries(base):
    vectors = geoindex.open_index(base).searcher.sidecar.gallery.live_embeddings()[::20].astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.fixture(scope="module", autouse=True)
def many_open_files():
    """A watched disk holds every file open."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, before[1]), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


class Watched:
    """One work, with every moment of it, and what each generation answers."""

    def __init__(self, base, folder, name, queries):
        self.work = WORKS[name]
        path = begin(base, folder, name)
        self.right = {self.work.before: self.work.before and answers(path, queries)}
        with Disk(folder) as disk:
            self.work.run(path)
        self.moments = disk.moments
        self.right[self.work.after] = answers(path, queries)

    def check(self, moment, files, folder, queries, again):
        """Check what a power cut left."""
        path = restore(files, folder) / "index"
        found = live(path)
        assert found == self.work.after or (found == self.work.before and moment.step != "returned")
        if found:
            assert answers(path, queries) == self.right[found]
            check_sound(path, self.work.rows)
        if again:
            self.work.run(path)
            assert verify_index(path, full=True).faults == ()
            check_sound(path, self.work.rows[-1:])


@pytest.mark.parametrize("name", REBUILDS)
def test_a_power_cut_leaves_the_state_before_or_after(base, tmp_path, name, queries):
    watched = Watched(base, tmp_path / "disk", name, queries)
    count = len(watched.moments)
    assert count >= 3
    chosen = sorted({round(n) for n in np.linspace(0, count - 1, 7)})
    for number, n in enumerate(chosen):
        loss, moment = LOSSES[number % len(LOSSES)], watched.moments[n]
        watched.check(moment, moment.files(loss), tmp_path / f"{n}", queries, again=number == 3)
    for loss in ("dropped", "truncated", "unnamed"):
        last = watched.moments[-1]
        watched.check(last, last.files(loss), tmp_path / loss, queries, again=False)


@pytest.mark.slow
@pytest.mark.parametrize("name", REBUILDS)
def test_a_power_cut_at_every_sync(base, tmp_path, name, queries):
    watched, seen = Watched(base, tmp_path / "disk", name, queries), set()
    for n, moment in enumerate(watched.moments):
        for loss in (*LOSSES, "seed 1", "seed 2"):
            files = moment.files(loss)
            state = hash((moment.step == "returned", *files.items()))
            if state not in seen:
                seen.add(state)
                folder = tmp_path / f"{n}-{loss}"
                watched.check(moment, files, folder, queries, again=True)
                shutil.rmtree(folder)
    assert len(seen) > len(watched.moments) / 2


class TestDisk:
    """The simulation itself: what is lost is what was not synced."""

    def moment(self, folder, work):
        with Disk(folder) as disk:
            work(folder)
        return disk.moments[-1]

    def test_what_is_written_durably_is_there_in_any_case(self, tmp_path):
        moment = self.moment(tmp_path, lambda folder: write_durably(folder / "a", b"1234"))
        assert [moment.files(loss) for loss in (*LOSSES, "seed")] == [{"a": b"1234"}] * (len(LOSSES) + 1)

    def test_what_is_only_written_is_lost_in_every_way(self, tmp_path):
        moment = self.moment(tmp_path, lambda folder: (folder / "a").write_bytes(b"1234"))
        found = {loss: moment.files(loss) for loss in LOSSES}
        assert found == {
            "dropped": {}, "unnamed": {}, "emptied": {"a": b""}, "truncated": {"a": b"12"}, "zeroed": {"a": bytes(4)},
            "whole": {"a": b"1234"},
        }  # fmt: skip

    def test_a_name_without_its_content_and_a_content_without_its_name(self, tmp_path):
        def work(folder):
            for name in ("named", "filled"):
                (folder / name).write_bytes(b"12")
                descriptor = os.open(folder if name == "named" else folder / name, os.O_RDONLY)
                os.fsync(descriptor)
                os.close(descriptor)

        moment = self.moment(tmp_path, work)
        assert moment.files("dropped") == {"named": b""}
        assert moment.files("zeroed") == {"named": bytes(2), "filled": b"12"}

    def test_renames_and_removals_are_undone_with_all_that_lies_below(self, tmp_path):
        (tmp_path / "old").mkdir()
        (tmp_path / "old" / "file").write_bytes(b"12")
        (tmp_path / "gone").write_bytes(b"34")

        def work(folder):
            (folder / "old").rename(folder / "new")
            (folder / "new" / "file").unlink()
            (folder / "gone").unlink()
            (folder / "other").write_bytes(b"5")

        moment = self.moment(tmp_path, work)
        assert moment.files("unnamed") == {"old": None, "old/file": b"12", "gone": b"34"}
        assert moment.files("whole") == {"new": None, "other": b"5"}

    def test_a_made_folder_is_there_with_those_above_it(self, tmp_path):
        moment = self.moment(tmp_path, lambda folder: make_folder(folder / "a" / "b"))
        assert moment.files("dropped") == {"a": None, "a/b": None}


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path[:0] = [sys.argv[1]]
from works import WORKS
work, path, last = WORKS[sys.argv[2]].run, Path(sys.argv[3]), int(sys.argv[4])
syncs, fsync = 0, os.fsync

def sync(descriptor):
    global syncs
    syncs += 1
    if syncs == last:
        print(Path(f"/proc/self/fd/{descriptor}").readlink().relative_to(path.parent), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    fsync(descriptor)

os.fsync = sync
import geoindex.assembly.steps, lancedb, faiss
print("ready", flush=True)
sys.stdin.readline()
work(path)
print("returned", flush=True)
"""


class Kill:
    """A process that does one work and kills itself at a sync; it waits, ready, until it is told to."""

    def __init__(self, base, folder, name, last):
        self.name, self.path = name, begin(base, folder, name)
        command = [sys.executable, "-c", KILLED, str(Path(__file__).parent), name, str(self.path), str(last)]
        code = Path(geoindex.__file__).parents[1]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=code, text=True)

    def strike(self):
        """Let it run; check what is left, and that the same work goes through. Return the step that it died at."""
        said = self.process.communicate("go\n", timeout=300)[0].splitlines()
        work = WORKS[self.name]
        assert said[0] == "ready"
        assert said[1:] == ["returned"] or self.process.returncode == -signal.SIGKILL
        found = live(self.path)
        assert found == work.after or (found == work.before and said[-1] != "returned")
        if found:
            check_sound(self.path, work.rows)
        work.run(self.path)
        assert verify_index(self.path, full=True).faults == ()
        check_sound(self.path, work.rows[-1:])
        return said[-1]


def test_a_kill_at_a_sync_leaves_the_state_before_or_after(base, tmp_path):
    places = {
        "first build": 20,
        "build": 60,
        "rebuild": 30,
        "rollback": 1,
        "gc": 8,
        "add": 30,
        "remove": 3,
        "compact": 60,
    }
    kills = [Kill(base, tmp_path / name, name, last) for name, last in places.items()]
    assert "returned" not in [kill.strike() for kill in kills]


@pytest.mark.slow
@pytest.mark.parametrize("name", WORKS)
def test_a_kill_at_every_sync(base, tmp_path, name):
    """The next process gets ready while one runs."""
    waiting = [Kill(base, tmp_path / f"{n}", name, n) for n in (1, 2)]
    steps, last = [], len(waiting)
    while (step := waiting.pop(0).strike()) != "returned":
        steps.append(step)
        shutil.rmtree(tmp_path / f"{len(steps)}")
        last += 1
        waiting.append(Kill(base, tmp_path / f"{last}", name, last))
    for left in waiting:
        left.process.communicate(timeout=300)
    assert len(steps) == {"rollback": 2}.get(name, len(steps))
    assert any("CURRENT" in each for each in steps) == (name != "gc")
