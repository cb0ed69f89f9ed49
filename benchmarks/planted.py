"""Planted embeddings at 166,000 Street View positions, as hard as OSV-5M is for StreetCLIP: what is each level worth?

    python benchmarks/planted.py [--quick] [--json FILE] [--queries 1500]

How hard the set is is not chosen: its noise is found by bisection, so that 1-NN over the gallery reaches the GeoScore
that is published for 1-NN with StreetCLIP on OSV-5M, 3,597 (Astruc et al., CVPR 2024). All else is the source's own.
Queries lie in other blocks of 1 km than the gallery and the validation, as OSV-5M's are at least 1 km away. Then the
index, built with prototypes, is asked beside its floors and rivals; its levels are taken away one by one; and what it
tells of its answers is held against them. Intervals are 95 % ones from a bootstrap over blocks of 100 km. Needs the
folder of real data; without it the benchmark says so and ends.
"""

import argparse
import json
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from machine import describe_machine, needed_folder
from systems import RADII_KM, Resampling, ask_all, figures, table, verdicts

from geoindex.estimate import Posterior, score_point
from geoindex.evaluation.answers import ranked
from geoindex.evaluation.confidence import ConfidenceReport
from geoindex.evaluation.neighbours import nearest_images
from geoindex.evaluation.queries import Queries, split_queries
from geoindex.geo import haversine_km
from geoindex.index import GeoIndex, open_index
from geoindex.metrics import accuracy, geoscore, measure
from geoindex.pipeline import build_from
from geoindex.recipe import Recipe, TrainingRecipe
from geoindex.search.posterior import Ranking
from geoindex.sources.planted import PlantedEmbeddings
from geoindex.splits import split_samples, tile_of

POSITIONS, QUICK_POSITIONS, QUICK_QUERIES = 165_999, 15_000, 500
PUBLISHED, CLOSE = 3597.0, 5.0
"""GeoScore of 1-NN with StreetCLIP on OSV-5M, and how near the noise must bring 1-NN to it."""

NOISES = (0.5, 20.0)
SPLIT = {"split_by": "block", "block_km": 1.0, "split_ratio": (0.85, 0.05, 0.10)}
GROUP_KM = 100.0


def find_noise(source: PlantedEmbeddings, recipe: Recipe, count: int) -> float:
    """Return the noise at which 1-NN has the published GeoScore on some of the test positions, printing each try."""
    samples = source.scan().samples
    split = split_samples(samples, by=recipe.split_by, ratio=recipe.split_ratio, block_km=recipe.block_km, seed=0)
    rows, asked = np.flatnonzero(split == "train"), spread(np.flatnonzero(split == "test"), count)
    both = samples.take(np.concatenate([rows, asked]))
    signal = replace(source, noise=0.0).features(both)
    noise = replace(source, noise=1.0).features(both) - signal
    low, high = NOISES
    while True:
        middle = (low * high) ** 0.5
        vectors = signal + np.float32(middle) * noise
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        found = nearest_images(vectors[len(rows) :], vectors[: len(rows)], 1).rows[:, 0]
        km = haversine_km(both.lat[found], both.lon[found], both.lat[len(rows) :], both.lon[len(rows) :])
        score = float(geoscore(km).mean())
        print(f"noise {middle:.4f}: 1-NN {score:,.0f}", flush=True)
        if abs(score - PUBLISHED) < CLOSE or high / low < 1.0005:
            return middle
        low, high = (middle, high) if score > PUBLISHED else (low, middle)


def spread(rows: np.ndarray, count: int) -> np.ndarray:
    """Return so many of some rows, spread evenly over them."""
    return rows[np.linspace(0, len(rows) - 1, min(count, len(rows))).astype(np.int64)]


def some(queries: Queries, count: int) -> Queries:
    """Return so many of the queries, spread evenly over them."""
    rows = spread(np.arange(len(queries.ids)), count)
    ids = [queries.ids[row] for row in rows.tolist()]
    return Queries(queries.name, ids, queries.lat[rows], queries.lon[rows], queries.embeddings[rows])


def cells_alone(ranking: Ranking) -> Posterior:
    """Return the posterior of the cells, at their centroids."""
    geography, p = ranking.geography, np.exp(ranking.logits.astype(np.float64) - ranking.log_total)
    return Posterior(geography.cell_lat, geography.cell_lon, p, ranking.logits)


