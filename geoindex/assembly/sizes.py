"""What an index will take on the disk, before it is made: sizes of its parts from the counts that go into it."""

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from geoindex.recipe import ClusterRecipe, Recipe
from geoindex.sources import Source
from geoindex.sources.source import EmbeddedSource
from geoindex.store.generations import IndexFolder
from geoindex.store.manifest import Manifest
from geoindex.store.space import MAKE_ROOM, require_space
from geoindex.training.tuned import read_heads
from geoindex.types import Samples

if TYPE_CHECKING:
    import pyarrow as pa

    from geoindex.encoder import Encoder

PACKED = 0.65
"""What Lance makes of numbers and text of the images table, by measurement; features do not get smaller."""

GALLERY_ROW, IMAGE_ROW, GROUP_ROW = 40, 24, 122
"""Bytes of a row without its text and vectors: of the gallery's file, the images table, and cells or clusters."""

OVERHEAD = 60_000
"""Manifests, checksums and the heads of files."""

TYPICAL_CELLS = 0.9
"""Cells in units of the square root of the gallery; measured 0.5 to 1.6 (planted positions, 1,000 to 100,000 images).
The clusters of a cell came to the middle of what its images allow."""


@dataclass(frozen=True, slots=True)
class Extent:
    """How much an index is to hold.

    Attributes:
        images: all of them.
        gallery: those of the train split.
        feature_dim: length of a stored feature vector.
        text_bytes: ids, locators and labels of all images.
        locator_bytes: ids and locators of all images.
    """

    images: int
    gallery: int
    feature_dim: int
    text_bytes: int
    locator_bytes: int

    @classmethod
    def of(cls, samples: Samples, split: NDArray[np.str_], feature_dim: int) -> "Extent":
        """Count samples whose splits are known, (N,)."""
        text = {f.name: _text_bytes(samples.table[f.name]) for f in samples.table.schema if f.type == "string"}
        locators = text["id"] + text["image"]
        return cls(len(samples), int((split == "train").sum()), feature_dim, sum(text.values()), locators)

    @classmethod
    def stored(cls, manifest: Manifest) -> "Extent":
        """Count the images of an index; their text is as long as that of its gallery."""
        images, gallery = manifest.counts["images"], manifest.counts["gallery"]
        file = manifest.files.get("gallery.arrow")
        text = max(0, (file.bytes if file else 0) - GALLERY_ROW * gallery) * images // max(1, gallery)
        return cls(images, gallery, int(manifest.encoder["feature_dim"]), text, text)


def _text_bytes(column: "pa.ChunkedArray") -> int:
    import pyarrow.compute as pc

    return int(pc.sum(pc.binary_length(column)).as_py() or 0)


@dataclass(frozen=True, slots=True)
class GroupCounts:
    """Numbers of cells and clusters, which are not known before they are made."""

    cells: int
    clusters: int

    @classmethod
    def most(cls, gallery: int, recipe: Recipe) -> "GroupCounts":
        """Return the most that a recipe allows; a label's borders and the grid's resolutions can go beyond."""
        wanted = recipe.geocells
        low = wanted.min_cells or max(1, round(0.5 * math.sqrt(gallery)))
        high = wanted.n_cells or wanted.max_cells or max(low, round(2.0 * math.sqrt(gallery)))
        cells = clusters = min(high, gallery)
        for fewest in _fewest(recipe.clusters):
            room = gallery // recipe.clusters.images_per_cluster + clusters * fewest
            clusters = min(gallery, clusters * recipe.clusters.max_clusters, room)
        return cls(cells, clusters)

    @classmethod
    def expected(cls, gallery: int, recipe: Recipe) -> "GroupCounts":
        """Return what a recipe usually makes."""
        wanted = recipe.geocells
        usual = max(wanted.min_cells or 1, round(TYPICAL_CELLS * math.sqrt(gallery)))
        cells = min(wanted.n_cells or min(usual, wanted.max_cells or usual), gallery)
        clusters: float = cells
        for fewest in _fewest(recipe.clusters):
            room = gallery / clusters / recipe.clusters.images_per_cluster
            clusters *= (fewest + max(fewest, min(recipe.clusters.max_clusters, room))) / 2
        return cls(cells, min(gallery, round(clusters)))


def _fewest(recipe: ClusterRecipe) -> list[int]:
    """Return the fewest clusters of a group at each level; only a cell must fall apart."""
    return [recipe.min_clusters] + [1] * (recipe.levels - 1)


def part_bytes(extent: Extent, groups: GroupCounts, recipe: Recipe) -> dict[str, int]:
    """Return the size of each part of an index but its encoder, in bytes."""
    dim = extent.feature_dim if recipe.encoding.projection == "none" else recipe.encoding.dim or extent.feature_dim
    rows = groups.cells + groups.clusters
    locators = extent.locator_bytes * extent.gallery // max(1, extent.images)
    packed = PACKED * (extent.images * IMAGE_ROW + extent.text_bytes)
    return {
        "images table": round(packed) + 2 * extent.images * extent.feature_dim,
        # a float32 geo-embedding and a float64 sum each
        "cells and clusters tables": rows * (12 * dim + GROUP_ROW),
        "gallery": 2 * extent.gallery * dim + extent.gallery * GALLERY_ROW + locators,
        "search index": rows * (4 * dim + 8),
        "facts of cells and clusters": rows * GROUP_ROW,
        "projection and manifests": 4 * extent.feature_dim * (dim + 1) + OVERHEAD,
    }


