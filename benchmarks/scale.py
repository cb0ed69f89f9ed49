"""How a build grows: time, memory and bytes by step, latency and quality of queries, from 100 thousand images on.

    python benchmarks/scale.py [--quick] [--json FILE] [--sizes 100000 1000000] [--executors local ray] [--workers 1 2]

Planted embeddings (float16 on the disk) at real Street View positions, used again with jitter where there are too few;
prototypes, no training. Every build has a process of its own: *own* is its peak of memory without mapped files, *peak*
with them. Queries are asked one by one, in another process, twice: *first* is new queries, which read the disk and
check what they read, p50 and p95 are of the same ones again. Exponents are the slopes of log(seconds) over log(images);
what they say of 100 million and a billion images holds only if nothing else breaks first. With ray in --executors,
each size is built again on a cluster of this machine, with --workers once for each number of nodes of one core. Needs
the folder of real data; without it the benchmark takes populated places.
"""

import argparse
import json
import resource
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from machine import Peak, apart, describe_machine, own_mib, ray_nodes, shared_folder

SIZES, QUICK_SIZES = (100_000, 1_000_000), (10_000, 30_000)
DIM, QUICK_DIM, QUERIES, WARM = 768, 128, 300, 20
NOISE = 2.2337
"""At which 1-NN over 141,000 of these reaches the GeoScore of StreetCLIP on OSV-5M; `planted.py` finds it."""

TARGETS = (100_000_000, 1_000_000_000)


def build(images: int, dim: int, folder: str, executor: str, workers: int | None) -> dict[str, Any]:
    """Build an index and return seconds by step, peak memory in MiB, bytes and files.

    Args:
        images: of the index.
        dim: of their embeddings.
        folder: of the index.
        executor: local or ray.
        workers: of a cluster that is started beforehand; None: the build starts its own.
    """
    from geoindex.pipeline import build_from
    from geoindex.recipe import Recipe, TrainingRecipe
    from geoindex.sources.planted import PlantedEmbeddings

    shared = shared_folder()
    positions = shared and shared / "data/tables/streetview_positions_166k.csv"
    source = PlantedEmbeddings(images, dim=dim, positions=positions, noise=NOISE)
    recipe = Recipe(source="planted", training=TrainingRecipe(method="none"), split_ratio=(0.98, 0.01, 0.01))
    with ray_nodes(workers) if workers else nullcontext(), Peak(own_mib, 0.1) as memory:
        started = perf_counter()
        report = build_from(source, recipe, Path(folder), executor=executor)
        seconds = perf_counter() - started
    files = [path for path in Path(folder).rglob("*") if path.is_file()]
    return {
        "images": images, "executor": f"{executor} {workers or ''}".strip(),
        "seconds": seconds, "steps_s": report.timings_s, "counts": report.counts,
        "own_mib": memory.most, "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "bytes": sum(path.stat().st_size for path in files), "files": len(files),
    }  # fmt: skip


