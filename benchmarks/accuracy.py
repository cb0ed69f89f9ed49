"""Answers beside their floors on real photos: Im2GPS3k split by author, several times.

    python benchmarks/accuracy.py [--quick] [--json FILE] [--splits 6]

Each split deals whole authors to gallery, validation and test (60/10/30); scales, prior and rule are fitted on
validation. The photos of a split are embedded once, and every variant is a rebuild over them: prototypes, prototypes
with whitened features, and learned geo-embeddings. Figures are means over the splits, with the standard deviation
between splits; differences are paired. Needs the folder of real data; without it the benchmark says so and ends.
"""

import argparse
import json
import shutil
import statistics
import tempfile
from pathlib import Path
from typing import Any

from machine import describe_machine, shared_folder

from geoindex.evaluation.protocol import evaluate
from geoindex.evaluation.report import Report
from geoindex.pipeline import build_index
from geoindex.rebuilding import rebuild_index
from geoindex.recipe import Recipe

RATIO = (0.6, 0.1, 0.3)
QUICK_SPLITS, QUICK_SAMPLE = 2, 600
VARIANTS: dict[str, dict[str, Any]] = {
    "prototypes": {"encoding": {"projection": "none"}, "training": {"method": "none"}},
    "whitened": {"encoding": {"projection": "whiten"}, "training": {"method": "none"}},
    "learned": {"encoding": {"projection": "none"}, "training": {"method": "features"}},
    "learned without contrast": {"encoding": {"projection": "none"}, "training": {"method": "features", "alpha": 0.0}},
}


def reports(shared: Path, splits: int, sample: int | None) -> dict[str, list[Report]]:
    """Build one index a split, and evaluate every variant on it."""
    found: dict[str, list[Report]] = {name: [] for name in VARIANTS}
    for seed in range(splits):
        folder = Path(tempfile.mkdtemp(prefix="geoindex-accuracy-"))
        recipe = Recipe(
            source=str(shared / "data/im2gps3k/metadata.csv"),
            sample=sample,
            split_by="author",
            split_ratio=RATIO,
            seed=seed,
            encoder="timm:deit_tiny_patch16_224",
            weights=str(shared / "weights/deit_tiny_patch16_224.safetensors"),
        )
        build_index(recipe, out=folder / "index", training={"method": "none"})
        for name, keys in VARIANTS.items():
            rebuild_index(folder / "index", **keys)
            found[name].append(evaluate(folder / "index", seed=seed))
        shutil.rmtree(folder)
        own = ", ".join(f"{name} {runs[-1].own.geoscore:,.0f}" for name, runs in found.items())
        first = found["prototypes"][-1]
        print(f"split {seed}: {first.count} queries, {first.gallery} gallery images; GeoScore: {own}", flush=True)
    return found


def table(found: list[Report]) -> str:
    """Return means over the splits as a Markdown table."""
    radii = list(found[0].rows[0].metrics.accuracy)
    head = ["system", "median km", "mean km", "GeoScore", *(f"<{r} km %" for r in radii)]
    lines = [f"| {' | '.join(head)} |", f"| --- |{' ---: |' * (len(head) - 1)}"]
    systems = [row.name.split(" (")[0] for row in found[0].rows]
    for i, name in enumerate(systems):
        lines.append(_line(name, [report.rows[i].metrics for report in found], radii))
    lines.append(_line("geoindex, rule chosen on validation", [report.own for report in found], radii))
    return "\n".join(lines)


def _line(name: str, metrics: list, radii: list[str]) -> str:
    columns = [[m.median_km for m in metrics], [m.mean_km for m in metrics]]
    cells = [f"{statistics.mean(c):,.0f}" for c in columns]
    scores = [m.geoscore for m in metrics]
    spread = statistics.stdev(scores) if len(scores) > 1 else 0.0
    cells.append(f"{statistics.mean(scores):,.0f} ± {spread:.0f}")
    cells += [f"{statistics.mean(m.accuracy[r] for m in metrics):.1f}" for r in radii]
    return f"| {name} | {' | '.join(cells)} |"


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two splits of 600 photos")
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    parser.add_argument("--splits", type=int, default=6)
    options = parser.parse_args()
    shared = shared_folder()
    if shared is None:
        print("skipped: the folder shared/ with Im2GPS3k is absent (set GEOINDEX_SHARED)")
        return
    splits, sample = (QUICK_SPLITS, QUICK_SAMPLE) if options.quick else (options.splits, None)
    found = reports(shared, splits, sample)
    for name, runs in found.items():
        print(f"\n{name}, mean of {splits} author splits, ± between splits\n\n{table(runs)}")
    print(f"\n{differences(found)}")
    if options.json:
        rows = {name: [report.to_dict() for report in runs] for name, runs in found.items()}
        options.json.write_text(json.dumps({"machine": describe_machine(), "reports": rows}, indent=1) + "\n")


def differences(found: dict[str, list[Report]]) -> str:
    """Return paired differences of GeoScore to prototypes and to the best constant, with standard errors."""
    lines = ["| variant | GeoScore over prototypes | over the best constant |", "| --- | ---: | ---: |"]
    before = [report.own.geoscore for report in found["prototypes"]]
    for name, runs in found.items():
        own = [report.own.geoscore for report in runs]
        constant = [next(r for r in report.rows if r.name.startswith("best constant")) for report in runs]
        gains = _paired(own, before), _paired(own, [row.metrics.geoscore for row in constant])
        lines.append(f"| {name} | {gains[0]} | {gains[1]} |")
    return "\n".join(lines)


def _paired(a: list[float], b: list[float]) -> str:
    gains = [x - y for x, y in zip(a, b, strict=True)]
    error = statistics.stdev(gains) / len(gains) ** 0.5 if len(gains) > 1 else 0.0
    return f"{statistics.mean(gains):+,.0f} ± {error:.0f}"


if __name__ == "__main__":
    main()
