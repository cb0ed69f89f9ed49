"""What does durability cost? Embeddings are written `durable` and `fast`, in turns.

    python benchmarks/durability.py [--quick] [--pairs 7] [--folder DIR] [--json FILE]

Each write is `LanceTables.write` of an images table: once as a build writes it, out of finished shards, and then from
batches that lie in memory, so that Lance alone uses both cores. `durable` hashes and syncs while Lance writes; beside
it stands the same one after the other. The order turns with every round, and what was written before is on the disk
when a clock starts. Figures are medians; the cost is the median over the rounds of each one's own ratio. DIR must lie
on the disk that is meant: the system's temporary folder may be in memory.
"""

import argparse
import hashlib
import json
import os
import shutil
import statistics
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any
from unittest import mock

import numpy as np
import pyarrow as pa
from machine import describe_machine

from geoindex.assembly.rows import image_batches, image_rows
from geoindex.embed import embed_samples
from geoindex.progress import track
from geoindex.sources import open_source
from geoindex.store.checksums import TableChecksums
from geoindex.store.durable import FileRecord
from geoindex.store.schemas import image_schema, vectors_to_arrow
from geoindex.store.tables import LanceTables

ROWS, QUICK_ROWS = 200_000, 40_000
DIM, BATCH_ROWS = 768, 8192
PAIRS = 7
MODES = ("fast", "durable", "one after the other")
DTYPES = ("float16", "float32")


def schema_of(dtype: str) -> pa.Schema:
    """Return the schema of the images with features of a type."""
    schema = image_schema(DIM)
    features = pa.field("features", pa.list_(pa.from_numpy_dtype(np.dtype(dtype)), DIM))
    return schema.set(schema.get_field_index("features"), features)


