"""What do readers at full speed see of a rebuild? A process and a thread ask all the time while generations change.

    python benchmarks/readers.py [--quick] [--count 200000] [--json FILE]

An index of planted embeddings (768 dimensions) is built and then rebuilt with other cells; afterwards it goes back,
forward again, and collects the old generation without grace. Meanwhile one reader in a process of its own and one in a
thread of the rebuilding process ask one embedding after the other, with `open_index(..., follow=True)`. Every answer is
kept: it must be, point for point, what the generation that it names answers when it is opened alone.
"""

import argparse
import json
import multiprocessing
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter, sleep
from typing import Any

import numpy as np
from machine import describe_machine

import geoindex
from geoindex.store.history import collect
from geoindex.updates.rollback import roll_back

COUNT, QUICK_COUNT, DIM, QUERIES = 200_000, 10_000, 768, 64
BEFORE_S = 5.0
"""How long readers ask before the rebuild begins."""

Answer = tuple[str, int, float, float, str]


@dataclass
class Seen:
    """What one reader saw.

    Attributes:
        answers: how often each different answer came: generation, query, lat, lon, place.
        errors: how often each error came.
        latencies_ms: of every query, by what went on: before, during.
    """

    answers: dict[Answer, int] = field(default_factory=dict)
    errors: dict[str, int] = field(default_factory=dict)
    latencies_ms: dict[str, list[float]] = field(default_factory=lambda: {"before": [], "during": []})


def read(index: geoindex.GeoIndex, queries: np.ndarray, changing: Any, ended: Any, ready: Callable[[], None]) -> Seen:
    """Ask as fast as possible until the end."""
    seen, number = Seen(), 0
    ready()
    while not ended.is_set():
        number = (number + 1) % len(queries)
        phase, started = "during" if changing.is_set() else "before", perf_counter()
        try:
            (found,) = index.query_embeddings(queries[number : number + 1])
        except Exception as error:  # any at all would be a failure
            name = f"{type(error).__name__}: {error}"
            seen.errors[name] = seen.errors.get(name, 0) + 1
            continue
        seen.latencies_ms[phase].append(1000.0 * (perf_counter() - started))
        key = (found.generation, number, found.lat, found.lon, found.place)
        seen.answers[key] = seen.answers.get(key, 0) + 1
    return seen


def read_apart(index: geoindex.GeoIndex, queries: np.ndarray, changing: Any, ended: Any, ready: Any, out: Any) -> None:
    """Read in a process of its own."""
    out.put(read(index, queries, changing, ended, ready.release))


def right_answers(path: Path, queries: np.ndarray) -> set[Answer]:
    """Return what the live generation answers when it is opened alone."""
    index, right = geoindex.open_index(path), set()
    for number in range(len(queries)):  # one by one, as the readers ask
        (found,) = index.query_embeddings(queries[number : number + 1])
        right.add((found.generation, number, found.lat, found.lon, found.place))
    return right


def change(path: Path, queries: np.ndarray) -> set[Answer]:
    """Rebuild, go back and forward, collect; return the right answers of every generation."""
    right = right_answers(path, queries)
    geoindex.rebuild_index(path, geocells={"n_cells": 200})
    right |= right_answers(path, queries)
    roll_back(path)
    sleep(1.0)
    roll_back(path, "000002")
    collect(path, keep=1, grace_hours=0.0)
    sleep(1.0)
    return right


def watch(path: Path, queries: np.ndarray) -> tuple[dict[str, Seen], set[Answer], float]:
    """Read in a process and in a thread while the index changes; return what they saw, what is right, and the time."""
    spawn = multiprocessing.get_context("spawn")
    changing, ended, ready, out = spawn.Event(), spawn.Event(), spawn.Semaphore(0), spawn.Queue()
    index, seen = geoindex.open_index(path, follow=True), {}
    process = spawn.Process(target=read_apart, args=(index, queries, changing, ended, ready, out))

    def in_thread() -> None:
        seen["thread"] = read(index, queries, changing, ended, ready.release)

    thread = threading.Thread(target=in_thread)
    process.start()
    thread.start()
    ready.acquire()
    ready.acquire()
    sleep(BEFORE_S)
    changing.set()
    started = perf_counter()
    try:
        right = change(path, queries)
    finally:
        ended.set()
    took_s = perf_counter() - started
    seen["process"] = out.get()
    process.join()
    thread.join()
    return seen, right, took_s


def figures(seen: Seen, right: set[Answer]) -> dict[str, Any]:
    """Count answers, errors, and answers that are not those of the generation that they name."""
    rows = {name: np.array(times) for name, times in seen.latencies_ms.items()}
    return {
        "answers": sum(seen.answers.values()),
        "by_generation": {
            name: sum(count for key, count in seen.answers.items() if key[0] == name)
            for name in sorted({key[0] for key in seen.answers})
        },
        "errors": seen.errors,
        "mixed": sum(count for key, count in seen.answers.items() if key not in right),
        "latency_ms": {
            name: {f"p{p}": round(float(np.percentile(times, p)), 3) for p in (50, 99, 100)} | {"count": len(times)}
            for name, times in rows.items()
        },
    }


def table(results: dict[str, Any]) -> str:
    """Return the figures as Markdown."""
    lines = [
        "| reader | answers | of each generation | errors | mixed | before p50, p99, max ms | during p50, p99, max ms |"
    ]
    lines.append("| --- | ---: | --- | ---: | ---: | ---: | ---: |")
    for name, row in results.items():
        shares = ", ".join(f"{key}: {count:,}" for key, count in row["by_generation"].items())
        times = [", ".join(f"{row['latency_ms'][phase][p]:.1f}" for p in ("p50", "p99", "p100")) for phase in PHASES]
        errors = sum(row["errors"].values())
        lines.append(
            f"| {name} | {row['answers']:,} | {shares} | {errors} | {row['mixed']} | {times[0]} | {times[1]} |"
        )
    return "\n".join(lines)


PHASES = ("before", "during")


def main() -> None:
    """Build, change and read, and print what was seen."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_COUNT:,} embeddings")
    parser.add_argument("--count", type=int, default=COUNT, help="embeddings")
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    options = parser.parse_args()
    count = QUICK_COUNT if options.quick else options.count
    machine = describe_machine()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "index"
        geoindex.build_index(f"planted:{count}?dim={DIM}&noise=2", out=path, training={"method": "none"})
        embeddings = geoindex.open_index(path).searcher.sidecar.gallery.live_embeddings()
        queries = embeddings[:: len(embeddings) // QUERIES][:QUERIES].astype(np.float32)
        queries /= np.linalg.norm(queries, axis=1, keepdims=True)
        seen, right, took_s = watch(path, queries)
    results = {name: figures(reader, right) for name, reader in sorted(seen.items())}
    print(f"{machine['processor']}, {machine['cores']} cores, load before {machine['load_before']}\n")
    print(f"{count:,} embeddings of {DIM} dimensions; rebuild, back, forward and gc took {took_s:.1f} s\n")
    print(table(results))
    for name, row in results.items():
        for error, times in row["errors"].items():
            print(f"- {name}: {times} x {error}")
    if options.json:
        rows = {"machine": machine, "count": count, "changes_s": round(took_s, 1), "readers": results}
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
