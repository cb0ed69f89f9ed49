"""Queries with known positions: an index's own images of a split, or the images of another source."""

import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geoindex.embed import embed_samples
from geoindex.errors import ConfigError, EmptyDatasetError, ModelMismatchError
from geoindex.index import GeoIndex
from geoindex.sources import open_source
from geoindex.sources.source import EmbeddedSource, Source
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
        labels: what is known of each, (Q,) by name: author, sequence, and content, the hash of its file.
        images: what their source calls the image of each, (Q,); empty where that is not known.
    """

    name: str
    ids: list[str]
    lat: Floats
    lon: Floats
    embeddings: NDArray[np.float32]
    unreadable: int = 0
    labels: dict[str, list[str | None]] = field(default_factory=dict)
    images: list[str] = field(default_factory=list)


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
    known = {name: images.label(name) for name in ("author", "sequence", "content")}
    labels = {name: [values[row] for row in rows.tolist()] for name, values in known.items()}
    lat, lon, names = images.lat[rows], images.lon[rows], images.facts["image"].take(rows).to_pylist()
    return Queries(f"split {split}", ids, lat, lon, vectors[order], labels=labels, images=names)


def queries_from(index: GeoIndex, uri: str, columns: dict[str, str]) -> Queries:
    """Embed another source's images as queries.

    Raises:
        ModelMismatchError: if the source has features of another encoder.
        GeoindexError: if the source cannot be used.
    """
    return embedded_queries(index, open_source(uri, columns=columns))


def embedded_queries(index: GeoIndex, source: Source) -> Queries:
    """Embed the images of a source that is open as queries.

    Raises:
        ModelMismatchError: if the source has features of another encoder.
        GeoindexError: if the source cannot be used.
    """
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
    labels = {name: kept.label(name) for name in ("author", "sequence")}
    labels["content"] = [content or None for content in embedded.content.tolist()]
    vectors = index.projection.apply(features)
    left_out = embedded.left_out.total
    return Queries(source.uri, kept.ids, kept.lat, kept.lon, vectors, left_out, labels, kept.images)