def make_batches(dtype: str, rows: int) -> list[pa.RecordBatch]:
    """Return unit embeddings with the facts of their images."""
    rng, schema = np.random.default_rng(0), schema_of(dtype)
    batches = []
    for start in range(0, rows, BATCH_ROWS):
        count = min(BATCH_ROWS, rows - start)
        vectors = rng.standard_normal((count, DIM), np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        numbers = np.arange(start, start + count)
        columns = {field.name: pa.nulls(count, field.type) for field in schema}
        columns |= {"row": pa.array(numbers), "id": pa.array([f"photos/{n:08d}.jpg" for n in numbers])}
        columns |= {name: pa.array(rng.uniform(-80.0, 80.0, count)) for name in ("lat", "lon")}
        columns["features"] = vectors_to_arrow(vectors.astype(dtype))
        batches.append(pa.RecordBatch.from_arrays([columns[field.name] for field in schema], schema=schema))
    return batches


@contextmanager
def _not_followed(checksums: TableChecksums, name: str) -> Iterator[Callable[[Path], FileRecord]]:
    yield FileRecord.of


Batches = Callable[[], Iterable[pa.RecordBatch]]


def shards(rows: int, folder: Path) -> tuple[pa.Schema, Batches]:
    """Finish the shards of a build; return the schema of its table, and what reads its batches out of them."""
    source = open_source(f"planted:{rows}?dim={DIM}")
    samples = source.scan().samples
    embedded = embed_samples(source, samples, None, folder / "shards")
    facts, schema = image_rows(samples, np.full(rows, "train"), embedded.content), image_schema(DIM)
    return schema, lambda: image_batches(facts, embedded.features(), schema)


def in_memory(dtype: str, rows: int) -> tuple[pa.Schema, Batches]:
    """Return schema and batches that lie in memory."""
    batches = make_batches(dtype, rows)
    return batches[0].schema, lambda: batches


def write(mode: str, schema: pa.Schema, batches: Batches, folder: Path) -> tuple[float, int]:
    """Write a table; return the time in seconds and the size of its files."""
    folder.mkdir()
    tables = LanceTables(folder, "fast" if mode == "fast" else "durable")
    following = _not_followed if mode == "one after the other" else TableChecksums.following
    os.sync()
    with mock.patch.object(TableChecksums, "following", following):
        started = perf_counter()
        tables.write("images", schema, batches())
        seconds = perf_counter() - started
    size = sum(path.stat().st_size for path in folder.rglob("*.lance") if path.is_file())
    shutil.rmtree(folder)
    return seconds, size


def disk_mb_s(folder: Path, size: int) -> float:
    """Return how fast a file of a size is written and synced by itself, in MB/s."""
    block, path = np.random.default_rng(0).bytes(1 << 22), folder / "raw"
    os.sync()
    started = perf_counter()
    with path.open("wb", buffering=0) as file:
        for _ in range(-(-size // len(block))):
            file.write(block)
        os.fsync(file.fileno())
    seconds = perf_counter() - started
    path.unlink()
    return size / 1e6 / seconds


def sha256_mb_s(size: int = 1 << 28) -> float:
    """Return how fast this machine hashes, in MB/s."""
    block, state = bytes(1 << 20), hashlib.sha256()
    started = perf_counter()
    for _ in range(size >> 20):
        state.update(block)
    return size / 1e6 / (perf_counter() - started)


def measure(name: str, rows: int, schema: pa.Schema, batches: Batches, pairs: int, folder: Path) -> dict[str, Any]:
    """Write the same embeddings in all modes, in turns."""
    write("fast", schema, batches, folder / "warm")
    seconds: dict[str, list[float]] = {mode: [] for mode in MODES}
    disk, hashing, size = [], [], 0
    for turn in track(range(pairs), name, total=pairs, unit="round"):
        for mode in (MODES[turn % 3 :] + MODES[: turn % 3])[:: 1 if turn % 2 else -1]:
            taken, size = write(mode, schema, batches, folder / "table")
            seconds[mode].append(taken)
        disk.append(disk_mb_s(folder, size))
        hashing.append(sha256_mb_s())
    return {
        "name": name, "rows": rows, "dim": DIM, "bytes": size, "seconds": seconds,
        "median_s": {mode: statistics.median(times) for mode, times in seconds.items()},
        "cost": {mode: _cost(seconds[mode], seconds["fast"]) for mode in MODES[1:]},
        "disk_mb_s": statistics.median(disk), "sha256_mb_s": statistics.median(hashing),
    }  # fmt: skip


def _cost(times: list[float], fast: list[float]) -> float:
    return statistics.median(time / base for time, base in zip(times, fast, strict=True)) - 1.0


def table(results: list[dict[str, Any]]) -> str:
    """Return the figures as Markdown."""
    lines = [
        "| embeddings | MB | fast s | durable s | cost | one after the other s | cost | disk alone s | hash alone s |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for found in results:
        fast, durable, apart = (found["median_s"][mode] for mode in MODES)
        size_mb = found["bytes"] / 1e6
        lines.append(
            f"| {found['rows']:,} x {found['dim']} {found['name']} | {size_mb:,.0f} | {fast:.2f} "
            f"| {durable:.2f} | {found['cost']['durable']:+.0%} "
            f"| {apart:.2f} | {found['cost']['one after the other']:+.0%} "
            f"| {size_mb / found['disk_mb_s']:.2f} | {size_mb / found['sha256_mb_s']:.2f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Write, and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_ROWS:,} embeddings instead of {ROWS:,}")
    parser.add_argument("--pairs", type=int, default=PAIRS, help="rounds of one write in each mode")
    parser.add_argument("--folder", type=Path, help="where to write; without it the system's temporary folder")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    machine, rows = describe_machine(), QUICK_ROWS if options.quick else ROWS
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        works = {"float16, from shards": shards(rows, Path(folder))}
        works |= {f"{dtype}, in memory": in_memory(dtype, rows) for dtype in DTYPES}
        results = [measure(name, rows, *work, options.pairs, Path(folder)) for name, work in works.items()]
    print(table(results))
    rates = [(round(found["disk_mb_s"]), round(found["sha256_mb_s"])) for found in results]
    print(f"\n{options.pairs} rounds; limits (disk, sha256) in MB/s: {rates}; load before {machine['load_before']}")
    if options.json:
        options.json.write_text(json.dumps({"machine": machine, "results": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
