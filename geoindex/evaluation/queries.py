"""Queries with known positions: an index's own images of a split, or the images of another source."""

import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geoindex.embed import embed_samples
from geoindex.errors import ConfigError, EmptyDatasetError, ModelMismatchError
from geoindex.evaluation.crops import EmbeddedViews, embed_crops, views_of
from geoindex.index import GeoIndex
from geoindex.sources import open_source
from geoindex.sources.source import EmbeddedSource, Source, broken_of, scan_images
from geoindex.store.generations import IndexFolder
from geoindex.store.images import stored_images
from geoindex.types import Samples

SPLITS = ("train", "val", "test")
LEAK_LABELS = {"author": "same author", "sequence": "same sequence", "content": "same file"}
"""What may tell that a query and a photo of the gallery belong together, and what it says."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Queries:
    """Queries with known positions.

    Attributes:
        name: where they come from.
        ids: of the images, (Q,).
        lat, lon: true positions in degrees, (Q,).
        embeddings: unit vectors, (Q, D).
        unreadable: images that are missing or could not be read, and rows without a position.
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
        ConfigError: if there is no such split.
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
    known = {name: images.label(name) for name in LEAK_LABELS}
    labels = {name: [values[row] for row in rows.tolist()] for name, values in known.items()}
    lat, lon, names = images.lat[rows], images.lon[rows], images.facts["image"].take(rows).to_pylist()
    return Queries(f"split {split}", ids, lat, lon, vectors[order], labels=labels, images=names)


def queries_from(index: GeoIndex, uri: str, columns: dict[str, str], crops: str = "centre") -> Queries:
    """Embed another source's images as queries.

    Raises:
        ModelMismatchError: if the source has features of another encoder.
        GeoindexError: if the source cannot be used.
    """
    return embedded_queries(index, open_source(uri, columns=columns), crops)


def embedded_queries(index: GeoIndex, source: Source, crops: str = "centre") -> Queries:
    """Embed the images of a source that is open as queries.

    Args:
        index: which is asked.
        source: of the images; features that come ready are taken as they are.
        crops: how often a photo is looked at: one of `geoindex.evaluation.crops.CROPS`.

    Raises:
        ConfigError: if there are no such crops, or no images to crop.
        ModelMismatchError: if the source has features of another encoder.
        GeoindexError: if the source cannot be used.
    """
    views_of(crops)
    scan = scan_images(source)
    if isinstance(source, EmbeddedSource):
        _check_features(index, source, crops)
    whole = crops == "centre" or isinstance(source, EmbeddedSource)
    embedded = (_embed_whole if whole else _embed_crops)(index, source, scan.samples, crops)
    kept = scan.samples.take(embedded.rows)
    labels = {name: kept.label(name) for name in ("author", "sequence")}
    labels["content"] = [content or None for content in embedded.content]
    unreadable = broken_of(scan.left_out.to_dict()) + embedded.left_out.total
    return Queries(source.uri, kept.ids, kept.lat, kept.lon, embedded.vectors, unreadable, labels, kept.images)


def _check_features(index: GeoIndex, source: EmbeddedSource, crops: str) -> None:
    if crops != "centre":
        raise ConfigError(f"'{source.uri}' has ready features and no images to crop; leave --crops out.")
    if source.fingerprint != index.manifest.encoder["fingerprint"]:
        raise ModelMismatchError(
            f"The features of '{source.uri}' are not of the kind that '{index.path}' was built from; "
            "name a source with the same options as the index's own."
        )


def _embed_whole(index: GeoIndex, source: Source, samples: Samples, crops: str) -> EmbeddedViews:
    """Embed every photo as the index's own are."""
    encoder = None if isinstance(source, EmbeddedSource) else index.encoder
    with tempfile.TemporaryDirectory() as folder:
        embedded = embed_samples(source, samples, encoder, Path(folder))
        features = np.concatenate(list(embedded.features())).astype(np.float32)
    vectors = index.projection.apply(features)
    return EmbeddedViews(embedded.rows, vectors, embedded.content.tolist(), embedded.left_out)


def _embed_crops(index: GeoIndex, source: Source, samples: Samples, crops: str) -> EmbeddedViews:
    return embed_crops(source, samples, index.encoder, index.projection, crops)
