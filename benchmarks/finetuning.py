"""Does learning help on real photos? Prototypes, learned features and fine-tuned blocks, by author, on Im2GPS3k.

    python benchmarks/finetuning.py [--quick] [--json FILE] [--epochs 6] [--only NAME ...]

The photos are cut into five folds by author. For each fold an index is built from the others (a tenth of their
authors is validation) and asked for the fold, so every photo is asked once and nobody's photos are on both sides. The
validation column, over the validation photos of all folds, is what a default may be chosen on; the others may not.
Errors of all folds are pooled; differences are paired, photo by photo, with 95 % intervals from a bootstrap over
authors, for photos of one author are not independent. Needs the folder of real data; without it the benchmark says
so and ends.
"""

import argparse
import csv
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from machine import describe_machine, needed_folder

from geoindex.evaluation.protocol import floor_errors, rule_errors
from geoindex.evaluation.queries import queries_from, split_queries
from geoindex.index import open_index
from geoindex.metrics import geoscore, measure
from geoindex.pipeline import build_index
from geoindex.rebuilding import rebuild_index

FOLDS, BOOTSTRAPS = 5, 2_000
ENCODER = "timm:deit_tiny_patch16_224"


def variants(epochs: int) -> dict[str, dict[str, Any]]:
    """Return what is compared, as keys of a recipe."""
    return {
        "prototypes": {"training": {"method": "none"}},
        "prototypes, whitened": {"training": {"method": "none"}, "encoding": {"projection": "whiten"}},
        "cached features": {"training": {"method": "features"}},
        "cached features, whitened": {"training": {"method": "features"}, "encoding": {"projection": "whiten"}},
        "default": {"training": {"method": "auto"}, "encoding": {"projection": "auto"}},
        "last two blocks": {
            "training": {"method": "images", "epochs": epochs, "patience": epochs},
            "finetuning": {"weights": "last", "blocks": 2, "lr": 5e-5},
        },
    }


def folds(rows: list[dict[str, str]], count: int) -> np.ndarray:
    """Return the fold of each row, (N,): whole authors, the largest first, each to the smallest fold."""
    authors, number, sizes = np.unique([row["author"] for row in rows], return_inverse=True, return_counts=True)
    order = np.random.default_rng(0).permutation(len(authors))
    fold_of, filled = np.empty(len(authors), np.int64), np.zeros(count)
    for author in order[np.argsort(-sizes[order], kind="stable")]:
        fold_of[author] = filled.argmin()
        filled[fold_of[author]] += sizes[author]
    return fold_of[number]


def write_table(path: Path, rows: list[dict[str, str]], folder: Path) -> None:
    """Write a table of photos with absolute paths."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "file", "latitude", "longitude", "author"])
        for row in rows:
            writer.writerow([row["file"], folder / row["file"], row["latitude"], row["longitude"], row["author"]])


def ask(index_folder: Path, queries: Path) -> dict[str, Any]:
    """Return the errors of an index's answers and of the floors, by photo."""
    index = open_index(index_folder)
    found = queries_from(index, str(queries), {})
    floors = floor_errors(index, found, 0)
    constant = next(errors for name, errors in floors.items() if name.startswith("best constant"))
    own = rule_errors(index, found)[str(index.manifest.rule["name"])]
    errors = {"own": own, "best constant": constant, "1-NN": floors["1-NN, same embeddings"]}
    rule = str(index.manifest.rule["name"])
    validation = geoscore(rule_errors(index, split_queries(index, "val"))[rule])
    return {"ids": found.ids, "rule": rule, "errors": errors, "validation": validation}