def ask(folder: str) -> dict[str, Any]:
    """Return what opening and queries of an index take, how good they are, and whether every byte is sound."""
    from geoindex.evaluation.queries import split_queries
    from geoindex.geo import haversine_km
    from geoindex.index import open_index
    from geoindex.integrity import verify_index
    from geoindex.metrics import measure

    started = perf_counter()
    index = open_index(folder)
    opening_s, queries = perf_counter() - started, split_queries(index, "test")
    rows = np.linspace(0, len(queries.ids) - 1, min(QUERIES, len(queries.ids))).astype(np.int64)
    times, off = [], []
    for row in [*rows[:WARM], *rows, *rows]:
        started = perf_counter()
        found = index.query_embeddings(queries.embeddings[[row]])[0]
        times.append(1000 * (perf_counter() - started))
        off.append(float(haversine_km(found.lat, found.lon, queries.lat[row], queries.lon[row])))
    first, again = np.split(np.array(times[WARM:]), 2)
    p50, p95 = np.percentile(again, (50, 95))
    numbers, started = measure(np.array(off[-len(rows) :])), perf_counter()
    faults = verify_index(folder, full=True).faults
    return {
        "opening_s": opening_s, "first_ms": float(np.median(first)), "p50_ms": p50, "p95_ms": p95,
        "geoscore": numbers.geoscore, "median_km": numbers.median_km, "faults": len(faults),
        "verify_s": perf_counter() - started,
        "query_peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }  # fmt: skip


def grown(rows: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Return the exponent of each figure over the images, and what it says of `TARGETS`."""
    images = np.log([row["images"] for row in rows])
    figures = {name: [row["steps_s"].get(name, 0.0) for row in rows] for name in rows[-1]["steps_s"]}
    figures |= {name: [row[name] for row in rows] for name in ("seconds", "own_mib", "peak_mib", "bytes", "p50_ms")}
    found = {}
    for name, values in figures.items():
        if min(values) > 0.05:
            slope, start = np.polyfit(images, np.log(values), 1)
            found[name] = {"exponent": float(slope)} | {
                f"{target:,}": float(np.exp(start + slope * np.log(target))) for target in TARGETS
            }
    return found


def table(rows: list[dict[str, Any]]) -> str:
    """Return the builds as a Markdown table."""
    steps = [name for name, seconds in rows[-1]["steps_s"].items() if seconds >= 1.0]
    heads = [
        "images",
        "executor",
        "build s",
        *steps,
        "own MiB",
        "peak MiB",
        "GB",
        "files",
        "first ms",
        "p50 ms",
        "p95 ms",
        "GeoScore",
    ]
    lines = [f"| {' | '.join(heads)} |", f"| ---: | ---{' | ---:' * (len(heads) - 2)} |"]
    for row in rows:
        cells = [f"{row['images']:,}", row["executor"], f"{row['seconds']:,.0f}"]
        cells += [f"{row['steps_s'].get(step, 0.0):,.1f}" for step in steps]
        cells += [f"{row['own_mib']:,.0f}", f"{row['peak_mib']:,.0f}", f"{row['bytes'] / 1e9:.2f}", f"{row['files']}"]
        cells += [f"{row['first_ms']:.2f}", f"{row['p50_ms']:.2f}", f"{row['p95_ms']:.2f}", f"{row['geoscore']:,.0f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


@contextmanager
def _folder(kept: Path | None, name: str) -> Iterator[str]:
    """Yield where an index is built: below a folder, or where it is deleted afterwards."""
    with nullcontext(kept / name) if kept else tempfile.TemporaryDirectory() as folder:
        yield f"{folder}/index"


def cases(executors: list[str], workers: list[int | None]) -> list[tuple[str, int | None]]:
    """Return each executor, and Ray once for each number of workers."""
    return [(name, count) for name in executors for count in (workers if name == "ray" else [None])]


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_SIZES[0]:,} and {QUICK_SIZES[1]:,} images")
    parser.add_argument("--sizes", type=int, nargs="+")
    parser.add_argument("--executors", nargs="+", default=["local"], choices=["local", "ray"])
    parser.add_argument("--workers", type=int, nargs="+", default=[None], help="nodes of one core of the clusters")
    parser.add_argument("--out", type=Path, help="keep the indexes in this folder")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    sizes = options.sizes or (QUICK_SIZES if options.quick else SIZES)
    rows = []
    for images in sizes:
        for executor, workers in cases(options.executors, options.workers):
            with _folder(options.out, f"{images}-{executor}{workers or ''}") as path:
                row = apart(build, images, QUICK_DIM if options.quick else DIM, path, executor, workers)
                rows.append(row | apart(ask, path))
                print(json.dumps(rows[-1]), flush=True)
    local = [row for row in rows if row["executor"] == "local"]
    growth = grown(local) if len(local) > 1 else {}
    print(f"\n{table(rows)}\n")
    for name, figures in growth.items():
        print(f"{name}: " + ", ".join(f"{key} {value:,.3g}" for key, value in figures.items()))
    if options.json:
        options.json.write_text(json.dumps({"machine": describe_machine(), "builds": rows, "growth": growth}) + "\n")


if __name__ == "__main__":
    main()
