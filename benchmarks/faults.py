"""What is left of an index after kill -9 and after damage? Both many times, against a state that is kept outside.

    python benchmarks/faults.py [--quick] [--kills 300] [--damages 300] [--json FILE]

Kills: a process of its own builds, rebuilds, adds, removes, rolls back or collects, and is killed at a random moment or
at one of its syncs, which are the named steps of the protocol. Afterwards the live generation must be the one before or
the one that the work makes, every byte of it sound, with all photos that it must have and none that was removed; then
the same work must go through. Damages: a random file that the live generation stands on, that of its encoder included,
is truncated, zeroed, deleted, replaced by an older one of its kind, or gets one flipped bit. A full look must find it,
or the answers to embeddings and photos must be right; then a repair must end with a sound index, or say what is lost.
"""

import argparse
import json
import random
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from killing import SECONDS, Killer, make_base
from machine import describe_machine

from geoindex.errors import GeoindexError, IndexDamagedError
from geoindex.index import open_index
from geoindex.integrity import verify_index
from geoindex.pipeline import build_index
from geoindex.progress import track
from geoindex.rebuilding import rebuild_index
from geoindex.repair import repair_index
from geoindex.sources import open_source
from geoindex.store.generations import IndexFolder

SCENES = "synthetic:200?seed=0&size=32"
ENCODER = (
    "timm:vit_tiny_patch16_224/random?img_size=16&patch_size=8&depth=1&embed_dim=32&num_heads=2&global_pool=avg&seed=0"
)
POINTERS = "pointers"
"""Folder beside the base with CURRENT as it was at each generation."""

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


def make_photos(folder: Path) -> Path:
    """Build an index of photos with two generations and an encoder of its own."""
    path, keys = folder / "photos", {"training": {"method": "none"}, "encoding": {"device": "cpu"}}
    build_index(SCENES, out=path, encoder=ENCODER, geocells={"n_cells": 4}, **keys)
    (folder / POINTERS).mkdir()
    shutil.copy(path / "CURRENT", folder / POINTERS / "000001")
    rebuild_index(path, geocells={"n_cells": 6})
    return path


class Asked:
    """Questions with their right answers by generation."""

    def __init__(self, base: Path) -> None:
        embeddings = open_index(base).searcher.sidecar.gallery.live_embeddings()[::20].astype(np.float32)
        self._queries = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
        source = open_source(SCENES)
        self._photos = [source.read(image) for image in source.scan().samples.images[:4]]
        self._right = {}
        with tempfile.TemporaryDirectory() as folder:
            path = Path(shutil.copytree(base, Path(folder, "index")))
            self._right["000002"] = self.answers(path)[1]
            shutil.copy(base.parent / POINTERS / "000001", path / "CURRENT")
            self._right["000001"] = self.answers(path)[1]

    def answers(self, path: Path) -> tuple[str, list[tuple[float, float, str]]]:
        """Return the generation that answers, and its points."""
        index = open_index(path, device="cpu")
        found = [*index.query_embeddings(self._queries), *(index.query_image(photo) for photo in self._photos)]
        return index.manifest.generation, [(each.lat, each.lon, each.place) for each in found]

    def right(self, path: Path) -> bool:
        """Tell whether every answer is that of the generation that it names."""
        generation, points = self.answers(path)
        return points == self._right[generation]


def files_needed(path: Path) -> list[str]:
    """Return the files that the live generation stands on."""
    live = IndexFolder(path).current().manifest
    records = [path / "tables" / "checksums" / f"{table}-{version}.json" for table, version in live.tables.items()]
    tables = [f"tables/{file}" for record in records for file in json.loads(record.read_text())]
    own = [f"generations/{live.generation}/{name}" for name in (*live.files, "manifest.json")]
    encoder = [p.relative_to(path).as_posix() for p in (path / "encoder" / live.encoder["fingerprint"]).iterdir()]
    lists = [record.relative_to(path).as_posix() for record in records]
    return ["CURRENT", *own, *tables, *lists, *encoder]


