"""Processes that write to an index and are killed, at random moments or at a named step, and what they leave.

A process imports all that it needs and then waits for its work, so that the next ones get ready while one is looked at.
A named step is a sync: the process counts those that geoindex asks for, and kills itself at one of them.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections import deque
from pathlib import Path
from time import sleep
from typing import Any

from geoindex.errors import GeoindexError
from geoindex.integrity import verify_index
from geoindex.pipeline import build_index
from geoindex.rebuilding import rebuild_index
from geoindex.store.generations import IndexFolder

PHOTOS, MORE = 400, 440
SOURCE = f"planted:{PHOTOS}?dim=16&seed=0"
LARGER = f"planted:{MORE}?dim=16&seed=0"
GONE = tuple(f"planted-{number}" for number in range(0, PHOTOS, 100))
READY = 2
"""Processes that get ready ahead."""

WORK = """
import json, os, signal, sys
from pathlib import Path
from geoindex.pipeline import build_index
from geoindex.rebuilding import rebuild_index
from geoindex.store.history import collect
from geoindex.updates.adding import add_images
from geoindex.updates.removing import remove_images
from geoindex.updates.rollback import roll_back
import lancedb, faiss, scipy.spatial, sklearn.cluster, numba
syncs, fsync = 0, os.fsync

def sync(descriptor):
    global syncs
    syncs += 1
    if syncs == order["sync"]:
        print("step", Path(f"/proc/self/fd/{descriptor}").readlink().relative_to(order["path"]), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    fsync(descriptor)

os.fsync = sync
print("ready", flush=True)
order = json.loads(sys.stdin.readline())
path, cells = order["path"], {"geocells": {"n_cells": order["cells"]}}
{
    "build": lambda: build_index(order["source"], out=path, training={"method": "none"}, **cells),
    "rebuild": lambda: rebuild_index(path, **cells),
    "add": lambda: add_images(path, order["larger"]),
    "remove": lambda: remove_images(path, order["gone"]),
    "rollback": lambda: roll_back(path, "000001"),
    "gc": lambda: collect(path, keep=1, grace_hours=0.0),
}[order["name"]]()
print("done", flush=True)
"""

SECONDS = {"build": 1.6, "rebuild": 1.1, "add": 0.8, "remove": 0.5, "rollback": 0.05, "gc": 0.2}
"""About how long each takes: kills at random moments are drawn uniformly over it."""

SYNCS = {"build": 100, "rebuild": 80, "add": 80, "remove": 60, "rollback": 2, "gc": 25}
"""About how many syncs each asks for: named steps are drawn uniformly from them."""

AFTER = {"rollback": "000001", "gc": "000002"}
"""The live generation after a work; the others make the third."""


def make_base(folder: Path) -> Path:
    """Build an index with two generations."""
    path = folder / "planted"
    build_index(SOURCE, out=path, training={"method": "none"}, geocells={"n_cells": 4})
    rebuild_index(path, geocells={"n_cells": 6})
    return path


def photos_of(path: Path) -> set[str]:
    """Return the ids of the photos of the live generation that were not removed."""
    index = IndexFolder(path)
    table = index.tables.read("images", index.current().manifest.tables["images"], ["row", "id"])
    return set(table["id"].to_pylist()) - index.tombstones().ids


def right_photos(name: str, done: bool) -> list[set[str]]:
    """Return which photos an index may hold during a work, and must hold after it."""
    before = {f"planted-{number}" for number in range(PHOTOS)}
    after = {"add": before | {f"planted-{n}" for n in range(MORE)}, "remove": before - set(GONE)}.get(name, before)
    return [after] if done else [before, after]


class Killer:
    """Kills one process after the other; the next ones get ready meanwhile."""

    def __init__(self, base: Path) -> None:
        self._base = base
        self._ready = deque(_start() for _ in range(READY))

    def once(self, folder: Path, draw: random.Random) -> dict[str, Any]:
        """Kill one piece of work, and check what is left."""
        name = draw.choice(list(SECONDS))
        path = Path(shutil.copytree(self._base, folder / "index"))
        named = draw.random() < 0.5
        order = {
            "name": name, "path": str(path), "cells": draw.randint(3, 9), "gone": GONE, "source": SOURCE,
            "larger": LARGER, "sync": draw.randint(1, SYNCS[name]) if named else 0,
        }  # fmt: skip
        said = self._strike(order, None if named else draw.random() * SECONDS[name])
        done = "done" in said
        problem = _problem(path, name, done)
        again = self._strike(order | {"sync": 0}, None)
        if not problem and ("done" not in again or verify_index(path, full=True).faults):
            problem = "the same work does not go through"
        problem = problem or _problem(path, name, True)
        step = next((line.removeprefix("step ") for line in said if line.startswith("step ")), "")
        return {"work": name, "named": named, "step": step, "acknowledged": done, "problem": problem}

    def _strike(self, order: dict[str, Any], after_s: float | None) -> list[str]:
        """Give a process its work and kill it after some time, or let it end; return what it said."""
        process = self._ready.popleft()
        self._ready.append(_start())
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        process.stdin.write(json.dumps(order) + "\n")
        process.stdin.flush()
        if after_s is not None:
            sleep(after_s)
            os.kill(process.pid, signal.SIGKILL)
        said = process.stdout.read().splitlines()
        process.wait()
        return said

    def close(self) -> None:
        """End the processes that are ready."""
        for process in self._ready:
            process.kill()
            process.wait()


def _start() -> subprocess.Popen[str]:
    pipe, null = subprocess.PIPE, subprocess.DEVNULL
    return subprocess.Popen([sys.executable, "-c", WORK], stdin=pipe, stdout=pipe, stderr=null, text=True)


def _problem(path: Path, name: str, done: bool) -> str:
    """Return what is wrong with what is left; empty if nothing is."""
    after = AFTER.get(name, "000003")
    try:
        live = IndexFolder(path).current().manifest.generation
        faults = verify_index(path, full=True).faults
        photos = photos_of(path)
    except GeoindexError as error:
        return f"cannot be opened: {error}"
    if faults:
        return faults[0]
    if live != after and (live != "000002" or done) and live <= "000003":
        return f"generation {live} is live"
    return "" if photos in right_photos(name, done) else f"{len(photos)} photos are left"
