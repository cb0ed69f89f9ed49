"""The partition alone: a table of positions in; cells, clusters, figures and a report out."""

import csv
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoindex import figures
from geoindex.assembly.division import DividedPositions, divide_positions, sample_labels
from geoindex.errors import ConfigError, EmptyDatasetError
from geoindex.geo import haversine_km
from geoindex.geocells.export import write_geojson, write_geoparquet, write_points_geoparquet
from geoindex.geocells.footprints import Footprints, footprints
from geoindex.geocells.optics import optics, xi_labels
from geoindex.geocells.outlines import Regions
from geoindex.geocells.partition import Labels
from geoindex.metrics import Metrics, measure
from geoindex.progress import Stages
from geoindex.recipe import Recipe
from geoindex.sampling import sample_rows
from geoindex.sources import open_source
from geoindex.store.address import folder_of
from geoindex.store.durable import storage_errors
from geoindex.types import Samples

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]

FLOOR_RADII_KM = ("1", "25", "200")


@dataclass(frozen=True, slots=True)
class SurveyReport:
    """What became of a table of positions.

    Attributes:
        path: the folder with everything that was written.
        files: their names.
        counts: positions, held_out, cells, clusters, largest and smallest number of clusters of a cell.
        chosen: how the cells were chosen, as the manifest of an index has it.
        floors: distance from positions to the nearest thing that an answer could be, by name: one point for all,
            the centroid of the cell, of the cluster; the latter two for held-out positions too, if there are any.
        area_km2: smallest, median and largest area of a cell.
        left_out: rows of the table that were not taken, by reason.
        timings_s: time of each step.
    """

    path: Path
    files: tuple[str, ...]
    counts: dict[str, int]
    chosen: dict[str, Any]
    floors: dict[str, Metrics]
    area_km2: dict[str, float]
    left_out: dict[str, Any]
    timings_s: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain JSON types."""
        return {"schema": 1, **asdict(self), "path": str(self.path)}

    def to_text(self) -> str:
        """Return the report as lines for people."""
        counts, area = self.counts, self.area_km2
        lines = [
            f"{self.path}: positions: {counts['positions']:,}, cells: {counts['cells']:,}, clusters: "
            f"{counts['clusters']:,} ({counts['fewest_clusters']} to {counts['most_clusters']} a cell)",
            f"cells of {area['least']:,.0f} to {area['most']:,.0f} km2, median {area['median']:,.0f}"
            + (", were there no borders" if "within" in self.chosen else ""),
            _choice_text(self.chosen),
            "",
            f"{'distance to the centroid of':<30}{'median km':>11}{'mean km':>11}"
            + "".join(f"{f'<{radius} km %':>11}" for radius in FLOOR_RADII_KM),
            *(_floor_text(name, floor) for name, floor in self.floors.items()),
            "",
        ]
        for reason, entry in self.left_out.items():
            lines.append(f"left out {entry['count']}: {reason} (such as {', '.join(entry['examples'][:3])})")
        steps = ", ".join(f"{step} {seconds:.1f}" for step, seconds in self.timings_s.items())
        return "\n".join([*lines, f"wrote {', '.join(self.files)}", f"{sum(self.timings_s.values()):.1f} s: {steps}"])


def survey_positions(recipe: Recipe, out: str | PathLike[str], held_out: float = 0.0) -> SurveyReport:
    """Divide the Earth by a source's positions and write what came of it.

    The folder gets `cells.geojson` and `cells.parquet` (outlines, GeoParquet 1.1), `clusters.parquet` (centroids),
    `positions.parquet` (cell and cluster of each), `partition.json` (what `read_partition` reads), `sweep.csv`,
    `report.json`, and figures.

    Args:
        recipe: its source, column, sample, balance, seed, geocells and clusters; the rest is not looked at.
        out: folder to write to; files of the same names are replaced.
        held_out: share of the positions that is left out of the cells and only measured on.

    Raises:
        GeoindexError: if the source, the recipe or the folder cannot be used.
    """
    if not 0.0 <= held_out < 1.0:
        raise ConfigError(f"A share of {held_out} cannot be held out; take 0 or more and less than 1.")
    folder, stages = folder_of(out), Stages()
    with stages("scan"):
        samples, left_out = _positions(recipe)
        kept, asked = _split(len(samples), held_out, recipe.seed)
        labels = sample_labels(samples, recipe.geocells.within)
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with stages("geocells and clusters"):
        surveyed = _surveyed(samples.take(kept), _taken(labels, kept), recipe)
    with stages("measure"):
        floors = surveyed.floors(surveyed.samples, surveyed.divided.cell_of, surveyed.divided.cluster_of)
        if len(asked):
            others = samples.take(asked)
            found = surveyed.floors(others, *surveyed.assign(others, _taken(labels, asked)))
            floors |= {f"held out: {name}": floor for name, floor in found.items()}
    with storage_errors(folder):
        with stages("write"):
            files = _write_tables(folder, surveyed)
        with stages("draw"):
            files += _draw(folder, surveyed, recipe)
        report = _report(folder, files, surveyed, floors, len(asked), left_out, stages)
        (folder / "report.json").write_text(json.dumps(report.to_dict(), indent=1, ensure_ascii=False) + "\n", "utf-8")
    return report


@dataclass(frozen=True, slots=True)
class _Surveyed:
    """Positions, how they are divided, and where cells and clusters came to lie."""

    samples: Samples
    divided: DividedPositions
    cells: Footprints
    clusters: Footprints
    regions: Regions

    def assign(self, samples: Samples, labels: Labels | None) -> tuple[Rows, Rows]:
        """Return cell and cluster of other positions."""
        cell_of = self.divided.fitted.partition.assign(samples.lat, samples.lon, labels)
        return cell_of, self.divided.clusters.assign(samples.lat, samples.lon, cell_of)

    def off_km(self, samples: Samples, cell_of: Rows, cluster_of: Rows) -> dict[str, Floats]:
        """Return the distance from each position to the centroids that could answer for it, each (N,)."""
        lat, lon, cells, clusters = samples.lat, samples.lon, self.cells, self.clusters
        middle = footprints(cells.lat, cells.lon, np.zeros(len(cells.lat), np.int64), 1)
        return {
            "all cells": haversine_km(lat, lon, middle.lat, middle.lon),
            "its cell": haversine_km(lat, lon, cells.lat[cell_of], cells.lon[cell_of]),
            "its cluster": haversine_km(lat, lon, clusters.lat[cluster_of], clusters.lon[cluster_of]),
        }

    def floors(self, samples: Samples, cell_of: Rows, cluster_of: Rows) -> dict[str, Metrics]:
        """Sum these distances up."""
        return {name: measure(distance_km) for name, distance_km in self.off_km(samples, cell_of, cluster_of).items()}


def _surveyed(samples: Samples, labels: Labels | None, recipe: Recipe) -> _Surveyed:
    divided = divide_positions(samples.lat, samples.lon, labels, recipe)
    partition = divided.fitted.partition
    cells = footprints(samples.lat, samples.lon, divided.cell_of, len(partition))
    clusters = footprints(samples.lat, samples.lon, divided.cluster_of, len(divided.clusters))
    return _Surveyed(samples, divided, cells, clusters, partition.regions())


def _positions(recipe: Recipe) -> tuple[Samples, dict[str, Any]]:
    scan = open_source(recipe.source, columns=recipe.columns).scan()
    samples = scan.samples
    if recipe.sample is not None:
        rows = sample_rows(samples.lat, samples.lon, recipe.sample, balance=recipe.balance, seed=recipe.seed)
        samples = samples.take(rows)
    if len(samples) == 0:
        raise EmptyDatasetError(f"There is no usable position in '{recipe.source}'; check its coordinates.")
    return samples, scan.left_out.to_dict()


def _split(count: int, share: float, seed: int) -> tuple[Rows, Rows]:
    order = np.random.default_rng(seed).permutation(count)
    asked = min(round(share * count), count - 1)
    return np.sort(order[asked:]), np.sort(order[:asked])


def _taken(labels: Labels | None, rows: Rows) -> Labels | None:
    return None if labels is None else [labels[row] for row in rows.tolist()]


def _write_tables(folder: Path, surveyed: _Surveyed) -> list[str]:
    """Write what programs read and return the names of the files."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    samples, divided, regions = surveyed.samples, surveyed.divided, surveyed.regions
    partition = divided.fitted.partition
    facts = asdict(surveyed.cells) | {"site_lat": partition.site_lat, "site_lon": partition.site_lon}
    write_geojson(folder / "cells.geojson", regions, facts)
    write_geoparquet(folder / "cells.parquet", regions, facts)
    clusters = asdict(surveyed.clusters) | {"cell": divided.clusters.cell}
    clusters |= {"site_lat": divided.clusters.site_lat, "site_lon": divided.clusters.site_lon}
    write_points_geoparquet(folder / "clusters.parquet", clusters.pop("lat"), clusters.pop("lon"), clusters)
    columns = {"id": samples.ids, "lat": samples.lat, "lon": samples.lon}
    columns |= {"cell": divided.cell_of, "cluster": divided.cluster_of}
    pq.write_table(pa.table(columns), folder / "positions.parquet")
    (folder / "partition.json").write_text(json.dumps(partition.to_dict()) + "\n", "utf-8")
    _write_sweep(folder / "sweep.csv", divided.fitted.scores)
    tables = ["cells.geojson", "cells.parquet", "clusters.parquet", "positions.parquet"]
    return [*tables, "partition.json", "sweep.csv", "report.json"]


