"""Answers beside their floors on real photos: Im2GPS3k split by author, several times.

    python benchmarks/accuracy.py [--quick] [--json FILE] [--splits 6] [--projection none|whiten]

Each split deals whole authors to gallery, validation and test (60/10/30); scales, prior and rule are fitted on
validation. Figures are means over the splits, with the standard deviation between splits. Needs the folder of
real data; without it the benchmark says so and ends.
"""

import argparse
import json
import shutil
import statistics
import tempfile
from pathlib import Path

from machine import describe_machine, shared_folder

from geoindex.evaluation.protocol import evaluate
from geoindex.evaluation.report import Report
from geoindex.pipeline import build_index
from geoindex.recipe import EncoderRecipe, Recipe

RATIO = (0.6, 0.1, 0.3)
QUICK_SPLITS, QUICK_SAMPLE = 2, 600


def reports(shared: Path, splits: int, sample: int | None, projection: str) -> list[Report]:
    """Build and evaluate one index a split."""
    found = []
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
            encoding=EncoderRecipe(projection=projection),  # type: ignore[arg-type]
        )
        build_index(recipe, out=folder / "index")
        found.append(evaluate(folder / "index", seed=seed))
        shutil.rmtree(folder)
        print(f"split {seed}: {found[-1].count} queries, {found[-1].gallery} gallery images, rule {found[-1].rule}")
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
    parser.add_argument("--projection", choices=["none", "whiten"], default="none")
    options = parser.parse_args()
    shared = shared_folder()
    if shared is None:
        print("skipped: the folder shared/ with Im2GPS3k is absent (set GEOINDEX_SHARED)")
        return
    splits, sample = (QUICK_SPLITS, QUICK_SAMPLE) if options.quick else (options.splits, None)
    found = reports(shared, splits, sample, options.projection)
    print(f"\nprojection {options.projection}, mean of {splits} author splits, ± between splits\n\n{table(found)}")
    if options.json:
        results = {"machine": describe_machine(), "reports": [report.to_dict() for report in found]}
        options.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
