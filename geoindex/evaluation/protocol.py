"""Queries with known positions -> a report: the index's own rules beside the floors, over the same embeddings."""

import tempfile
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geoindex.embed import embed_samples
from geoindex.errors import ConfigError, EmptyDatasetError, ModelMismatchError
from geoindex.estimate import RULES, estimate_point
from geoindex.evaluation.confidence import ConfidenceReport, Sureness
from geoindex.evaluation.report import Report, Row
from geoindex.evaluation.rivals import best_constant, nearest_image, random_pairing_km
from geoindex.geo import haversine_km
from geoindex.index import GeoIndex, open_index
from geoindex.metrics import measure
from geoindex.search.posterior import Breadth
from geoindex.sources import open_source
from geoindex.sources.source import EmbeddedSource
from geoindex.store.generations import IndexFolder
from geoindex.store.images import stored_images

SPLITS = ("train", "val", "test")

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Queries:
    """Queries with known positions.

    Attributes:
        name: where they come from.
        ids: of the images, (Q,).
        lat, lon: true positions in degrees, (Q,).
        embeddings: unit vectors, (Q, D).
        unreadable: images that could not be read.
    """

    name: str
    ids: list[str]
    lat: Floats
    lon: Floats
    embeddings: NDArray[np.float32]
    unreadable: int = 0


def evaluate(
    index: GeoIndex | str | PathLike[str], *, split: str = "test", source: str | None = None,
    columns: dict[str, str] | None = None, seed: int = 0,
) -> Report:  # fmt: skip
    """Measure an index on its own held-out split, or on another source.

    Args:
        index: an open index or its folder.
        split: val or test (train tells how well it remembers); ignored with a source.
        source: where other queries come from; their positions are used for measuring alone.
        columns: columns of a table by meaning.
        seed: of the random floors.

    Raises:
        EmptyDatasetError: if there are no queries.
        GeoindexError: if the index or the source cannot be used.
    """
    if seed < 0:
        raise ConfigError(f"Seed {seed} cannot be used; it must be 0 or more.")
    opened = index if isinstance(index, GeoIndex) else open_index(index)
    queries = queries_from(opened, source, columns or {}) if source else split_queries(opened, split)
    return _report(opened, queries, seed)


def split_queries(index: GeoIndex, split: str) -> Queries:
    """Return an index's own images of a split as queries.

    Raises:
        EmptyDatasetError: if there are none.
    """
    if split not in SPLITS:
        raise ConfigError(f"No split '{split}'; choose one of {', '.join(SPLITS)}.")
    images = stored_images(IndexFolder(index.path), index.manifest.tables["images"])
    parts = [(rows, index.projection.apply(f.astype(np.float32))) for rows, f in images.features(split)]
    if not sum(len(rows) for rows, _ in parts):
        raise EmptyDatasetError(
            f"The index at '{index.path}' has no images in its {split} split; "
            "build it with --split-by ratio, author, ..., or name other queries with --source."
        )
    rows, vectors = np.concatenate([r for r, _ in parts]), np.concatenate([v for _, v in parts])
    order = np.argsort(rows)
    rows = rows[order]
    ids = images.facts["id"].take(rows).to_pylist()
    return Queries(f"split {split}", ids, images.lat[rows], images.lon[rows], vectors[order])


def queries_from(index: GeoIndex, uri: str, columns: dict[str, str]) -> Queries:
    """Embed another source's images as queries.

    Raises:
        ModelMismatchError: if the source has features of another encoder.
        GeoindexError: if the source cannot be used.
    """
    source = open_source(uri, columns=columns)
    encoder = None if isinstance(source, EmbeddedSource) else index.encoder
    if isinstance(source, EmbeddedSource) and source.fingerprint != index.manifest.encoder["fingerprint"]:
        raise ModelMismatchError(
            f"The features of '{source.uri}' are not of the kind that '{index.path}' was built from; "
            "name a source with the same options as the index's own."
        )
    samples = source.scan().samples
    with tempfile.TemporaryDirectory() as folder:
        embedded = embed_samples(source, samples, encoder, Path(folder))
        features = np.concatenate(list(embedded.features())).astype(np.float32)
    kept = samples.take(embedded.rows)
    vectors = index.projection.apply(features)
    return Queries(source.uri, kept.ids, kept.lat, kept.lon, vectors, embedded.left_out.total)