def _write_sweep(path: Path, scores: list[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(scores[0]) if scores else ["min_samples", "xi"], lineterminator="\n")
        writer.writeheader()
        writer.writerows(scores)


def _draw(folder: Path, surveyed: _Surveyed, recipe: Recipe) -> list[str]:
    """Write what people look at and return the names of the files."""
    samples, divided, cells, regions = surveyed.samples, surveyed.divided, surveyed.cells, surveyed.regions
    title = f"{len(regions):,} geocells ({divided.fitted.partition.method}) of {len(samples):,} positions"
    figures.draw_partition(regions.pieces, cells.lat, cells.lon, cells.n_members, folder / "cells.png", title=title)
    figures.draw_cells(cells.n_members, regions.area_km2, folder / "sizes.png")
    off_km = surveyed.off_km(samples, divided.cell_of, divided.cluster_of)
    shown = {f"centroid of {name}": off_km[name] for name in ("its cell", "its cluster")}
    figures.draw_floor(shown, folder / "floor.png")
    setting = divided.fitted.chosen["setting"]
    drawn = ["cells.png", "sizes.png", "floor.png"]
    if setting.get("xi") is None or recipe.geocells.source:  # positions of another source are not at hand
        return drawn
    _draw_reachability(folder / "reachability.png", samples, setting, recipe)
    return [*drawn, "reachability.png"]


def _draw_reachability(path: Path, samples: Samples, setting: Mapping[str, Any], recipe: Recipe) -> None:
    """Draw the walk of the setting that won, over the positions that it saw."""
    rows = sample_rows(samples.lat, samples.lon, recipe.geocells.max_positions, balance="cover", seed=recipe.seed)
    ordering = optics(samples.lat[rows], samples.lon[rows], setting["min_samples"])
    label = xi_labels(ordering, setting["xi"], setting["min_samples"])[ordering.ordering]
    title = f"Reachability of {len(rows):,} positions, min_samples {setting['min_samples']}, xi {setting['xi']:g}"
    figures.draw_reachability(ordering.reachability_km[ordering.ordering], label, path, title=title)


def _report(
    folder: Path,
    files: list[str],
    surveyed: _Surveyed,
    floors: dict[str, Metrics],
    held_out: int,
    left_out: dict[str, Any],
    stages: Stages,
) -> SurveyReport:
    divided, area = surveyed.divided, surveyed.regions.area_km2
    clusters_of_cell = np.bincount(divided.clusters.cell, minlength=len(area))
    counts = {
        "positions": len(divided.cell_of), "held_out": held_out,
        "cells": len(area), "clusters": len(divided.clusters),
        "fewest_clusters": int(clusters_of_cell.min()), "most_clusters": int(clusters_of_cell.max()),
    }  # fmt: skip
    areas = {"least": float(area.min()), "median": float(np.median(area)), "most": float(area.max())}
    timings = {step: round(seconds, 3) for step, seconds in stages.seconds.items()}
    return SurveyReport(folder, tuple(sorted(files)), counts, divided.fitted.chosen, floors, areas, left_out, timings)


def _choice_text(chosen: Mapping[str, Any]) -> str:
    setting = chosen["setting"]
    if not setting:
        return f"{chosen['n_positions']:,} positions were looked at"
    steep = "" if setting["xi"] is None else f", xi {setting['xi']:g}"
    scores = (
        ""
        if setting["silhouette"] is None
        else (
            f": silhouette {setting['silhouette']:.3f} ± {setting['silhouette_error']:.3f}, "
            f"Davies-Bouldin {setting['davies_bouldin']:.3f}"
        )
    )
    repaired = f", {setting['n_clusters']:,} brought into the range" if chosen["repaired"] else ""
    return (
        f"chosen on {chosen['n_positions']:,} positions: min_samples {setting['min_samples']}{steep}{scores}; wanted "
        f"{chosen['min_cells']:,} to {chosen['max_cells']:,} cells{repaired}"
    )


def _floor_text(name: str, floor: Metrics) -> str:
    shares = "".join(f"{floor.accuracy[radius]:>11.1f}" for radius in FLOOR_RADII_KM)
    return f"{name:<30}{floor.median_km:>11,.1f}{floor.mean_km:>11,.1f}{shares}"
