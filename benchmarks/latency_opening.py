"""What opening a large index costs: time, memory of the process itself and mapped pages apart, first queries."""

import os
import shutil
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from machine import apart
from planted_levels import DIM, IMAGES, planted_levels

OPENINGS = {False: (11_000, 1_000_000, 5_000_000), True: (1500, 50_000, 250_000)}
"""Cells, clusters and images of the index that is opened; the small one with --quick."""

CHUNK = 65_536
QUERIES = 300


def measure_opening(folder: Path, cells: int, clusters: int, images: int) -> dict[str, Any]:
    """Open an index whose pages are on the disk alone, then again, each time in a process of its own."""
    path = folder / f"index-{cells}-{clusters}-{images}"
    if not (path / "done").exists():
        shutil.rmtree(path, ignore_errors=True)
        _make(path, folder, cells, clusters, images)
        (path / "done").touch()
    _forget(path)
    runs = {"cold": apart(open_and_ask, path), "warm": apart(open_and_ask, path)}
    size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    return {
        "images": images,
        "clusters": clusters,
        "bytes": size,
        **runs,
        "table": _table(size, clusters, images, runs),
    }


def open_and_ask(path: Path) -> dict[str, Any]:
    """Open an index and ask it once, again, and many other things."""
    import faiss  # noqa: F401 - imports are not what is timed
    import numkong  # noqa: F401
    import pyarrow.compute  # noqa: F401

    from geoindex.index import open_index

    before = _memory()
    opened, opening_s = _timed(lambda: open_index(path))
    after = _memory()
    random = np.random.default_rng(0)
    queries = random.standard_normal((QUERIES, DIM)).astype(np.float32)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    first, *others = [_timed(lambda q=query: opened.query_embeddings(q[None]))[1] for query in queries]
    again = [_timed(lambda q=query: opened.query_embeddings(q[None]))[1] for query in queries]
    end = _memory()
    return {
        "open_ms": 1000 * opening_s, "first_ms": 1000 * first, "new_ms": 1000 * float(np.median(others)),
        "again_ms": 1000 * float(np.median(again)),
        "own_mib": after["own"] - before["own"], "pages_mib": after["pages"] - before["pages"],
        "own_after_mib": end["own"] - before["own"], "pages_after_mib": end["pages"] - before["pages"],
    }  # fmt: skip


def _timed(call: Any) -> tuple[Any, float]:
    started = perf_counter()
    result = call()
    return result, perf_counter() - started


def _memory() -> dict[str, float]:
    """Return MiB of this process' own memory and of pages of mapped files."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return {"own": int(lines["RssAnon"].split()[0]) / 1024, "pages": int(lines["RssFile"].split()[0]) / 1024}


def _forget(path: Path) -> None:
    """Drop the pages of all files from the system's cache, without the rights of root."""
    for file in path.rglob("*"):
        if file.is_file():
            descriptor = os.open(file, os.O_RDONLY)
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)


def _make(path: Path, folder: Path, cells: int, clusters: int, images: int) -> None:
    """Write a generation of that size as a build would, but for the tables, which no query reads."""
    from geoindex.pipeline import build_index
    from geoindex.store.generations import IndexFolder
    from geoindex.store.sealing import seal

    build_index(f"planted:400?dim={DIM}", out=path, training={"method": "none"}, split_by="none")
    index = IndexFolder(path)
    parent = index.current()
    name, draft = index.begin()
    levels = planted_levels(folder, None, cells, clusters)
    _write_facts(draft, levels, images)
    _write_search_index(draft, levels)
    _write_embeddings(draft / "gallery.npy", images)
    for file in parent.manifest.files:
        if not (draft / file).exists() and not file.endswith(".blocks"):
            shutil.copy(parent.folder / file, draft)
    counts = dict(parent.manifest.counts) | {"images": images, "gallery": images, "cells": cells, "clusters": clusters}
    manifest = replace(parent.manifest, generation=name, parent="", counts=counts, canaries=[], files={})
    with index.writing():
        index.publish(seal(draft, manifest))


def _write_facts(draft: Path, levels: Any, images: int) -> None:
    import pyarrow as pa

    from geoindex.store.sidecar import write_arrow

    geography = levels.geography
    clusters, each = len(geography.lat), images // len(geography.lat)
    count = np.full(clusters, each)
    groups = _places(geography.lat, geography.lon, count)
    groups["cell"], groups["first"] = pa.array(geography.cell.astype(np.int32)), np.arange(clusters) * each
    groups["cluster"] = np.arange(clusters, dtype=np.int32)
    groups["inside"] = pa.array([[]] * clusters, pa.list_(pa.int32()))
    write_arrow(draft / "clusters.arrow", pa.table(groups))
    held = geography.cell_images // IMAGES * each
    cells = _places(geography.cell_lat, geography.cell_lon, held) | {"cell": np.arange(len(held), dtype=np.int32)}
    write_arrow(draft / "cells.arrow", pa.table(cells))
    numbers = np.arange(images)
    names = pa.array(numbers).cast(pa.string())
    member = numbers // each
    facts = {"row": numbers, "id": names, "image": names, "lat": geography.lat[member], "lon": geography.lon[member]}
    write_arrow(draft / "gallery.arrow", pa.table(facts | {"cluster": member}))


def _places(lat: Any, lon: Any, count: Any) -> dict[str, Any]:
    zeros = np.zeros(len(lat))
    radii = dict.fromkeys(("radius_km", "radius95_km", "spread_km"), zeros)
    names = [f"Place {row}, Region {row // 100}, Country {row // 10_000}" for row in range(len(lat))]
    return {"lat": lat, "lon": lon, "site_lat": lat, "site_lon": lon, "n_images": count, **radii, "place": names}


def _write_search_index(draft: Path, levels: Any) -> None:
    from geoindex.ann import TwoStageIndex

    vectors = levels.clusters.astype(np.float32)
    TwoStageIndex.build(levels.cells, vectors, levels.geography.cell).save(draft / "index.faiss")


def _write_embeddings(path: Path, images: int) -> None:
    """Write random unit vectors: a few thousand, again and again, as nothing is asked of them but to be read."""
    random = np.random.default_rng(0).standard_normal((CHUNK, DIM)).astype(np.float32)
    part = (random / np.linalg.norm(random, axis=1, keepdims=True)).astype(np.float16)
    out = np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=(images, DIM))
    for start in range(0, images, CHUNK):
        out[start : start + CHUNK] = part[: images - start]
    out.flush()


def _table(size: int, clusters: int, images: int, runs: dict[str, dict[str, Any]]) -> str:
    lines = [
        f"{clusters:,} clusters, {images:,} images, {size / 1e9:.1f} GB on disk:",
        "",
        "| pages | open ms | first query ms | new queries, median ms | again ms | own memory MiB | mapped pages MiB "
        "| own after all | pages after all |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    keys = ("open_ms", "first_ms", "new_ms", "again_ms", "own_mib", "pages_mib", "own_after_mib", "pages_after_mib")
    return "\n".join(
        lines + [f"| {name} | {' | '.join(f'{run[key]:,.1f}' for key in keys)} |" for name, run in runs.items()]
    )