def likeliest(posterior: Posterior) -> tuple[float, float]:
    """Return the most probable point of any level."""
    best = int(np.argmax(posterior.probability))
    return float(posterior.lat[best]), float(posterior.lon[best])


def best_scored(posterior: Posterior) -> tuple[float, float]:
    """Return the point with the largest expected GeoScore."""
    return score_point(posterior, True)


def levels(index: GeoIndex, queries: Queries) -> dict[str, np.ndarray]:
    """Return the errors, (Q,) km, of answers with some of the levels, each by the likeliest point and by the rule."""
    rankings, searcher = [each for _, part in ranked(index, queries) for each in part], index.searcher
    posteriors = {
        "cells": [cells_alone(ranking) for ranking in rankings],
        "cells, clusters": [ranking.posterior for ranking in rankings],
        "cells, clusters, images": [
            searcher.posterior(*each) for each in zip(rankings, queries.embeddings, strict=True)
        ],
    }
    ways: dict[str, Callable[[Posterior], tuple[float, float]]] = {"likeliest point": likeliest, "score": best_scored}
    found = {}
    for name, own in posteriors.items():
        for way, answer in ways.items():
            lat, lon = np.array([answer(posterior) for posterior in own]).T
            found[f"{name}; {way}"] = haversine_km(lat, lon, queries.lat, queries.lon)
    return found


def ablation(errors: dict[str, np.ndarray], group: np.ndarray) -> str:
    """Return what each level and the rule of decision are worth, as a Markdown table."""
    draws, scores = Resampling(group), {name: geoscore(km) for name, km in errors.items()}
    shares = " | ".join(f"<{km:g} km %" for km in RADII_KM)
    heads = "levels; answer | GeoScore | over a level less (95 %) | over the likeliest point (95 %) | median km"
    lines = [f"| {heads} | {shares} |"]
    lines.append(f"| ---{' | ---:' * 7} |")
    names = list(errors)
    for row, name in enumerate(names):
        less = "" if row < 2 else draws.told(scores[name] - scores[names[row - 2]], "+,.0f")
        rule = "" if row % 2 == 0 else draws.told(scores[name] - scores[names[row - 1]], "+,.0f")
        hits = " | ".join(f"{100 * accuracy(errors[name], km):.2f}" for km in RADII_KM)
        numbers = measure(errors[name])
        lines.append(f"| {name} | {numbers.geoscore:,.0f} | {less} | {rule} | {numbers.median_km:,.0f} | {hits} |")
    return "\n".join(lines)


def run(positions: Path, count: int, asked: int) -> dict[str, Any]:
    """Find the noise, build, ask, and print; return the figures."""
    recipe = Recipe(source="planted", training=TrainingRecipe(method="none"), **SPLIT)
    source, started = PlantedEmbeddings(count, positions=positions), perf_counter()
    noise = find_noise(source, recipe, asked)
    print(f"noise {noise:.4f}, found in {perf_counter() - started:.0f} s", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        started = perf_counter()
        build_from(replace(source, noise=noise), recipe, Path(folder) / "index")
        index = open_index(Path(folder) / "index")
        print(f"{json.dumps(index.manifest.counts)}, built in {perf_counter() - started:.0f} s", flush=True)
        started, queries = perf_counter(), some(split_queries(index, "test"), asked)
        answered = ask_all(index, queries, tile_of(queries.lat, queries.lon, GROUP_KM))
        by_level = levels(index, queries)
        print(f"{asked} queries asked in {perf_counter() - started:.0f} s; {index.manifest.posterior}\n", flush=True)
    confidence = ConfidenceReport.measure(answered.sureness)
    print(
        f"{table(answered)}\n\n{verdicts(answered)}\n\n{ablation(by_level, answered.group)}\n\n{confidence.to_text()}"
    )
    scores = {name: float(geoscore(km).mean()) for name, km in by_level.items()}
    return {"noise": noise, **figures(answered), "levels": scores, "confidence": confidence.to_dict()}


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_POSITIONS:,} positions, {QUICK_QUERIES} queries")
    parser.add_argument("--queries", type=int, default=1500)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    shared = needed_folder()
    sizes = (QUICK_POSITIONS, QUICK_QUERIES) if options.quick else (POSITIONS, options.queries)
    found = run(shared / "data/tables/streetview_positions_166k.csv", *sizes)
    if options.json:
        options.json.write_text(json.dumps({"machine": describe_machine(), "planted": found}) + "\n")


if __name__ == "__main__":
    main()
