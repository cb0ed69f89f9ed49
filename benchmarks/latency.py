"""How long does a search take, what does it find, and what would other indexes do with the same vectors?

    python benchmarks/latency.py [--quick] [--part search rivals opening] [--folder DIR] [--json FILE] [--figure FILE]

Geo-embeddings are planted at real Street View positions (made-up places without them). A search is all of it: from the
query vector to ranked candidates with probabilities. Plain queries have one true place; ambiguous ones are half from a
far place, and a geolocator must keep both. The limit is stated first: the bytes that a query cannot help reading, at
the speed at which this machine reads memory. Everything runs in one process, on one thread unless said.
"""

import argparse
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
from latency_figure import draw_latency
from latency_opening import OPENINGS, measure_opening
from machine import describe_machine, markdown_table, shared_folder
from planted_levels import Levels, Queries, planted_levels, planted_queries
from search_rivals import GALLERY, GeoClipStyle, Rival, brute_force, flat, inverted_lists, lance_index, usearch_graph
from threadpoolctl import threadpool_limits

from geoindex.ann import TwoStageIndex
from geoindex.geo import haversine_km
from geoindex.metrics import geoscore
from geoindex.search.posterior import Breadth, Ranker, Scales
from geoindex.store.checked import CheckedFile

SIZES = ((1000, 100_000), (2000, 100_000), (11_000, 1_000_000))
QUICK_SIZES = ((500, 20_000), (1500, 50_000))
TOP_CELLS = (4, 8, 16, 32, 64)
DEFAULT_CELLS = 16
NEAREST = 10
USEARCH_CLUSTERS = 200_000
KINDS = {"plain": 0.0, "ambiguous": 1.0}
"""Share of ambiguous queries by kind."""


def milliseconds(call: Callable[[int], Any], count: int, warm_up: bool = True) -> dict[str, float]:
    """Return percentiles of a call's time over `count` calls; a round of them before warms memory and caches."""
    for i in range(count if warm_up else 0):
        call(i)
    times = []
    for i in range(count):
        started = perf_counter()
        call(i)
        times.append(1000 * (perf_counter() - started))
    p50, p95, p99 = np.percentile(times, (50, 95, 99)).tolist()
    return {"p50_ms": p50, "p95_ms": p95, "p99_ms": p99, "count": count}


def reading_speed() -> float:
    """Return the bytes a second that one thread reads of memory that no cache holds."""
    data = np.ones(2**27, np.float32)
    times = []
    for _ in range(7):
        started = perf_counter()
        data.max()
        times.append(perf_counter() - started)
    return data.nbytes / median(times)


def prepare(folder: Path, positions: Path | None, cells: int, clusters: int) -> tuple[Levels, Ranker]:
    """Return planted levels and the search over them, mapped from its file as an opened index has it."""
    levels = planted_levels(folder, positions, cells, clusters)
    path = folder / f"search-{cells}-{clusters}.faiss"
    if not path.exists():
        TwoStageIndex.build(levels.cells, levels.clusters.astype(np.float32), levels.geography.cell).save(path)
    ann = TwoStageIndex.load(CheckedFile(path))
    return levels, Ranker.of(ann, levels.geography, Scales())


def probed_cells(ranker: Ranker, queries: Queries, top_cells: int) -> list[set[int]]:
    """Return the cells that each query probes."""
    rankings = ranker.rank(queries.embeddings, Breadth(top_cells))
    return [set(ranker.geography.cell[ranking.clusters].tolist()) for ranking in rankings]


def cell_recall(levels: Levels, ranker: Ranker, queries: Queries, top_cells: int) -> float:
    """Return the share of the exact best cells, by float32 products with all, that are probed."""
    exact = np.argsort(-(queries.embeddings @ levels.cells.T), axis=1)[:, :top_cells]
    found = probed_cells(ranker, queries, top_cells)
    return float(np.mean([len(own & set(row)) / top_cells for own, row in zip(found, exact.tolist(), strict=True)]))


def score(levels: Levels, queries: Queries, clusters: list[int]) -> float:
    """Return the mean GeoScore of answering each query with the place of a cluster."""
    lat, lon = levels.geography.lat[clusters], levels.geography.lon[clusters]
    return float(geoscore(haversine_km(lat, lon, queries.lat, queries.lon)).mean())