def floor_errors(index: GeoIndex, queries: Queries, seed: int) -> dict[str, Floats]:
    """Return how far off those answers are that need less than the index does, in km, by name.

    Random pairing is drawn several times, (10 Q,); the best constant point and 1-NN are (Q,).
    """
    gallery = index.searcher.sidecar.gallery
    lat, lon = gallery.positions()
    constant = best_constant(lat, lon, seed)
    nearest = nearest_image(queries.embeddings, gallery.live_embeddings())
    return {
        "random pairing": random_pairing_km(queries.lat, queries.lon, lat, lon, seed),
        f"best constant ({constant[0]:.1f}, {constant[1]:.1f})": haversine_km(*constant, queries.lat, queries.lon),
        "1-NN, same embeddings": haversine_km(lat[nearest], lon[nearest], queries.lat, queries.lon),
    }


def _report(index: GeoIndex, queries: Queries, seed: int) -> Report:
    gallery = index.searcher.sidecar.gallery
    own = str(index.manifest.rule["name"])
    floors = floor_errors(index, queries, seed)
    rows = [Row(name, measure(distance_km), "floor") for name, distance_km in floors.items()]
    for rule, distance_km in rule_errors(index, queries).items():
        rows.append(Row(f"geoindex, {rule}", measure(distance_km), "own" if rule == own else "other rule"))
    return Report(
        index=str(index.path), generation=index.manifest.generation, encoder=index.manifest.encoder["spec"],
        queries=queries.name, count=len(queries.lat), unreadable=queries.unreadable,
        gallery=index.manifest.counts["gallery"], cells=index.searcher.ann.n_cells,
        clusters=index.searcher.ann.n_clusters, rule=own,
        in_gallery=len(gallery.find(frozenset(queries.ids))), rows=tuple(rows),
        confidence=confidence_report(index, queries, seed),
    )  # fmt: skip


def confidence_report(index: GeoIndex, queries: Queries, seed: int) -> ConfidenceReport | None:
    """Compare how sure the answers are with how far off they are; None if the index was never calibrated."""
    sureness = sureness_of(index, queries, seed)
    return None if sureness is None else ConfidenceReport.measure(sureness)


def sureness_of(index: GeoIndex, queries: Queries, seed: int) -> Sureness | None:
    """Return how sure the answers are, and how far off; None if the index was never calibrated."""
    calibration = index.searcher.calibration
    if calibration is None:
        return None
    rankings = index.searcher.rank(queries.embeddings, Breadth(int(index.manifest.recipe["search"]["top_cells"])))
    lat, lon = index.searcher.sidecar.gallery.positions()
    constant_km = haversine_km(*best_constant(lat, lon, seed), lat, lon)
    posteriors = [index.searcher.posterior(*each) for each in zip(rankings, queries.embeddings, strict=True)]
    return Sureness.of(calibration, posteriors, queries.lat, queries.lon, constant_km)


def rule_errors(index: GeoIndex, queries: Queries) -> dict[str, Floats]:
    """Return the error of every rule of estimation, (Q,) km each, from one search."""
    top_cells = int(index.manifest.recipe["search"]["top_cells"])
    rankings = index.searcher.rank(queries.embeddings, Breadth(top_cells))

    posteriors = [index.searcher.posterior(*each) for each in zip(rankings, queries.embeddings, strict=True)]

    def error_km(rule: str) -> Floats:
        points = np.array([estimate_point(posterior, rule) for posterior in posteriors])
        return haversine_km(points[:, 0], points[:, 1], queries.lat, queries.lon)

    return {rule: error_km(rule) for rule in RULES}
