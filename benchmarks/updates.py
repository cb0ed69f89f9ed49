"""What does it cost to add photos to a large index, and to remove some?

    python benchmarks/updates.py [--quick] [--images 1000000] [--changed 1000] [--repeats 3]
        [--folder DIR] [--json FILE]

An index of planted embeddings is built once (with --folder it stays there, and is found again). Then photos are
added and removed in turns, each time in a process of its own whose growth of memory is taken, without the pages of
mapped files, which are no copies. The limit: cells and
clusters that change, the facts of all clusters, the search index and the added photos must be written; the embeddings
of the gallery are shared with the generation before. Reading those once is timed beside: what it must not cost.
"""

import argparse
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
from machine import Peak, apart, describe_machine, own_mib

from geoindex.errors import IndexNotFoundError
from geoindex.pipeline import build_index
from geoindex.sources.planted import PlantedEmbeddings
from geoindex.sources.source import LeftOut, Scan
from geoindex.store.generations import IndexFolder

DIM = 768


@dataclass
class LastPlanted(PlantedEmbeddings):
    """The last samples of a planted source."""

    wanted: int = 0

    def scan(self) -> Scan:
        """List the last samples."""
        samples = super().scan().samples
        return Scan(samples.take(np.arange(len(samples) - self.wanted, len(samples))), LeftOut())


def add(path: Path, first: int, count: int) -> dict[str, Any]:
    """Add samples that follow `first`."""
    from geoindex.updates.adding import add_from

    source = LastPlanted(first + count, dim=DIM, wanted=count)
    scan = source.scan()
    source.scan = lambda: scan  # type: ignore[method-assign]  # listing a million to find the last is not what is timed
    return _measured(path, lambda: add_from(source, IndexFolder(path)), count)


def remove(path: Path, ids: list[str]) -> dict[str, Any]:
    """Remove samples."""
    from geoindex.updates.removing import remove_images

    return _measured(path, lambda: remove_images(path, ids), len(ids))


def _measured(path: Path, change: Any, count: int) -> dict[str, Any]:
    import faiss  # noqa: F401 - imports are not what is timed
    import lancedb  # noqa: F401
    import scipy.spatial  # noqa: F401

    from geoindex.places import place_names

    place_names([0.0], [0.0])
    with Peak(own_mib, 0.01) as peak:
        started = perf_counter()
        report = change()
        seconds = perf_counter() - started
    found = getattr(report, "added", None) or getattr(report, "removed", None)
    assert found > 0.9 * count, report  # in a folder that is used again some are gone already
    return {"seconds": seconds, "grown_mib": peak.most - peak.before, "steps": report.timings_s}


def read_once(path: Path) -> dict[str, Any]:
    """Read the embeddings of the whole gallery."""
    started = perf_counter()
    embeddings = np.load(IndexFolder(path).current().folder / "gallery.npy", mmap_mode="r")
    total = sum(float(embeddings[i : i + 8192].astype(np.float32).sum()) for i in range(0, len(embeddings), 8192))
    assert np.isfinite(total)
    return {"seconds": perf_counter() - started, "grown_mib": 0.0, "steps": {}}


def base_index(path: Path, images: int) -> float:
    """Build the index, or find it; return the seconds of the build, 0 if it was there."""
    try:
        assert IndexFolder(path).current().manifest.dim == DIM
        return 0.0
    except IndexNotFoundError:
        pass
    started = perf_counter()
    build_index(f"planted:{images}?dim={DIM}", out=path, training={"method": "none"}, split_by="none")
    return perf_counter() - started


def table(rows: dict[str, list[dict[str, Any]]]) -> str:
    """Return the figures as Markdown."""
    lines = [
        "| what | s (median) | s (all) | memory grows by, MiB | steps of the median, s |",
        "| --- | ---: | --- | ---: | --- |",
    ]
    for name, runs in rows.items():
        seconds = [run["seconds"] for run in runs]
        middle = min(runs, key=lambda run: abs(run["seconds"] - median(seconds)))
        steps = ", ".join(f"{step} {value:.2f}" for step, value in middle["steps"].items() if value >= 0.05)
        every = ", ".join(f"{value:.2f}" for value in seconds)
        grown = max(run["grown_mib"] for run in runs)
        lines.append(f"| {name} | {median(seconds):.2f} | {every} | {grown:,.0f} | {steps} |")
    return "\n".join(lines)


def main() -> None:
    """Build, change, and print what each cost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="20,000 images and 200 changed")
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--changed", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    images, changed = (20_000, 200) if options.quick else (options.images, options.changed)
    with tempfile.TemporaryDirectory() as temporary:
        path = options.folder or Path(temporary) / "index"
        built_s = apart(base_index, path, images)
        counts = IndexFolder(path).current().manifest.counts
        first = counts["images"] + counts["removed"]
        rows: dict[str, list[dict[str, Any]]] = {f"add {changed:,}": [], f"remove {changed:,}": [], "read all once": []}
        added, removed, read = rows.values()
        for turn in range(options.repeats):
            added.append(apart(add, path, first + turn * changed, changed))
            start = 7 * (counts["removed"] // changed + turn) + 3  # none that an earlier run removed
            gone = range(start, first, max(1, first // changed - 7))[:changed]
            removed.append(apart(remove, path, [f"planted-{number}" for number in gone]))
            read.append(apart(read_once, path))
    print(f"{counts['gallery']:,} embeddings of {DIM}, {counts['cells']:,} cells, {counts['clusters']:,} clusters; ")
    print(f"built in {built_s:,.0f} s\n" if built_s else "found as it was\n")
    print(table(rows))
    if options.json:
        values = {"machine": describe_machine(), "counts": counts, "built_s": built_s, "rows": rows}
        options.json.write_text(json.dumps(values, indent=1) + "\n")


if __name__ == "__main__":
    main()