def answers(work: Path, weights: Path, keys: dict[str, dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield what each variant answers in one fold; those with the same encoder are rebuilds of one index."""
    fixed = {"encoder": ENCODER, "weights": str(weights), "split_by": "author", "split_ratio": [0.9, 0.1, 0.0]}
    gallery, queries = work / "gallery.csv", work / "queries.csv"
    build_index(str(gallery), out=work / "index", **fixed, training={"method": "none"})
    for name, recipe in keys.items():
        started = perf_counter()
        if recipe["training"].get("method") == "images":
            folder = build_index(str(gallery), out=work / "tuned", **fixed, **recipe).path
        else:
            plain = {"encoding": {"projection": "none"}, **recipe}  # a rebuild starts from the last recipe
            folder = rebuild_index(work / "index", **plain).path
        seconds = perf_counter() - started
        yield name, {**ask(folder, queries), "seconds": seconds}


def difference(own: np.ndarray, other: np.ndarray, authors: np.ndarray) -> str:
    """Return the paired difference of GeoScore with its interval, resampling authors."""
    gain = geoscore(own) - geoscore(other)
    names, number = np.unique(authors, return_inverse=True)
    sums, counts = np.bincount(number, gain), np.bincount(number)
    drawn = np.random.default_rng(0).integers(len(names), size=(BOOTSTRAPS, len(names)))
    low, high = np.percentile(sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1), [2.5, 97.5])
    return f"{gain.mean():+,.0f} ({low:+,.0f} to {high:+,.0f})"


def main() -> None:
    """Run the folds and print tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two folds of 300 photos, one epoch")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--only", nargs="+", help="systems beside prototypes, by name")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    shared = needed_folder()
    folder = shared / "data/im2gps3k"
    with (folder / "metadata.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    if options.quick:
        rows = rows[:300]
    fold_of = folds(rows, 2 if options.quick else FOLDS)
    systems = variants(1 if options.quick else options.epochs)
    wanted = ["prototypes", *(options.only or systems)]
    found = run(rows, fold_of, folder, shared, {name: keys for name, keys in systems.items() if name in wanted})
    print(f"\n{report(found, {row['file']: row['author'] for row in rows})}")
    if options.json:
        plain = {name: {key: list(map(float, values)) for key, values in part["errors"].items()}
                 for name, part in found.items()}  # fmt: skip
        options.json.write_text(json.dumps({"machine": describe_machine(), "errors_km": plain}) + "\n")


def run(
    rows: list[dict[str, str]], fold_of: np.ndarray, folder: Path, shared: Path, keys: dict[str, dict[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Return for each variant the pooled errors of all folds."""
    weights = shared / "weights/deit_tiny_patch16_224.safetensors"
    found: dict[str, dict[str, Any]] = {name: {"ids": [], "errors": {}, "validation": []} for name in keys}
    for fold in range(fold_of.max() + 1):
        with tempfile.TemporaryDirectory() as temporary:
            work, inside = Path(temporary), fold_of == fold
            write_table(
                work / "gallery.csv", [row for row, there in zip(rows, inside, strict=True) if not there], folder
            )
            write_table(work / "queries.csv", [row for row, there in zip(rows, inside, strict=True) if there], folder)
            for name, part in answers(work, weights, keys):
                own, constant = (geoscore(part["errors"][key]).mean() for key in ("own", "best constant"))
                print(
                    f"fold {fold}, {name}: {len(part['ids'])} photos, rule {part['rule']}, GeoScore {own:,.0f} "
                    f"(constant {constant:,.0f}), {part['seconds']:.0f} s",
                    flush=True,
                )
                found[name]["ids"] += part["ids"]
                found[name]["validation"].extend(part["validation"])
                for key, errors in part["errors"].items():
                    found[name]["errors"].setdefault(key, []).extend(errors)
    return found


def report(found: dict[str, dict[str, Any]], author_of: dict[str, str]) -> str:
    """Return the pooled table and the paired differences."""
    lines = ["| system | validation | median km | GeoScore | over prototypes | over the constant | over its 1-NN |"]
    lines.append("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    base = found["prototypes"]
    authors = np.array([author_of[each] for each in base["ids"]])
    for floor in ("best constant", "1-NN"):
        metrics = measure(np.array(base["errors"][floor]))
        lines.append(f"| {floor} | | {metrics.median_km:,.0f} | {metrics.geoscore:,.0f} | | | |")
    for name, part in found.items():
        assert part["ids"] == base["ids"]
        errors = {key: np.array(values) for key, values in part["errors"].items()}
        metrics = measure(errors["own"])
        others = np.array(base["errors"]["own"]), errors["best constant"], errors["1-NN"]
        gains = " | ".join(difference(errors["own"], other, authors) for other in others)
        validation = f"{np.mean(part['validation']):,.0f}"
        lines.append(f"| {name} | {validation} | {metrics.median_km:,.0f} | {metrics.geoscore:,.0f} | {gains} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