def work_bytes(extent: Extent, pixels: int, weights: int) -> int:
    """Return what a build keeps until it is published, in bytes.

    Args:
        extent: what is embedded, shard by shard.
        pixels: values of a prepared image that a fine-tuning keeps; 0 without one.
        weights: bytes of the encoder that it learns; 0 without one.
    """
    shards = extent.images * (2 * extent.feature_dim + 48)
    return shards + (_tuning_bytes(extent, pixels, weights) if weights else 0)


def _tuning_bytes(extent: Extent, pixels: int, weights: int) -> int:
    # first features, prepared images; the state of the fit, its best weights and the encoder that it exports
    return extent.images * (2 * extent.feature_dim + pixels) + 6 * weights


def step_bytes(extent: Extent, groups: GroupCounts, recipe: Recipe) -> int:
    """Return the size of the finished steps that a stopped run would go on from, in bytes."""
    dim = extent.feature_dim if recipe.encoding.projection == "none" else recipe.encoding.dim or extent.feature_dim
    # the clusters of the gallery's images; a projection and the geo-embeddings that are learned
    return 16 * extent.gallery + 4 * dim * (groups.cells + groups.clusters + extent.feature_dim) + OVERHEAD


def feature_dim(source: Source, encoder: "Encoder | None") -> int:
    """Return the length of the features of a source's images."""
    if encoder is not None:
        return encoder.dim
    assert isinstance(source, EmbeddedSource)
    return source.dim


def kept_bytes(encoder: "Encoder | None", recipe: Recipe) -> int:
    """Return the size of the encoder that an index keeps, in bytes."""
    if encoder is None or (encoder.published and not tunes(recipe)):
        return 0
    return encoder.weight_bytes


def tunes(recipe: Recipe) -> bool:
    """Tell whether a build fine-tunes its encoder first."""
    return recipe.training.method == "images" and read_heads(recipe.encoder) is None


def working_bytes(extent: Extent, encoder: "Encoder | None", recipe: Recipe) -> int:
    """Return what a build writes and removes again, in bytes."""
    steps = step_bytes(extent, GroupCounts.most(extent.gallery, recipe), recipe)
    if encoder is None or not tunes(recipe):
        return steps + work_bytes(extent, 0, 0)
    return steps + work_bytes(extent, _kept_pixels(extent, encoder, recipe), encoder.weight_bytes)


def _kept_pixels(extent: Extent, encoder: "Encoder", recipe: Recipe) -> int:
    """Return the values of a prepared image that a fine-tuning keeps; 0 if they are too many."""
    pixels = 3 * encoder.image_size**2
    return pixels if extent.images * pixels <= recipe.finetuning.cache_gib * 2**30 else 0


def needed_bytes(extent: Extent, encoder: "Encoder | None", recipe: Recipe) -> int:
    """Return what a build needs on the disk at the most, until it is published."""
    stored = part_bytes(extent, GroupCounts.most(extent.gallery, recipe), recipe)
    return sum(stored.values()) + kept_bytes(encoder, recipe) + working_bytes(extent, encoder, recipe)


def require_room(index: IndexFolder, extent: Extent, encoder: "Encoder | None", recipe: Recipe) -> None:
    """Refuse a build that does not fit on the disk; what a stopped one has left there is not written again.

    Raises:
        StorageError: if there is too little room.
    """
    spared = min(_left_bytes(index.work), working_bytes(extent, encoder, recipe))
    require_space(index.root, needed_bytes(extent, encoder, recipe) - spared)


def require_tuning_room(folder: Path, extent: Extent, encoder: "Encoder", recipe: Recipe) -> None:
    """Refuse a fine-tuning that does not fit on the disk; what a stopped one has left there is not written again.

    Args:
        folder: of the fit.
        extent: the images of all splits.
        encoder: to start from.
        recipe: its finetuning.

    Raises:
        StorageError: if there is too little room.
    """
    needed = _tuning_bytes(extent, _kept_pixels(extent, encoder, recipe), encoder.weight_bytes)
    require_space(folder, needed - min(_left_bytes(folder), needed))


def _left_bytes(folder: Path) -> int:
    """Return the room on the disk of what a stopped run has left in its folder."""
    return sum(_bytes_of(file) for file in folder.rglob("*") if file.is_file())


def _bytes_of(file: Path) -> int:
    """Return the room that a file takes, in which its holes have no part."""
    try:
        facts = file.stat()
    except FileNotFoundError:  # of a run that has not stopped
        return 0
    return min(facts.st_size, 512 * facts.st_blocks)


def require_rebuild_room(index: IndexFolder, live: Manifest, recipe: Recipe, encoder: "Encoder | None" = None) -> None:
    """Refuse a rebuild that does not fit on the disk.

    Args:
        index: to be rebuilt.
        live: manifest of its live generation.
        recipe: of the next one.
        encoder: another one that embeds the images again; None if they stay.

    Raises:
        StorageError: if there is too little room.
    """
    extent = Extent.stored(live)
    if encoder is not None:
        extent = replace(extent, feature_dim=encoder.dim)
    groups = GroupCounts.most(extent.gallery, recipe)
    parts = part_bytes(extent, groups, recipe)
    needed = sum(parts.values()) + step_bytes(extent, groups, recipe)
    if encoder is None:
        needed -= parts["images table"]
    else:
        shards = work_bytes(extent, 0, 0)
        needed += shards - min(shards, _left_bytes(index.work)) + (0 if encoder.published else encoder.weight_bytes)
    require_space(index.root, needed, MAKE_ROOM)
