"""A build of real photos on a Ray cluster of several nodes beside the local one: what Ray costs, and if it is the same.

    python benchmarks/spread.py [--quick] [--json FILE] [--rounds 2] [--workers 2]

Im2GPS3k through DeiT-tiny, in turns. The nodes share this machine: a head without cores and some workers of one core
each. Ray's own start, and what the first actors import, is told apart: it is the time from the call until the first
image is encoded of a build of one shard. The facts of cells, clusters and gallery must be equal to the last byte; the
largest difference of embeddings is told. Needs the folder of real data; without it the benchmark says so and ends.
"""

import argparse
import json
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
from machine import describe_machine, needed_folder, ray_nodes

QUICK_PHOTOS = 300
STEP = "embed"


def build(out: Path, executor: str, photos: int | None) -> dict[str, Any]:
    """Build, and return the seconds of the whole and of its steps."""
    from geoindex.pipeline import build_index

    shared, started = needed_folder(), perf_counter()
    report = build_index(
        str(shared / "data/im2gps3k/metadata.csv"),
        out=out,
        executor=executor,
        encoder="timm:deit_tiny_patch16_224",
        weights=str(shared / "weights/deit_tiny_patch16_224.safetensors"),
        split_by="author",
        **({} if photos is None else {"sample": photos}),
    )
    return {"executor": executor, "seconds": perf_counter() - started, "steps_s": report.timings_s, **report.counts}


def difference(one: Path, other: Path) -> float:
    """Return the largest difference of embeddings; the facts of cells, clusters and images must be equal.

    Raises:
        ValueError: if they are not.
    """
    from geoindex.store.generations import IndexFolder

    first, second = (IndexFolder(path).current() for path in (one, other))
    for name in ("cells.arrow", "clusters.arrow", "gallery.arrow"):
        if first.manifest.files[name].sha256 != second.manifest.files[name].sha256:
            raise ValueError(f"{name} of the two indexes differs.")
    vectors = (np.load(each.file("gallery.npy")).astype(np.float32) for each in (first, second))
    return float(np.abs(np.subtract(*vectors)).max())


def run(rounds: int, photos: int | None, workers: int) -> dict[str, Any]:
    """Build in turns, and print."""
    found: list[dict[str, Any]] = []
    with ray_nodes(workers), tempfile.TemporaryDirectory() as folder:
        start = build(Path(folder) / "start", "ray", 8)  # one shard: what it costs to begin
        for number in range(rounds):
            pair = {name: build(Path(folder) / f"{name}{number}", name, photos) for name in ("local", "ray")}
            far = difference(Path(folder) / f"local{number}", Path(folder) / f"ray{number}")
            found.append({"pair": pair, "difference": far})
            local, spread = (pair[name]["steps_s"] for name in ("local", "ray"))
            print(f"local {local}\nray   {spread}\nlargest difference of features {far:.1e}", flush=True)
    starting = start["steps_s"][STEP]
    ratios = [
        (each["pair"]["ray"]["steps_s"][STEP] - starting) / each["pair"]["local"]["steps_s"][STEP] for each in found
    ]
    whole = [_without_start(each["pair"]["ray"], starting) / each["pair"]["local"]["seconds"] for each in found]
    print(f"\nstart: Ray {start['steps_s']['ray start']:.1f} s, first actors {starting:.1f} s")
    print(
        f"embedding on Ray over local, without the start: {median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
    )
    print(f"whole build likewise: {median(whole):.2f} ({min(whole):.2f} to {max(whole):.2f})")
    return {"start_s": start["steps_s"], "rounds": found, "embedding": ratios, "whole": whole}


def _without_start(build: dict[str, Any], starting: float) -> float:
    return float(build["seconds"] - build["steps_s"]["ray start"] - starting)


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_PHOTOS} photos, one round")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--workers", type=int, default=2, help="nodes beside the head, with one core each")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    needed_folder()
    found = run(1 if options.quick else options.rounds, QUICK_PHOTOS if options.quick else None, options.workers)
    if options.json:
        options.json.write_text(json.dumps({"machine": describe_machine(), "spread": found}) + "\n")


if __name__ == "__main__":
    main()
