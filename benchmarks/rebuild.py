"""Time and memory of a build and of a rebuild, step by step.

    python benchmarks/rebuild.py [--quick] [--json FILE]

Two works: real photos (Im2GPS3k with DeiT-tiny, skipped by name where the data is absent) through decoding and the
encoder, and planted embeddings at real Street View positions (named places where the table is absent), which is all
but the encoder. Each work runs in a process of its own; peak memory is reset before every step.
"""

import argparse
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from machine import apart, describe_machine, peak_mib, reset_peak, shared_folder

from geoindex import pipeline
from geoindex.progress import Stages
from geoindex.recipe import Recipe, TrainingRecipe

PHOTOS, QUICK_PHOTOS = 2997, 300
PLANTED, QUICK_PLANTED = 100_000, 10_000
DIM = 768
PROTOTYPES = TrainingRecipe(method="none")


class MeasuredStages(Stages):
    """Stages that also record the peak of resident memory of each step."""

    peaks_mib: dict[str, float]

    def __init__(self) -> None:
        super().__init__()
        self.peaks_mib = {}
        made.append(self)

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Time one step and record its peak memory."""
        reset_peak()
        with super().__call__(name):
            yield
        self.peaks_mib[name] = max(self.peaks_mib.get(name, 0.0), peak_mib())


made: list[MeasuredStages] = []


def photo_recipe(quick: bool) -> Recipe | None:
    """Return the recipe for real photos; None where they are absent."""
    shared = shared_folder()
    if shared is None:
        return None
    return Recipe(
        source=str(shared / "data/im2gps3k/metadata.csv"),
        sample=QUICK_PHOTOS if quick else PHOTOS,
        split_by="author",
        encoder="timm:deit_tiny_patch16_224",
        weights=str(shared / "weights/deit_tiny_patch16_224.safetensors"),
        training=PROTOTYPES,
    )


def planted_recipe(quick: bool) -> Recipe:
    """Return the recipe for planted embeddings."""
    shared = shared_folder()
    table = shared / "data/tables/streetview_positions_166k.csv" if shared else None
    count = QUICK_PLANTED if quick else PLANTED
    positions = f"&positions={table}" if table else ""
    return Recipe(source=f"planted:{count}?dim={DIM}&noise=2{positions}", training=PROTOTYPES)


def measure(recipe: Recipe, folder: Path) -> dict[str, Any]:
    """Build and rebuild in this process; return counts, times and peaks by step."""
    pipeline.Stages = MeasuredStages
    built = pipeline.build_index(recipe, out=folder)
    rebuilt = pipeline.rebuild_index(folder)
    size = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())
    runs = zip(("build", "rebuild"), (built, rebuilt), made, strict=True)
    return {
        "counts": rebuilt.counts,
        "bytes_both_generations": size,
        **{name: {"seconds": report.timings_s, "peak_mib": stages.peaks_mib} for name, report, stages in runs},
    }


def run_apart(recipe: Recipe) -> dict[str, Any]:
    """Measure in a process of its own and clear away what it wrote."""
    folder = Path(tempfile.mkdtemp(prefix="geoindex-rebuild-"))
    try:
        return apart(measure, recipe, folder / "index")
    finally:
        shutil.rmtree(folder)


def table(name: str, result: dict[str, Any]) -> str:
    """Return one work as a Markdown table."""
    counts, build, rebuild = result["counts"], result["build"], result["rebuild"]
    lines = [
        f"**{name}**: {counts['images']:,} images, {counts['gallery']:,} in the gallery, {counts['cells']:,} cells, "
        f"{counts['clusters']:,} clusters",
        "",
        "| step | build s | peak MiB | rebuild s | peak MiB |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for step in build["seconds"]:
        cells = [_cell(run[key].get(step), digits) for run in (build, rebuild) for key, digits in FIGURES]
        lines.append(f"| {step} | {' | '.join(cells)} |")
    totals = [f"{sum(run['seconds'].values()):.1f} | {max(run['peak_mib'].values()):,.0f}" for run in (build, rebuild)]
    return "\n".join([*lines, f"| all | {' | '.join(totals)} |"])


FIGURES = (("seconds", 2), ("peak_mib", 0))


def _cell(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:,.{digits}f}"


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a minute instead of several")
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    options = parser.parse_args()
    machine, results = describe_machine(), {}
    photos = photo_recipe(options.quick)
    if photos is None:
        print("real photos: skipped, the folder shared/ with Im2GPS3k is absent (set GEOINDEX_SHARED)")
    else:
        results["real photos, DeiT-tiny"] = run_apart(photos)
    results[f"planted embeddings, {DIM} dimensions"] = run_apart(planted_recipe(options.quick))
    print(f"{machine['processor']}, {machine['cores']} cores, load before {machine['load_before']}\n")
    print("\n\n".join(table(name, result) for name, result in results.items()))
    if options.json:
        options.json.write_text(json.dumps({"machine": machine, "results": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
