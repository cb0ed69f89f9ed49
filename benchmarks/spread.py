"""A build of real photos on a Ray cluster of three nodes beside the local one: what Ray costs, and if it is the same.

    python benchmarks/spread.py [--quick] [--json FILE] [--rounds 2]

Im2GPS3k through DeiT-tiny, in turns. The nodes share this machine: a head without cores and two workers, each with half
of them. Ray's own start, and what the first actors import, is told apart: it is the time from the call until the first
image is encoded of a build of one shard. Rows, positions, cells and clusters must be equal, features to 0.002. Needs
the folder of real data; without it the benchmark says so and ends.
"""

import argparse
import json
import os
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
from machine import describe_machine, needed_folder

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
        sample=photos,
    )
    return {"executor": executor, "seconds": perf_counter() - started, "steps_s": report.timings_s, **report.counts}


def difference(one: Path, other: Path) -> float:
    """Return the largest difference of features; cells, clusters and all else must be equal.

    Raises:
        ValueError: if they are not.
    """
    from geoindex.store.generations import IndexFolder

    def tables(path: Path) -> tuple[Any, np.ndarray, list[Any]]:
        folder = IndexFolder(path)
        versions = folder.current().manifest.tables
        rows = folder.tables.read("images", versions["images"], ["row", "id", "lat", "lon", "split", "content"])
        features = folder.tables.read("images", versions["images"], ["row", "features"])["features"]
        sites = [
            folder.tables.read(name, versions[name], [name[:-1], "site_lat", "site_lon", "n_images"])
            for name in ("cells", "clusters")
        ]
        return rows, np.array(features.to_pylist(), np.float32), sites

    (rows, features, sites), (others, theirs, their_sites) = tables(one), tables(other)
    if not rows.equals(others) or any(not a.equals(b) for a, b in zip(sites, their_sites, strict=True)):
        raise ValueError("The two indexes differ.")
    return float(np.abs(features - theirs).max())


def run(rounds: int, photos: int | None) -> dict[str, Any]:
    """Build in turns, and print."""
    from ray.cluster_utils import Cluster

    cores = len(os.sched_getaffinity(0))
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    for _ in range(2):
        cluster.add_node(num_cpus=max(1, cores // 2))
    os.environ["RAY_ADDRESS"] = cluster.address
    found: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        start = build(Path(folder) / "start", "ray", 8)  # one shard: what it costs to begin
        for number in range(rounds):
            pair = {name: build(Path(folder) / f"{name}{number}", name, photos) for name in ("local", "ray")}
            far = difference(Path(folder) / f"local{number}", Path(folder) / f"ray{number}")
            found.append({"pair": pair, "difference": far})
            local, spread = (pair[name]["steps_s"] for name in ("local", "ray"))
            print(f"local {local}\nray   {spread}\nlargest difference of features {far:.1e}", flush=True)
    cluster.shutdown()
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
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    needed_folder()
    found = run(1 if options.quick else options.rounds, QUICK_PHOTOS if options.quick else None)
    if options.json:
        options.json.write_text(json.dumps({"machine": describe_machine(), "spread": found}) + "\n")


if __name__ == "__main__":
    main()
