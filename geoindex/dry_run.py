"""What a build would take, said before it starts: counts, encoder, disk and memory. Nothing is written."""

from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geoindex.assembly.learning import MAX_IMAGES, learns_of
from geoindex.assembly.sizes import (
    Extent,
    GroupCounts,
    feature_dim,
    kept_bytes,
    needed_bytes,
    part_bytes,
    working_bytes,
)
from geoindex.encoder.defaults import AUTO, PRETRAINED
from geoindex.encoder.device import BATCH_SIZE
from geoindex.pipeline import default_folder, read_samples, resolve_recipe
from geoindex.recipe import Recipe
from geoindex.sources import Source, open_source
from geoindex.sources.source import EmbeddedSource, LeftOut
from geoindex.store.address import cache_of, place_of
from geoindex.store.space import free_bytes, size_text

if TYPE_CHECKING:
    from geoindex.encoder import Encoder

MIB = 2**20

LIBRARIES_BYTES, TORCH_BYTES = 620 * MIB, 650 * MIB
"""Memory of a process with nothing of ours in it: Arrow, Lance, FAISS and SciPy; and torch with what a fit keeps."""

IMAGE_BYTES, GROUP_BYTES = 200, 40
"""Memory of an image's facts while it is divided, and of each number of the embedding of a cell or cluster, without
what is mapped; fitted to builds of one and of five million planted images of 768 numbers."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a build would take. Sizes are estimates, in bytes.

    Attributes:
        path: where the index would be, a folder or a URL; what is free is told of the disk it is built on.
        source: URI of the samples.
        encoder: spec, and whether the index would keep it; spec is empty where the source has features.
        feature_dim: length of a feature vector.
        counts: images, gallery, val, test, and about how many cells and clusters.
        most: cells and clusters at the most.
        left_out: samples that would not be taken, by reason.
        bytes: size of the index by part.
        work_bytes: what is written and removed again.
        needed_bytes: room for all of it with the most cells and clusters; a build with less refuses to start.
        free_bytes: room on the disk.
        memory_bytes: most memory of the process.
    """

    path: Path | str
    source: str
    encoder: dict[str, Any]
    feature_dim: int
    counts: dict[str, int]
    most: dict[str, int]
    left_out: dict[str, Any]
    bytes: dict[str, int]
    work_bytes: int
    needed_bytes: int
    free_bytes: int
    memory_bytes: int

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as plain JSON types."""
        return {"schema": 1, **asdict(self), "path": str(self.path)}

    def to_text(self) -> str:
        """Return the plan as lines for people."""
        counts, most = self.counts, self.most
        parts = ", ".join(f"{part} {size_text(size)}" for part, size in self.bytes.items())
        verdict = "enough" if self.free_bytes >= self.needed_bytes else "too little: the build would refuse to start"
        rows = {
            "plan": f"{self.path}; nothing was written",
            "source": self.source,
            "left out": ", ".join(f"{each['count']} {reason}" for reason, each in self.left_out.items()) or "nothing",
            "images": f"{counts['gallery']:,} in the gallery, {counts['val']:,} val, {counts['test']:,} test",
            "encoder": f"{self.encoder['spec'] or 'none'}, features of {self.feature_dim}",
            "divided": f"about {counts['cells']:,} cells and {counts['clusters']:,} clusters, "
            f"at the most {most['cells']:,} and {most['clusters']:,}",
            "on disk": f"about {size_text(sum(self.bytes.values()))}: {parts}",
            "meanwhile": f"about {size_text(self.work_bytes)} more, until it is published",
            "room": f"{size_text(self.needed_bytes)} at the most, {size_text(self.free_bytes)} free, {verdict}",
            "memory": f"about {size_text(self.memory_bytes)}",
        }
        return "\n".join(f"{name:<12} {text}" for name, text in rows.items())


@dataclass(frozen=True, slots=True)
class Listed:
    """What is known of a build when its source is listed and its encoder named.

    Attributes:
        recipe: of the build.
        uri: of the source.
        encoder: without its weights; None where the source has features.
        extent: how much the index is to hold.
        split: of each sample, (N,).
        left_out: samples that would not be taken.
    """

    recipe: Recipe
    uri: str
    encoder: "Encoder | None"
    extent: Extent
    split: NDArray[np.str_]
    left_out: LeftOut

    @classmethod
    def of(cls, source: str | PathLike[str] | Recipe, keys: dict[str, Any]) -> "Listed":
        """List a source; no image is read.

        Raises:
            GeoindexError: if the recipe, the source or the encoder's name is not valid.
        """
        recipe = resolve_recipe(source, keys)
        opened = open_source(recipe.source, columns=recipe.columns)
        samples, split, left_out = read_samples(opened, recipe)
        encoder = _outline(opened, recipe)
        extent = Extent.of(samples, split, feature_dim(opened, encoder))
        return cls(recipe, opened.uri, encoder, extent, split, left_out)


def plan_build(source: str | PathLike[str] | Recipe, out: str | PathLike[str] | None = None, **keys: Any) -> Plan:
    """Say what `build_index` with the same arguments would take. The source is listed, no image is read.

    Args:
        source: a source, a recipe file (.toml), or a recipe.
        out: folder of the index; None: as in `build_index`.
        keys: keys of the recipe that override it.

    Raises:
        GeoindexError: if the recipe, the source or the encoder's name is not valid.
    """
    listed = Listed.of(source, keys)
    recipe, encoder, extent, split = listed.recipe, listed.encoder, listed.extent, listed.split
    groups, most = GroupCounts.expected(extent.gallery, recipe), GroupCounts.most(extent.gallery, recipe)
    path = place_of(out or recipe.out or default_folder(source, recipe))
    splits = {name: int(np.sum(split == part)) for name, part in (("val", "val"), ("test", "test"))}
    return Plan(
        path=path, source=listed.uri,
        encoder={"spec": encoder.spec if encoder else "", "kept": kept_bytes(encoder, recipe) > 0},
        feature_dim=extent.feature_dim,
        counts={"images": extent.images, "gallery": extent.gallery, **splits, **asdict(groups)},
        most=asdict(most), left_out=listed.left_out.to_dict(),
        bytes=part_bytes(extent, groups, recipe) | {"encoder": kept_bytes(encoder, recipe)},
        work_bytes=working_bytes(extent, encoder, recipe),
        needed_bytes=needed_bytes(extent, encoder, recipe),
        free_bytes=free_bytes(path if isinstance(path, Path) else cache_of(path)),
        memory_bytes=memory_bytes(extent, groups, encoder, recipe, splits["val"]),
    )  # fmt: skip


def _outline(source: Source, recipe: Recipe) -> "Encoder | None":
    """Make the encoder without its weights; for auto, take for granted that the pretrained ones can be had."""
    if isinstance(source, EmbeddedSource):
        return None
    from geoindex.encoder.loading import outline_encoder

    spec = PRETRAINED if recipe.encoder == AUTO else recipe.encoder
    return outline_encoder(spec, recipe.encoding, weights=recipe.weights)


def memory_bytes(extent: Extent, groups: GroupCounts, encoder: "Encoder | None", recipe: Recipe, val: int) -> int:
    """Return the most memory that a build takes, in bytes, roughly."""
    learns = learns_of(extent.gallery, val, recipe)
    dim = extent.feature_dim
    rows = groups.cells + groups.clusters
    memory = LIBRARIES_BYTES + extent.images * IMAGE_BYTES + GROUP_BYTES * rows * dim
    if learns or encoder is not None:
        memory += TORCH_BYTES
    if learns:
        # the images' features as they are stored and, in turns, as numbers to compute with
        memory += 6 * min(extent.gallery, MAX_IMAGES) * dim
    if encoder is not None:
        pixels = 3 * encoder.image_size**2
        memory += 3 * encoder.weight_bytes + 64 * (recipe.encoding.batch_size or BATCH_SIZE) * pixels
    return memory