def exact_answers(levels: Levels, queries: Queries, top_cells: int) -> list[int]:
    """Return the most probable cluster of the best cells, by brute force from the definition in float64."""
    best = []
    cell = levels.geography.cell
    starts = np.append(np.flatnonzero(np.diff(cell, prepend=-1)), len(cell))
    for query in queries.embeddings.astype(np.float64):
        logits = Scales().cell * (levels.cells @ query)
        log_cells = logits - np.log(np.exp(logits - logits.max()).sum()) - logits.max()
        most = (-np.inf, -1)
        for c in np.argsort(-logits)[:top_cells].tolist():
            inside = Scales().cluster * (levels.clusters[starts[c] : starts[c + 1]].astype(np.float64) @ query)
            p = log_cells[c] + inside - np.log(np.exp(inside - inside.max()).sum()) - inside.max()
            most = max(most, (float(p.max()), int(starts[c] + p.argmax())))
        best.append(most[1])
    return best


@contextmanager
def one_core() -> Iterator[None]:
    """Keep this process to one of its cores, where the system can."""
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
    if cores:
        os.sched_setaffinity(0, {min(cores)})
    try:
        yield
    finally:
        if cores:
            os.sched_setaffinity(0, cores)


def measure_batches(ranker: Ranker, queries: np.ndarray, count: int) -> dict[int, dict[str, float]]:
    """Measure our search in batches, by their size; the search shares those of more than 64 among its cores."""
    sixteen = Breadth(DEFAULT_CELLS)
    return {
        batch: milliseconds(lambda i, b=batch: ranker.rank(queries[i % 4 * b :][:b], sixteen), max(count // batch, 9))
        for batch in (32, 256)
    }


def measure_search(folder: Path, positions: Path | None, size: tuple[int, int], count: int) -> dict[str, Any]:
    """Measure our search at one size: time alone and in batches, recall, and what its answers are worth."""
    cells, clusters = size
    levels, ranker = prepare(folder, positions, cells, clusters)
    kinds = {kind: planted_queries(positions, 1024, share, clusters) for kind, share in KINDS.items()}
    plain = kinds["plain"].embeddings
    rows: dict[str, Any] = {"cells": cells, "clusters": clusters, "entries": str(ranker.ann.entries), "alone": {}}
    for top_cells in TOP_CELLS:
        row = milliseconds(lambda i, k=top_cells: ranker.rank(plain[i : i + 1], Breadth(k)), count)
        row |= {f"recall_{kind}": cell_recall(levels, ranker, q, top_cells) for kind, q in kinds.items()}
        for kind, queries in kinds.items():
            answers = [int(r.clusters[0]) for r in ranker.rank(queries.embeddings, Breadth(top_cells))]
            row[f"geoscore_{kind}"] = score(levels, queries, answers)
        rows["alone"][top_cells] = row
    rows["first_stage"] = milliseconds(lambda i: ranker.ann.cells.estimate(plain[i : i + 1]), count)
    sixteen = Breadth(DEFAULT_CELLS)
    rows["batches"] = measure_batches(ranker, plain, count)
    with one_core():
        rows["batches_one_core"] = measure_batches(ranker, plain, count)
    few = {kind: Queries(q.embeddings[:200], q.lat[:200], q.lon[:200]) for kind, q in kinds.items()}
    for kind, queries in few.items():
        own = [int(r.clusters[0]) for r in ranker.rank(queries.embeddings, sixteen)]
        exact = exact_answers(levels, queries, DEFAULT_CELLS)
        rows[f"same_answer_{kind}"] = float(np.mean(np.array(own) == np.array(exact)))
        rows[f"geoscore_exact_{kind}"] = score(levels, queries, exact)
        rows[f"geoscore_own_{kind}"] = score(levels, queries, own)
    held = np.mean([len(r.clusters) for r in ranker.rank(plain, sixteen)])
    rows["bytes"] = int(cells * plain.shape[1] + held * plain.shape[1] * ranker.ann.entries.itemsize)
    return rows


def measure_rivals(folder: Path, positions: Path | None, size: tuple[int, int], count: int) -> list[dict[str, Any]]:
    """Measure rivals on the same clusters: time, the share of the nearest ten that they find, and GeoScore."""
    levels, ranker = prepare(folder, positions, *size)
    vectors = levels.clusters.astype(np.float32)
    kinds = {kind: planted_queries(positions, 200, share, size[1]) for kind, share in KINDS.items()}
    truth = flat(vectors)
    nearest = {kind: truth.find(q.embeddings, NEAREST) for kind, q in kinds.items()}
    lists = 4096 if size[1] > 500_000 else 1024 if size[1] > 60_000 else 128
    rivals = [truth, *inverted_lists(vectors, lists, (16, 64))]
    if size[1] <= 100_000:
        rivals += [brute_force(vectors), lance_index(vectors)]
    if size[1] <= USEARCH_CLUSTERS:
        rivals += usearch_graph(vectors, (64, 256))
    own = [_own_search(ranker, k) for k in (DEFAULT_CELLS, *(k for k in TOP_CELLS if k != DEFAULT_CELLS))]
    return [_measure_rival(rival, levels, kinds, nearest, count) for rival in [*own, *rivals]]


def _own_search(ranker: Ranker, top_cells: int) -> Rival:
    """Return ours as a search for nearest clusters: those with the highest cosine among all candidates."""

    def find(queries: np.ndarray, k: int) -> Any:
        (ranking,) = ranker.rank(queries, Breadth(top_cells))
        return ranking.clusters[np.argsort(-ranking.scores)[:k]][None]

    return Rival(f"geoindex, {top_cells} cells", find, 0.0)


def _measure_rival(
    rival: Rival, levels: Levels, kinds: dict[str, Queries], nearest: dict[str, Any], count: int
) -> dict[str, Any]:
    plain = kinds["plain"].embeddings
    row = {"name": rival.name, "size": [len(levels.cells), len(levels.clusters)], "build_s": rival.build_s}
    row |= milliseconds(lambda i: rival.find(plain[i : i + 1], NEAREST), count)
    for kind, queries in kinds.items():
        found = np.concatenate([rival.find(query[None], NEAREST) for query in queries.embeddings])
        pairs = zip(found, nearest[kind], strict=True)
        row[f"recall_{kind}"] = float(np.mean([len(np.intersect1d(*pair)) / NEAREST for pair in pairs]))
        row[f"geoscore_{kind}"] = score(levels, queries, found[:, 0].tolist())
    return row


def _measure_gallery(rival: Rival) -> dict[str, Any]:
    queries = np.random.default_rng(0).standard_normal((200, 768)).astype(np.float32)
    times = milliseconds(lambda i: rival.find(queries[i : i + 1], NEAREST), rival.queries, rival.queries > 1)
    return {"name": rival.name, "size": [0, GALLERY], "build_s": rival.build_s, **times}


def storage_recall(positions: Path | None) -> dict[str, float]:
    """Return the share of the ten nearest of 20,000 clusters by float32 that float16 gives too."""
    clusters, queries = (
        planted_queries(positions, n, 0.0, skip).embeddings for n, skip in ((20_000, 0), (200, 20_000))
    )
    halves = clusters.astype(np.float16).astype(np.float32)
    exact, found = (flat(vectors).find(queries, NEAREST) for vectors in (clusters, halves))
    same = [len(np.intersect1d(*pair)) / NEAREST for pair in zip(exact, found, strict=True)]
    first = float((exact[:, 0] == found[:, 0]).mean())
    return {"nearest_ten": float(np.mean(same)), "nearest": first}


def search_table(rows: list[dict[str, Any]], speed: float) -> str:
    """Return our figures as Markdown."""
    lines = [
        "| cells / clusters | top cells | p50 ms | p95 | p99 | recall plain | ambiguous | GeoScore plain | ambiguous |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in rows:
        for k, r in row["alone"].items():
            lines.append(
                f"| {row['cells']:,} / {row['clusters']:,} | {k} | {r['p50_ms']:.2f} | {r['p95_ms']:.2f} "
                f"| {r['p99_ms']:.2f} | {r['recall_plain']:.4f} | {r['recall_ambiguous']:.4f} "
                f"| {r['geoscore_plain']:,.0f} | {r['geoscore_ambiguous']:,.0f} |"
            )
    for row in rows:
        batches, alone = (
            ", ".join(f"{b}: {r['p50_ms'] / b:.3f}" for b, r in row[key].items())
            for key in ("batches", "batches_one_core")
        )
        lines += [
            "",
            f"{row['cells']:,} cells, {row['clusters']:,} clusters as {row['entries']}: ms a query in batches on all "
            f"cores {batches}, on one {alone}; first stage {row['first_stage']['p50_ms']:.2f} ms; "
            f"{row['bytes'] / 1e6:.1f} MB cannot but be read, {1000 * row['bytes'] / speed:.2f} ms at "
            f"{speed / 1e9:.1f} GB/s from memory. "
            f"Answer of brute force over the same cells: {row['same_answer_plain']:.3f} of plain, "
            f"{row['same_answer_ambiguous']:.3f} "
            f"of ambiguous queries; its GeoScore {row['geoscore_exact_plain']:,.1f} and "
            f"{row['geoscore_exact_ambiguous']:,.1f}, ours {row['geoscore_own_plain']:,.1f} and "
            f"{row['geoscore_own_ambiguous']:,.1f}.",
        ]
    return "\n".join(lines)


def rivals_table(rows: list[dict[str, Any]]) -> str:
    """Return the rivals' figures as Markdown."""
    heads = (
        "clusters", "search", "p50 ms", "p95", "times ours", "recall@10 plain", "ambiguous", "GeoScore plain",
        "build s",
    )  # fmt: skip
    own = {row["size"][1]: row["p50_ms"] for row in rows if row["name"] == f"geoindex, {DEFAULT_CELLS} cells"}
    return markdown_table(heads, [_rival_cells(row, own.get(row["size"][1], min(own.values()))) for row in rows], 2)


def _rival_cells(row: dict[str, Any], ours_ms: float) -> list[str]:
    recall = [f"{row[key]:.3f}" if key in row else "" for key in ("recall_plain", "recall_ambiguous")]
    score = f"{row['geoscore_plain']:,.0f}" if "geoscore_plain" in row else ""
    times = [f"{row['p50_ms']:.2f}", f"{row['p95_ms']:.2f}", f"{row['p50_ms'] / ours_ms:.1f}"]
    built = f"{row['build_s']:.1f}" if row["build_s"] else ""
    return [f"{row['size'][1]:,}", row["name"], *times, *recall, score, built]


def main() -> None:
    """Measure what was asked for, print tables, and write figures and JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes and 40 queries: about a minute")
    parser.add_argument("--part", nargs="+", choices=["search", "rivals", "opening"], default=["search", "rivals"])
    parser.add_argument("--folder", type=Path, default=Path("latency-levels"), help="where planted vectors stay")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--figure", type=Path)
    arguments = parser.parse_args()
    shared = shared_folder()
    positions = shared / "data" / "tables" / "streetview_positions_166k.csv" if shared else None
    sizes, count = (QUICK_SIZES, 40) if arguments.quick else (SIZES, 400)
    result: dict[str, Any] = {"machine": describe_machine(), "positions": positions.name if positions else "places"}
    result["read_bytes_per_s"] = speed = reading_speed()
    with threadpool_limits(1):
        if "search" in arguments.part:
            result["search"] = [measure_search(arguments.folder, positions, size, count) for size in sizes]
            print(search_table(result["search"], speed), end="\n\n")
            result["float16"] = storage_recall(positions)
            kept = (
                "float16 keeps {nearest_ten:.4f} of the ten nearest clusters of float32, {nearest:.4f} of the nearest"
            )
            print(kept.format(**result["float16"]), end="\n\n")
        if "rivals" in arguments.part:
            at = sizes if arguments.quick else (sizes[1], (4000, USEARCH_CLUSTERS), sizes[2])
            parts = [measure_rivals(arguments.folder, positions, size, min(count, 200)) for size in at]
            parts.append([_measure_gallery(rival) for rival in GeoClipStyle().rivals()])
            result["rivals"] = [row for part in parts for row in part]
            print(rivals_table(result["rivals"]), end="\n\n")
    if "opening" in arguments.part:
        result["opening"] = measure_opening(arguments.folder, *OPENINGS[arguments.quick])
        print(result["opening"]["table"])
    if arguments.figure and {"search", "rivals"} <= result.keys():
        draw_latency(result, arguments.figure)
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