def older(base: Path, name: str) -> bytes | None:
    """Return what the file of this kind held in the first generation; None if there is none or it is the same."""
    file, parts = base / name, name.split("/")
    if name == "CURRENT":
        return (base.parent / POINTERS / "000001").read_bytes()
    if parts[0] == "generations":
        before = base / parts[0] / "000001" / parts[2]
    elif parts[0] == "tables":
        beside = [p for p in file.parent.iterdir() if p.name.partition("-")[0] == file.name.partition("-")[0]]
        kind = beside if parts[1] == "checksums" else file.parent.iterdir()
        before = min((p for p in kind if p.is_file() and p.suffix == file.suffix), key=lambda p: p.stat().st_mtime_ns)
    else:
        return None
    same = before.read_bytes() == file.read_bytes()
    return None if same else before.read_bytes()


OLDER = "replaced by an older one"


def damage_once(base: Path, asked: Asked, folder: Path, draw: random.Random) -> dict[str, Any]:
    """Damage one file, and check that it is found and mended, or told."""
    path = Path(shutil.copytree(base, folder / "index"))
    how = draw.choice([*DAMAGES, OLDER])
    old = {name: data for name in files_needed(path) if (data := older(base, name)) is not None}
    name = draw.choice(sorted(old) if how == OLDER else files_needed(path))
    file = path / name
    data = old[name] if how == OLDER else DAMAGES[how](file.read_bytes(), draw)
    file.unlink()
    if data is not None:
        file.write_bytes(data)
    found = bool(verify_index(path, full=True).faults)
    try:
        right, served = asked.right(path), True
    except GeoindexError:
        right = served = False
    problem = "" if found or right else "not found, and other answers"
    outcome = _repaired(path)
    if outcome == "lost" and not name.startswith(("tables/images", "encoder")):
        problem = problem or f"lost, though only '{name}' was damaged"
    if outcome not in ("sound", "lost"):
        problem = problem or outcome
    wrong = served and not right
    return {"file": name, "how": how, "found": found, "wrong": wrong, "repair": outcome, "problem": problem}


def _repaired(path: Path) -> str:
    """Repair; return sound, lost, or what is wrong with that."""
    try:
        left = repair_index(path).left
    except IndexDamagedError as error:
        return "lost" if "restore it from a copy" in str(error) else f"no cure in: {error}"
    if left:
        try:
            return "lost" if open_index(path).manifest.generation else ""
        except GeoindexError as error:
            return f"repaired, but: {error}"
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
    lines = ["| kills during | at random moments | at a sync | different syncs | acknowledged | problems |"]
    lines.append("| --- | ---: | ---: | ---: | ---: | ---: |")
    for name in SECONDS:
        rows = [row for row in kills if row["work"] == name]
        steps = [row["step"] for row in rows if row["step"]]
        done, bad = (sum(bool(row[key]) for row in rows) for key in ("acknowledged", "problem"))
        kinds = len({_kind(step) for step in steps})
        lines.append(f"| {name} | {len(rows) - len(steps)} | {len(steps)} | {kinds} | {done} | {bad} |")
    lines += ["", "| damage | times | found | answers changed | mended | told as lost | problems |"]
    lines.append("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for how in (*DAMAGES, OLDER):
        rows = [row for row in damages if row["how"] == how]
        ends = Counter(row["repair"] for row in rows)
        found, wrong, bad = (sum(bool(row[key]) for row in rows) for key in ("found", "wrong", "problem"))
        lines.append(f"| {how} | {len(rows)} | {found} | {wrong} | {ends['sound']} | {ends['lost']} | {bad} |")
    encoder = [row for row in damages if row["file"].startswith("encoder")]
    return "\n".join([*lines, "", f"{len(encoder)} of the damaged files were of the encoder."])


def _kind(step: str) -> str:
    """Name a step without what differs from run to run."""
    return "/".join(re.sub(r"[0-9a-f-]{16,}|\d+", "N", part) for part in step.split("/"))


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
        photos = make_photos(Path(temporary))
        asked, killer = Asked(photos), Killer(make_base(Path(temporary)))
        try:
            kills = run(kill_count, "kill", killer.once)
        finally:
            killer.close()
        damages = run(damage_count, "damage", lambda folder, draw: damage_once(photos, asked, folder, draw))
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
