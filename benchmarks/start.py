"""Where does the time of the first answer of a process go?

    python benchmarks/start.py [--quick] [--index DIR] [--photo FILE] [--backends torch openvino onnx]
        [--repeats 5] [--json FILE]

Each run is a process of its own that does what `geoindex query PHOTO` does, and takes the time of each stage: imports
of libraries are timed apart from the work that needs them. The limit is what those imports cost. Without --index a
small one is built, of synthetic scenes and an untrained ViT-B/32 (of DeiT-tiny's size with --quick).
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from time import time
from typing import Any

from machine import describe_machine

ENCODERS = {
    False: "open_clip:ViT-B-32/random?seed=0",
    True: "timm:vit_tiny_patch16_224/random?seed=0",
}

STAGES = """
import json, sys, time
started, path, photo, backend = float(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4]
stages, last = {}, started
def stage(name):
    global last
    now = time.time()
    stages[name] = 1000 * (now - last)
    last = now
stage("interpreter")
import geoindex.cli
stage("import: command line")
import numpy
stage("import: numpy")
import pyarrow
stage("import: pyarrow")
import faiss
stage("import: faiss")
from geoindex.index import open_index
import geoindex.presentation, geoindex.inputs
stage("import: the rest of geoindex")
index = open_index(path, backend=backend)
stage("open the index")
library = {"torch": "torch", "openvino": "openvino", "onnx": "onnxruntime"}[backend]
if backend == "openvino":
    from geoindex.encoder.openvino_graph import silent_openvino
    silent_openvino()
else:
    __import__(library)
stage("import: " + library)
index.encoder
stage("load the encoder")
answer = index.query_image(photo)
stage("first answer")
again = index.query_image(photo)
stage("second answer")
print(json.dumps({"stages": stages, "torch": "torch" in sys.modules}))
"""


def start(path: Path, photo: Path, backend: str) -> dict[str, Any]:
    """Return the stages of one process, in ms, and whether it imported torch."""
    command = [sys.executable, "-c", STAGES, str(time()), str(path), str(photo), backend]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def command_seconds(path: Path, photo: Path, backend: str) -> float:
    """Return the seconds of the whole command."""
    started = time()
    command = [sys.executable, "-m", "geoindex", "query", str(photo), "--index", str(path), "--backend", backend]
    subprocess.run(command, capture_output=True, check=True)
    return time() - started


def small_index(folder: Path, encoder: str) -> Path:
    """Build an index of a few synthetic scenes."""
    from geoindex.pipeline import build_index

    keys: dict[str, Any] = {"training": {"method": "none"}, "split_by": "none", "encoder": encoder}
    return build_index("synthetic:64?seed=0", out=folder / "index", **keys).path


def table(rows: dict[str, dict[str, Any]]) -> str:
    """Return the stages as Markdown, one column a backend."""
    names = list(dict.fromkeys(name for row in rows.values() for name in row["stages"]))
    lines = [f"| ms, median | {' | '.join(rows)} |", f"| --- |{' ---: |' * len(rows)}"]
    for name in names:
        cells = [f"{row['stages'][name]:,.0f}" if name in row["stages"] else "" for row in rows.values()]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    sums = [f"{sum(ms for name, ms in row['stages'].items() if name != 'second answer'):,.0f}" for row in rows.values()]
    whole = [f"{1000 * row['command_s']:,.0f}" for row in rows.values()]
    lines += [f"| **to the first answer** | {' | '.join(sums)} |", f"| the whole command | {' | '.join(whole)} |"]
    return "\n".join(lines)


def main() -> None:
    """Time the start of each backend in turns."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--index", type=Path)
    parser.add_argument("--photo", type=Path, help="with --index")
    parser.add_argument("--backends", nargs="+", default=["torch", "openvino", "onnx"])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = arguments.index or small_index(Path(folder), ENCODERS[arguments.quick])
        photo = arguments.photo or _photo(Path(folder))
        for backend in arguments.backends:  # exports are made, and all files are in the system's cache
            start(path, photo, backend)
        repeats = 2 if arguments.quick else arguments.repeats
        runs = [{name: start(path, photo, name) for name in arguments.backends} for _ in range(repeats)]
        rows = {name: _middle([run[name] for run in runs]) for name in arguments.backends}
        for name, row in rows.items():
            row["command_s"] = median(command_seconds(path, photo, name) for _ in range(repeats))
    print(table(rows))
    print(f"\nprocesses that imported torch: {', '.join(name for name, row in rows.items() if row['torch'])}")
    if arguments.json:
        arguments.json.write_text(json.dumps({"machine": describe_machine(), "rows": rows}, indent=1))


def _middle(runs: list[dict[str, Any]]) -> dict[str, Any]:
    stages = {name: median(run["stages"][name] for run in runs) for name in runs[0]["stages"]}
    return {"stages": stages, "torch": any(run["torch"] for run in runs)}


def _photo(folder: Path) -> Path:
    import numpy as np
    from PIL import Image

    coarse = np.random.default_rng(0).integers(0, 256, (45, 60, 3), np.uint8)
    path = folder / "photo.jpg"
    Image.fromarray(coarse).resize((960, 720), Image.Resampling.BICUBIC).save(path, quality=90)
    return path


if __name__ == "__main__":
    main()
