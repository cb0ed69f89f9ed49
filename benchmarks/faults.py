"""What is left of an index after kill -9 and after damage? Both many times, against a state that is kept outside.

    python benchmarks/faults.py [--quick] [--kills 300] [--damages 300] [--json FILE]

Kills: a process of its own builds, rebuilds, rolls back or collects, and is killed at a random moment. Afterwards the
live generation must be the one before or the one that the work makes, every byte of it sound, with all photos; then the
same work must go through. Damages: a random file that the live generation stands on is truncated, zeroed, deleted or
gets one flipped bit. A full look must find it, or the answers must be unchanged; then a repair must end with a sound
index, or say what is lost.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from time import perf_counter, sleep
from typing import Any

import numpy as np
from machine import describe_machine

from geoindex.errors import GeoindexError, IndexDamagedError
from geoindex.index import open_index
from geoindex.integrity import verify_index
from geoindex.pipeline import build_index
from geoindex.progress import track
from geoindex.rebuilding import rebuild_index
from geoindex.repair import repair_index
from geoindex.store.generations import IndexFolder

SOURCE = "planted:400?dim=16&seed=0"
PHOTOS = 400
WORK = """
import sys
from geoindex.pipeline import build_index
from geoindex.rebuilding import rebuild_index
from geoindex.store.history import collect
from geoindex.updates.rollback import roll_back
import lancedb, faiss, scipy.spatial, sklearn.cluster, numba
name, path, cells = sys.argv[1], sys.argv[2], int(sys.argv[3])
print("ready", flush=True)
if name == "build":
    build_index("planted:400?dim=16&seed=0", out=path, training={"method": "none"}, geocells={"n_cells": cells})
elif name == "rebuild":
    rebuild_index(path, geocells={"n_cells": cells})
elif name == "rollback":
    roll_back(path)
elif name == "gc":
    collect(path, keep=1, grace_hours=0.0)
