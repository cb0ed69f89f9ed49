"""Geocells beside what a user would pick instead: OPTICS for speed, partitions for their error floor.

    python benchmarks/geocells.py [--quick] [--json FILE] [--part speed|scale|floor|pipeline ...]

speed      our OPTICS, scikit-learn's, and two HDBSCAN libraries on the same real positions, one after the other in
           one process a size, with a check that our ordering is scikit-learn's
scale      our OPTICS alone up to a million positions, with the exponent of its growth
floor      distance from held-out positions to the centroid of their cell, for partitions refitted on the same training
           positions at the same number of cells
pipeline   the whole of cells and clusters with their sweeps: 166k real positions, 5 million jittered ones

Positions are those of the folder of real data; without it the benchmark says so and takes named places.
"""

import argparse
import json
import statistics
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from machine import Peak, apart, describe_machine, peak_mib, reset_peak, shared_folder, tree_mib

from geoindex import geo
from geoindex.assembly.division import divide_positions
from geoindex.geocells.fitting import fit_partition
from geoindex.geocells.optics import Ordering, optics
from geoindex.places import named_places
from geoindex.recipe import GeocellRecipe, Recipe
from geoindex.sources import open_source

MIN_SAMPLES = 10
STREET, GALLERY, QUADTREE = (
    "streetview_positions_166k.csv",
    "geoclip_coordinates_100K.csv",
    "osv5m_quadtree_10_1000.csv",
)
SPEED_SIZES, QUICK_SPEED_SIZES = (2_000, 5_000, 10_000, 20_000), (2_000, 5_000)
SCALE_SIZES, QUICK_SCALE_SIZES = (10_000, 30_000, 100_000, 166_000, 300_000, 1_000_000), (10_000, 30_000, 100_000)
JITTER_KM = 10.0
RESOLUTIONS, QUICK_RESOLUTIONS = (2, 3, 4), (2,)
HELD_OUT = 0.2
LARGE, QUICK_LARGE = 5_000_000, 200_000


