"""Cells and clusters with planted geo-embeddings at real positions, of any size, as files that stay."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoindex.geo import group_means, to_unit
from geoindex.search.posterior import Geography
from geoindex.sources.planted import PlantedEmbeddings

DIM = 768
IMAGES = 5
"""Images that a cluster stands for: their noise is averaged in its geo-embedding."""

CHUNK = 16_384


@dataclass(frozen=True, slots=True)
class Levels:
    """Geo-embeddings of both levels.

    Attributes:
        cells: (C, D).
        clusters: ordered by cell, (M, D) float16, memory-mapped.
        geography: where they lie; a cluster holds `IMAGES` images.
    """

    cells: NDArray[np.float32]
    clusters: NDArray[np.float16]
    geography: Geography


@dataclass(frozen=True, slots=True)
class Queries:
    """Queries that are in no cluster.

    Attributes:
        embeddings: unit vectors, (Q, D).
        lat, lon: true positions in degrees, (Q,).
    """

    embeddings: NDArray[np.float32]
    lat: NDArray[np.float64]
    lon: NDArray[np.float64]


def planted_levels(folder: Path, positions: Path | None, cells: int, clusters: int) -> Levels:
    """Make levels, or read those that an earlier run left.

    Clusters lie at positions of the table, with jitter; cells are runs of a tree over them, split in halves.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stem = folder / f"levels-{cells}-{clusters}-{positions.stem if positions else 'places'}"
    vectors, facts = stem.with_suffix(".npy"), stem.with_suffix(".npz")
    if not facts.exists():
        _make(vectors, facts, PlantedEmbeddings(clusters, dim=DIM, positions=positions, noise=IMAGES**-0.5), cells)
    with np.load(facts) as stored:
        lat, lon, cell, means = (stored[name] for name in ("lat", "lon", "cell", "cells"))
    images = np.full(clusters, IMAGES)
    cell_lat, cell_lon = group_means(lat, lon, cell, cells)
    geography = Geography(cell_lat, cell_lon, np.bincount(cell) * IMAGES, lat, lon, images, cell)
    return Levels(means, np.load(vectors, mmap_mode="r"), geography)


def planted_queries(positions: Path | None, count: int, ambiguous: float, skip: int) -> Queries:
    """Return queries behind the first `skip` samples; an ambiguous one is half from a far place."""
    source = PlantedEmbeddings(skip + count, dim=DIM, positions=positions, noise=1.0, ambiguous=ambiguous)
    samples = source.scan().samples.take(np.arange(skip, skip + count))
    return Queries(_unit(source.features(samples)), samples.lat, samples.lon)


def _make(vectors: Path, facts: Path, source: PlantedEmbeddings, cells: int) -> None:
    samples = source.scan().samples
    order, cell = _runs(to_unit(samples.lat, samples.lon), cells)
    out = np.lib.format.open_memmap(vectors, mode="w+", dtype=np.float16, shape=(len(order), DIM))
    place = np.argsort(order)
    means = np.zeros((cells, DIM))
    for start in range(0, len(order), CHUNK):  # in the order of samples, which are made by blocks
        rows = place[start : start + CHUNK]
        features = _unit(source.features(samples.take(np.arange(start, min(start + CHUNK, len(order))))))
        out[rows] = features
        np.add.at(means, cell[rows], features)
    out.flush()
    lat, lon = samples.lat[order], samples.lon[order]
    np.savez(facts, lat=lat, lon=lon, cell=cell, cells=_unit(means).astype(np.float32))


def _runs(points: NDArray[np.float64], count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return an order of points and the run of each place in it: halves by the longest side, until there are enough."""
    runs = [np.arange(len(points))]
    while len(runs) < count:
        runs.sort(key=len)
        many = runs[-min(len(runs), count - len(runs)) :]
        runs = runs[: len(runs) - len(many)] + [half for run in many for half in _halves(points, run)]
    return np.concatenate(runs), np.repeat(np.arange(count), [len(run) for run in runs])


def _halves(points: NDArray[np.float64], run: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    axis = int(np.ptp(points[run], axis=0).argmax())
    return np.array_split(run[np.argsort(points[run, axis], kind="stable")], 2)


def _unit(vectors: NDArray[Any]) -> NDArray[Any]:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