print("done", flush=True)
"""
SECONDS = {"build": 1.6, "rebuild": 1.1, "rollback": 0.05, "gc": 0.2}
"""About how long each takes: kills are drawn uniformly over it."""

DAMAGES: dict[str, Callable[[bytes, random.Random], bytes | None]] = {
    "truncated": lambda data, draw: data[: draw.randrange(len(data))] if data else None,
    "zeroed": lambda data, draw: bytes(len(data)),
    "flipped": lambda data, draw: _flipped(data, draw.randrange(8 * len(data))) if data else None,
    "deleted": lambda data, draw: None,
}


def _flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << (bit % 8)
    return bytes(changed)


def make_base(folder: Path) -> Path:
    """Build an index with two generations."""
    path = folder / "base"
    build_index(SOURCE, out=path, training={"method": "none"}, geocells={"n_cells": 4})
    rebuild_index(path, geocells={"n_cells": 6})
    return path


def photos_of(path: Path) -> int:
    """Return how many photos the live generation has, as its table holds them."""
    index = IndexFolder(path)
    return index.tables.read("images", index.current().manifest.tables["images"], ["row"]).num_rows


def answers(path: Path, queries: np.ndarray) -> list[tuple[float, float]]:
    """Return the points for some embeddings."""
    return [(found.lat, found.lon) for found in open_index(path).query_embeddings(queries)]


def kill_once(base: Path, folder: Path, draw: random.Random) -> dict[str, Any]:
    """Kill one piece of work, and check what is left."""
    name = draw.choice(list(SECONDS))
    path = Path(shutil.copytree(base, folder / "index"))
    cells = draw.randint(3, 9)
    command = [sys.executable, "-c", WORK, name, str(path), str(cells)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    sleep(draw.random() * SECONDS[name])
    os.kill(process.pid, signal.SIGKILL)
    acknowledged = "done" in process.stdout.read()
    process.wait()
    problem = _after_kill(path, name, acknowledged)
    again = subprocess.run([*command[:3], name, str(path), str(cells)], capture_output=True, text=True)
    refused = name == "rollback" and "is the first" in again.stderr
    if not problem and not refused and (again.returncode or verify_index(path, full=True).faults):
        problem = f"the same work does not go through: {again.stderr[-300:]}"
    return {"work": name, "acknowledged": acknowledged, "problem": problem}


def _after_kill(path: Path, name: str, acknowledged: bool) -> str:
    """Return what is wrong with what a kill left; empty if nothing is."""
    before, after = "000002", {"build": "000003", "rebuild": "000003", "rollback": "000001", "gc": "000002"}[name]
    try:
        live = IndexFolder(path).current().manifest.generation
        faults = verify_index(path, full=True).faults
        photos = photos_of(path)
    except GeoindexError as error:
        return f"cannot be opened: {error}"
    if live not in (before, after) or (acknowledged and live != after):
        return f"generation {live} is live"
    return faults[0] if faults else "" if photos == PHOTOS else f"{photos} photos are left"


def files_needed(path: Path) -> list[str]:
    """Return the files that the live generation stands on."""
    live = IndexFolder(path).current().manifest
    records = [path / "tables" / "checksums" / f"{table}-{version}.json" for table, version in live.tables.items()]
    tables = [f"tables/{file}" for record in records for file in json.loads(record.read_text())]
    own = [f"generations/{live.generation}/{name}" for name in (*live.files, "manifest.json")]
    return ["CURRENT", *own, *tables]


def damage_once(base: Path, folder: Path, queries: np.ndarray, truth: Any, draw: random.Random) -> dict[str, Any]:
    """Damage one file, and check that it is found and mended, or told."""
    path = Path(shutil.copytree(base, folder / "index"))
    name, how = draw.choice(files_needed(path)), draw.choice(list(DAMAGES))
    file = path / name
    before = file.read_bytes()
    data = DAMAGES[how](before, draw)
    file.unlink()
    if data is not None:
        file.write_bytes(data)
    found = bool(verify_index(path, full=True).faults)
    try:
        right = answers(path, queries) == truth
        served = True
    except GeoindexError:
        right = served = False
    problem = "" if found or right else "not found, and other answers"
    wrong = served and not right
    outcome = _repaired(path)
    if outcome == "lost" and not name.startswith("tables/images"):
        problem = problem or f"lost, though only '{name}' was damaged"
    if outcome not in ("sound", "lost"):
        problem = problem or outcome
    return {"file": name, "how": how, "found": found, "wrong": wrong, "repair": outcome, "problem": problem}


def _repaired(path: Path) -> str:
    try:
        repair_index(path)
    except IndexDamagedError as error:
        return "lost" if "restore it from a copy" in str(error) else f"no cure in: {error}"
    faults = verify_index(path, full=True).faults
    return faults[0] if faults else "sound"


def run(count: int, label: str, once: Callable[[Path, random.Random], dict[str, Any]]) -> list[dict[str, Any]]:
    """Repeat with folders and draws of their own."""
    found = []
    for number in track(range(count), label, total=count, unit=label):
        with tempfile.TemporaryDirectory() as folder:
            found.append(once(Path(folder), random.Random(number)))
    return found


def table(kills: list[dict[str, Any]], damages: list[dict[str, Any]]) -> str:
    """Return the figures as Markdown."""
    lines = ["| kills during | times | acknowledged | problems |", "| --- | ---: | ---: | ---: |"]
    for name in SECONDS:
        rows = [row for row in kills if row["work"] == name]
        done, bad = (sum(bool(row[key]) for row in rows) for key in ("acknowledged", "problem"))
        lines.append(f"| {name} | {len(rows)} | {done} | {bad} |")
    lines += ["", "| damage | times | found | answers changed | mended | told as lost | problems |"]
    lines.append("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for how in DAMAGES:
        rows = [row for row in damages if row["how"] == how]
        ends = Counter(row["repair"] for row in rows)
        found, wrong, bad = (sum(bool(row[key]) for row in rows) for key in ("found", "wrong", "problem"))
        lines.append(f"| {how} | {len(rows)} | {found} | {wrong} | {ends['sound']} | {ends['lost']} | {bad} |")
    return "\n".join(lines)


def main() -> None:
    """Kill and damage, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="8 kills and 16 damages")
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--damages", type=int, default=300)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    kill_count, damage_count = (8, 16) if options.quick else (options.kills, options.damages)
    started = perf_counter()
    with tempfile.TemporaryDirectory() as temporary:
        base = make_base(Path(temporary))
        embeddings = open_index(base).searcher.sidecar.gallery.live_embeddings()[::40].astype(np.float32)
        queries = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
        truth = answers(base, queries)
        damages = run(damage_count, "damage", lambda folder, draw: damage_once(base, folder, queries, truth, draw))
        kills = run(kill_count, "kill", lambda folder, draw: kill_once(base, folder, draw))
    print(table(kills, damages))
    problems = [row for row in kills + damages if row["problem"]]
    print(
        f"\n{len(problems)} problems in {len(kills)} kills and {len(damages)} damages, {perf_counter() - started:.0f} s"
    )
    for row in problems[:20]:
        print(f"- {row}")
    if options.json:
        rows = {"machine": describe_machine(), "kills": kills, "damages": damages}
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