@cache
def table(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the positions of a table of real data, or of named places, in a seeded order, each (N,)."""
    shared = shared_folder()
    if shared is None:
        places = named_places()
        lat, lon = places.lat, places.lon
    else:
        samples = open_source(str(shared / "data/tables" / name)).scan().samples
        lat, lon = samples.lat, samples.lon
    order = np.random.default_rng(0).permutation(len(lat))
    return lat[order], lon[order]


def positions(count: int, name: str = STREET) -> tuple[np.ndarray, np.ndarray]:
    """Return `count` positions: real ones, and beyond their number copies up to 10 km away."""
    lat, lon = table(name)
    rows = np.resize(np.arange(len(lat)), count)
    rng = np.random.default_rng(1)
    off_km = np.where(np.arange(count) < len(lat), 0.0, JITTER_KM * np.sqrt(rng.random(count)))
    return geo.destination(lat[rows], lon[rows], rng.uniform(0.0, 360.0, count), off_km)


def turned(lat: np.ndarray, lon: np.ndarray, to_lat: float, to_lon: float) -> tuple[np.ndarray, np.ndarray]:
    """Turn the Earth so that the middle of the positions comes to lie at a place."""
    middle = geo.to_unit(lat, lon).mean(axis=0)
    start, end = middle / np.linalg.norm(middle), geo.to_unit(to_lat, to_lon)
    axis = np.cross(start, end)
    cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    turn = np.eye(3) + cross + cross @ cross / (1.0 + start @ end)
    return geo.from_unit(geo.to_unit(lat, lon) @ turn.T)


def subsets(quick: bool) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return the real subsets on which our ordering is compared with scikit-learn's."""
    sizes = QUICK_SPEED_SIZES if quick else SPEED_SIZES
    found = {f"Street View, {size:,}": positions(size) for size in sizes}
    if quick:
        return found
    five = positions(5_000, GALLERY)
    found["GeoCLIP gallery, 5,000"] = five
    found["GeoCLIP gallery, 10,000"] = positions(10_000, GALLERY)
    found["the first turned to the north pole"] = turned(*five, 90.0, 0.0)
    found["the first turned to the antimeridian"] = turned(*five, -17.0, 180.0)
    found["the first rounded to 0.1 degree"] = (five[0].round(1), five[1].round(1))
    return found


def timed(function: Callable[[], Any], repeats: int) -> tuple[Any, float]:
    """Return a result and the median of the seconds that it took."""
    seconds = []
    for _ in range(repeats):
        started = perf_counter()
        result = function()
        seconds.append(perf_counter() - started)
    return result, statistics.median(seconds)


def scikit_optics(points: np.ndarray, **metric: Any) -> Any:
    """Return scikit-learn's graph: ordering, core distances, reachability, predecessor."""
    from sklearn.cluster import compute_optics_graph

    options = {"min_samples": MIN_SAMPLES, "max_eps": np.inf, "metric_params": None, "leaf_size": 30, "n_jobs": None}
    return compute_optics_graph(points, **options, **metric)


CHORDS = {"metric": "minkowski", "p": 2, "algorithm": "kd_tree"}
HAVERSINE = {"metric": "haversine", "p": 2, "algorithm": "ball_tree"}


def speed(lat: np.ndarray, lon: np.ndarray) -> dict[str, Any]:
    """Measure one subset in this process."""
    from fast_hdbscan import HDBSCAN as FastHDBSCAN
    from sklearn.cluster import HDBSCAN

    xyz, radians = geo.to_unit(lat, lon), np.radians(np.column_stack([lat, lon]))
    optics(lat[:500], lon[:500], MIN_SAMPLES)
    ours, our_s = timed(lambda: optics(lat, lon, MIN_SAMPLES), 21)
    chords, chords_s = timed(lambda: scikit_optics(xyz, **CHORDS), 1)
    angles, angles_s = timed(lambda: scikit_optics(radians, **HAVERSINE), 1)
    FastHDBSCAN(min_samples=MIN_SAMPLES).fit(xyz[:500])  # its threads wait busily from then on
    _, fast_s = timed(lambda: FastHDBSCAN(min_samples=MIN_SAMPLES).fit(xyz), 3)
    _, slow_s = timed(lambda: HDBSCAN(min_samples=MIN_SAMPLES, algorithm="kd_tree", copy=True).fit(xyz), 1)
    return {
        "count": len(lat), "optics_s": our_s, "chords_s": chords_s, "haversine_s": angles_s,
        "chords_ratio": chords_s / our_s, "haversine_ratio": angles_s / our_s,
        "fast_hdbscan_s": fast_s, "scikit_hdbscan_s": slow_s,
        "as_chords": likeness(ours, chords, geo.chord_to_km(chords[2])),
        "as_haversine": likeness(ours, angles, geo.EARTH_RADIUS_KM * angles[2]),
    }  # fmt: skip


def likeness(ours: Ordering, theirs: Any, reach_km: np.ndarray) -> str:
    """Say how alike two walks are: places with the same row, and the largest difference of a reachability."""
    ordering, _, reach, predecessor = theirs
    finite = np.isfinite(reach)
    off_km = np.abs(ours.reachability_km[finite] - reach_km[finite]).max()
    if np.array_equal(ours.ordering, ordering):
        parents = "and predecessors " if np.array_equal(ours.predecessor, predecessor) else ""
        return f"same ordering {parents}({off_km:.0e} km)"
    return f"{100.0 * np.mean(ours.ordering == ordering):.1f} % of the ordering"


def scale(count: int) -> dict[str, Any]:
    """Measure our OPTICS alone in this process."""
    lat, lon = positions(count)
    optics(lat[:500], lon[:500], MIN_SAMPLES)
    reset_peak()
    before = peak_mib()
    _, seconds = timed(lambda: optics(lat, lon, MIN_SAMPLES), 3 if count < 500_000 else 1)
    return {"count": count, "optics_s": seconds, "peak_mib": peak_mib(), "added_mib": peak_mib() - before}


def exponent(rows: list[dict[str, Any]], key: str) -> float:
    """Return b of time = a * count ** b, fitted by least squares on logarithms."""
    counts, seconds = np.log([row["count"] for row in rows]), np.log([row[key] for row in rows])
    return float(np.polyfit(counts, seconds, 1)[0])


def floors(name: str, quick: bool) -> list[dict[str, Any]]:
    """Measure the error floors of all methods on one table."""
    lat, lon = table(name) if not quick else positions(20_000, name)
    asked = int(HELD_OUT * len(lat))
    train, test = (lat[asked:], lon[asked:]), (lat[:asked], lon[:asked])
    rows = []
    for count in [174, *_grid_counts(train, QUICK_RESOLUTIONS if quick else RESOLUTIONS)]:
        rows += list(_floors_at(count, train, test))
    return [{"table": name, **row} for row in rows + list(_shipped_quadtree(train, test))]


def _grid_counts(train: tuple[np.ndarray, np.ndarray], resolutions: tuple[int, ...]) -> list[int]:
    from geoindex.geocells.grid import Grid

    return [len(np.unique(Grid(resolution).leaf_of(*train))) for resolution in resolutions]


def _floors_at(count: int, train: tuple, test: tuple) -> Iterator[dict[str, Any]]:
    recipe = GeocellRecipe(n_cells=count, max_depth=20)
    for method in ("optics", "hdbscan", "quadtree", "balanced", "grid"):
        started = perf_counter()
        partition = fit_partition(*train, replace(recipe, method=method), 0).partition
        seconds = perf_counter() - started
        if abs(len(partition) - count) > 0.02 * count:
            continue  # the grid has one count a resolution
        cell = partition.assign(*test)
        off_km = geo.haversine_km(*test, partition.site_lat[cell], partition.site_lon[cell])
        yield _floor_row(method, len(partition), off_km, seconds)
    yield _kmeans_floor(count, train, test)


def _kmeans_floor(count: int, train: tuple, test: tuple) -> dict[str, Any]:
    from sklearn.cluster import MiniBatchKMeans

    started = perf_counter()
    found = MiniBatchKMeans(count, random_state=0, n_init=1, batch_size=8192, max_iter=100).fit(geo.to_unit(*train))
    sites = geo.from_unit(found.cluster_centers_)
    seconds = perf_counter() - started
    return _floor_row("k-means", count, geo.nearest(*sites, *test)[1], seconds)


def _shipped_quadtree(train: tuple, test: tuple) -> Iterator[dict[str, Any]]:
    """Yield OSV-5M's own cells, made from its 5 million images, and our cells at as many as the test set reaches."""
    import pyarrow.csv

    shared = shared_folder()
    if shared is None:
        return
    columns = pyarrow.csv.read_csv(shared / "data/tables" / QUADTREE)
    box = {name: columns[name].to_numpy() for name in columns.column_names}
    cell = np.array([_box_of(box, lat, lon) for lat, lon in zip(*test, strict=True)])
    outside = np.flatnonzero(cell < 0)
    cell[outside] = geo.nearest(box["mean_lat"], box["mean_lon"], test[0][outside], test[1][outside])[0]
    off_km = geo.haversine_km(*test, box["mean_lat"][cell], box["mean_lon"][cell])
    yield _floor_row("OSV-5M's quadtree_10_1000, as shipped", len(columns), off_km, 0.0)


def _box_of(box: dict[str, np.ndarray], lat: float, lon: float) -> int:
    inside = (box["min_lat"] <= lat) & (lat <= box["max_lat"]) & (box["min_lon"] <= lon) & (lon <= box["max_lon"])
    return int(np.argmax(inside)) if inside.any() else -1


def _floor_row(method: str, cells: int, off_km: np.ndarray, seconds: float) -> dict[str, Any]:
    shares = {f"<{radius}": 100.0 * float(np.mean(off_km < radius)) for radius in (25, 200)}
    middle = {"median_km": float(np.median(off_km)), "mean_km": float(off_km.mean())}
    return {"method": method, "cells": cells, **middle, **shares, "fit_s": seconds}


def pipeline(count: int) -> dict[str, Any]:
    """Measure cells and clusters with their sweeps in this process and those that it starts."""
    lat, lon = positions(count)
    with Peak(tree_mib, 0.05) as peak:
        divided, seconds = timed(lambda: divide_positions(lat, lon, None, Recipe()), 1)
    partition, clusters = divided.fitted.partition, divided.clusters
    off_km = geo.haversine_km(lat, lon, clusters.site_lat[divided.cluster_of], clusters.site_lon[divided.cluster_of])
    return {
        "count": count, "seconds": seconds, "peak_mib": peak.most, "cells": len(partition), "clusters": len(clusters),
        "seen": divided.fitted.chosen["n_positions"], "median_km_to_cluster": float(np.median(off_km)),
    }  # fmt: skip


COLUMNS = {
    "speed": {
        "subset": "{subset}", "ours s": "{optics_s:.3f}",
        "scikit-learn haversine s": "{haversine_s:.1f}", "ratio": "{haversine_ratio:,.0f}",
        "ours is": "{as_haversine}",
        "scikit-learn on unit vectors s": "{chords_s:.1f}", "ratio ": "{chords_ratio:,.0f}", "ours is ": "{as_chords}",
        "fast_hdbscan s": "{fast_hdbscan_s:.2f}", "scikit-learn HDBSCAN s": "{scikit_hdbscan_s:.1f}",
    },
    "scale": {"positions": "{count:,}", "ours s": "{optics_s:.2f}", "peak MiB": "{peak_mib:,.0f}",
              "of it added MiB": "{added_mib:,.0f}"},
    "floor": {"table": "{table}", "cells": "{cells:,}", "method": "{method}", "median km": "{median_km:.1f}",
              "mean km": "{mean_km:.1f}", "<25 km %": "{<25:.1f}", "<200 km %": "{<200:.1f}", "fit s": "{fit_s:.1f}"},
    "pipeline": {"positions": "{count:,}", "seen by OPTICS": "{seen:,}", "cells": "{cells:,}",
                 "clusters": "{clusters:,}", "s": "{seconds:.1f}", "peak MiB, all processes": "{peak_mib:,.0f}",
                 "median km to the cluster": "{median_km_to_cluster:.2f}"},
}  # fmt: skip


def markdown(part: str, rows: list[dict[str, Any]]) -> str:
    """Return rows as a Markdown table."""
    columns = COLUMNS[part]
    lines = [f"| {' | '.join(columns)} |", f"|{' --- |' * len(columns)}"]
    lines += [f"| {' | '.join(text.format(**row) for text in columns.values())} |" for row in rows]
    return "\n".join(lines)


def run(part: str, quick: bool) -> list[dict[str, Any]]:
    """Run one part, each measurement in a process of its own."""
    if part == "speed":
        return [{"subset": name, **apart(speed, *subset)} for name, subset in subsets(quick).items()]
    if part == "scale":
        return [apart(scale, count) for count in (QUICK_SCALE_SIZES if quick else SCALE_SIZES)]
    if part == "floor":
        return [row for name in (STREET, GALLERY) for row in apart(floors, name, quick)]
    return [apart(pipeline, count) for count in (len(table(STREET)[0]), QUICK_LARGE if quick else LARGE)]


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a minute or two, on fewer positions")
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    parser.add_argument("--part", nargs="*", choices=list(COLUMNS), default=list(COLUMNS))
    options = parser.parse_args()
    machine, results = describe_machine(), {}
    if shared_folder() is None:
        print("real positions are absent (set GEOINDEX_SHARED): named places stand in for both tables\n")
    print(f"{machine['processor']}, {machine['cores']} cores, load before {machine['load_before']}\n", flush=True)
    for part in options.part:
        results[part] = run(part, options.quick)
        print(f"{part}\n\n{markdown(part, results[part])}\n", flush=True)
        if part == "scale":
            print(f"time grows with the number of positions to the {exponent(results[part], 'optics_s'):.2f}\n")
        if part == "speed":
            street = [row for row in results[part] if row["subset"].startswith("Street")]
            print(f"exponents: ours {exponent(street, 'optics_s'):.2f}, ", end="")
            print(f"scikit-learn {exponent(street, 'haversine_s'):.2f} (haversine), ", end="")
            print(f"{exponent(street, 'chords_s'):.2f} (unit vectors)\n")
    if options.json:
        options.json.write_text(json.dumps({"machine": machine, "results": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
