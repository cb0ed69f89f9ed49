"""From a source of samples to a published index: the steps in order.

source -> embed -> images table -> cells and clusters -> geo-embeddings -> search index -> publish.
Everything before the last step happens beside the live index; whatever stops it leaves that as it was.
"""

import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geoindex.assembly.finetuning import finetune, kept_pixels
from geoindex.assembly.report import BuildReport
from geoindex.assembly.rows import image_rows, store_images
from geoindex.assembly.sizes import Extent, feature_dim, require_room
from geoindex.assembly.steps import Origin, assemble
from geoindex.distributed.executor import LOCAL, Executor, executing
from geoindex.embed import embed_samples
from geoindex.errors import ConfigError, EmptyDatasetError, IndexDamagedError, IndexNotFoundError
from geoindex.progress import Stages
from geoindex.recipe import Recipe
from geoindex.recipe_files import load_recipe, recipe_from_dict, recipe_to_dict
from geoindex.remote.staging import staging
from geoindex.sampling import sample_rows
from geoindex.sources import Source, open_source
from geoindex.sources.source import EmbeddedSource, LeftOut, scan_images
from geoindex.splits import split_samples
from geoindex.store.address import path_text, url_of
from geoindex.store.finished import digest_of, table_digest
from geoindex.store.generations import IndexFolder
from geoindex.store.tombstones import REMOVED
from geoindex.training.tuned import read_heads
from geoindex.types import Samples

if TYPE_CHECKING:
    from geoindex.encoder import Encoder

log = logging.getLogger(__name__)


def build_index(
    source: str | PathLike[str] | Recipe,
    *,
    out: str | PathLike[str] | None = None,
    executor: str = LOCAL,
    **keys: Any,
) -> BuildReport:
    """Build an index from geotagged images, or bring an existing one to a new generation.

    Args:
        source: a source (see `Recipe.source`), a recipe file (.toml), or a recipe.
        out: folder of the index, or a URL such as s3://BUCKET/PREFIX, where it is published when it is built (the
            folder of the build is in the cache); None: the recipe's, else indexes/ and the source's name.
        executor: where the heavy steps run: local, ray (a cluster that is up, else this machine), or ray:ADDRESS.
        keys: keys of the recipe that override it, such as `encoder=...` or `geocells={"min_cells": 100}`.

    Returns:
        What was built; open it with `geoindex.open_index(report.path)`.

    Raises:
        GeoindexError: if anything fails; a live index at `out` is then as it was.
    """
    recipe = resolve_recipe(source, keys)
    # before the folder is touched: a wrong path leaves nothing behind
    opened = open_source(recipe.source, columns=recipe.columns)
    place = out or recipe.out or default_folder(source, recipe)
    if url := url_of(place):
        return _build_remote(opened, recipe, url, executor)
    return build_from(opened, recipe, Path(place), executor=executor)


def build_from(
    opened: Source, recipe: Recipe, out: Path, kept: Path | None = None, executor: str = LOCAL
) -> BuildReport:
    """Build an index from a source that is open.

    Args:
        opened: the source; that of the recipe is not looked at.
        recipe: all else.
        out: folder of the index.
        kept: folder of the images that a fit has prepared, which several builds can share; None: the index's own.
        executor: where the heavy steps run, as for `build_index`.

    Raises:
        GeoindexError: as `build_index`.
    """
    index, scanned = IndexFolder(out, recipe.durability), _Scanned.of(opened, recipe)
    with _built(index, opened, recipe, scanned, executor, kept) as report:
        return report


def _build_remote(opened: Source, recipe: Recipe, url: str, executor: str) -> BuildReport:
    """Build in the cache and publish; or only publish, if that is what was left to do."""
    with staging(url) as stage:
        scanned = _Scanned.of(opened, recipe)
        key = scanned.key(opened, recipe)
        unpublished = stage.unpublished(key)
        if unpublished is not None:
            stage.publish(key)
            shutil.rmtree(IndexFolder(stage.folder).work, ignore_errors=True)
            left_out = unpublished.manifest.left_out
            report = BuildReport.of(IndexFolder(stage.folder), unpublished, left_out, scanned.stages)
        else:
            stage.catch_up()
            # features stay until it is published: if somebody else was faster, the next run takes them
            index = IndexFolder(stage.folder, recipe.durability)
            with _built(index, opened, recipe, scanned, executor) as report:
                stage.publish(key)
    return replace(report, path=url)


@dataclass(slots=True)
class _Scanned:
    """What a source holds for a recipe.

    Attributes:
        samples: those that are taken; empty once they are handed over.
        split: of each, (N,).
        left_out: the others.
        stages: times of the build so far.
    """

    samples: Samples
    split: NDArray[np.str_]
    left_out: LeftOut
    stages: Stages

    @classmethod
    def of(cls, opened: Source, recipe: Recipe) -> "_Scanned":
        stages = Stages()
        with stages("scan"):
            return cls(*read_samples(opened, recipe), stages)

    def key(self, opened: Source, recipe: Recipe) -> str:
        """Return what changes with anything that the index would be built from."""
        return digest_of(opened.uri, recipe_to_dict(recipe), table_digest(self.samples.table))

    def hand_over(self) -> tuple[Samples, NDArray[np.str_]]:
        """Return samples and splits and forget them: millions take memory, and only the first steps need them."""
        samples, split = self.samples, self.split
        self.samples, self.split = samples.take(np.zeros(0, np.int64)), split[:0]
        return samples, split


@contextmanager
def _built(
    index: IndexFolder, opened: Source, recipe: Recipe, scanned: _Scanned, executor: str, kept: Path | None = None
) -> Iterator[BuildReport]:
    """Build an index and report on it; what the build could go on from is removed when the report has been used."""
    stages = scanned.stages
    encoder = _encoder_for(opened, recipe)
    extent = Extent.of(scanned.samples, scanned.split, feature_dim(opened, encoder))
    require_room(index, extent, encoder, recipe)
    with index.writing(), executing(executor, stages) as heavy:
        parent = _parent(index)
        version, entry = _store(index, opened, recipe, scanned, encoder, heavy, kept)
        origin = Origin(opened.uri, entry, scanned.left_out.to_dict(), parent)
        generation = assemble(index, recipe, version, origin, stages, heavy)
        yield BuildReport.of(index, generation, generation.manifest.left_out, stages)
        shutil.rmtree(index.work, ignore_errors=True)


def _store(
    index: IndexFolder, opened: Source, recipe: Recipe, scanned: _Scanned, encoder: "Encoder | None", heavy: Executor,
    kept: Path | None,
) -> tuple[int, dict[str, Any]]:  # fmt: skip
    """Embed the samples and store them; return the version of the images table, and the manifest's encoder."""
    stages, left_out = scanned.stages, scanned.left_out
    samples, split = _without_removed(index, *scanned.hand_over(), left_out)
    tuned = None
    if recipe.training.method == "images" and read_heads(recipe.encoder) is None:
        folder = (index.work / "finetuning").absolute()
        kept = kept or folder
        with stages("fine-tuning"):
            fit = partial(finetune, opened, samples, split, recipe=recipe, folder=folder, kept=kept)
            tuned = heavy.joined(fit, encoder, folder, recipe.training.epochs)
        encoder = _load_tuned(tuned, recipe)
    with stages("embed"):
        pixels = kept_pixels(opened, samples, encoder, kept) if kept and encoder else opened
        embedded = embed_samples(pixels, samples, encoder, index.work, heavy.make)
    with stages("store"):
        rows = image_rows(samples.take(embedded.rows), split[embedded.rows], embedded.content)
        version = store_images(index, rows, embedded, heavy.store)
        entry = _encoder_entry(opened, encoder, index, tuned or recipe.encoder)
        if tuned:
            entry["spec"] = f"{recipe.encoder}, fine-tuned"
    left_out.absorb(embedded.left_out)
    return version, entry


def resolve_recipe(source: str | PathLike[str] | Recipe, keys: dict[str, Any]) -> Recipe:
    """Return the recipe that a source, a recipe file or a recipe stands for, with `keys` on top.

    Raises:
        ConfigError: if a key is none that a recipe has, or no source is named.
    """
    text = "" if isinstance(source, Recipe) else path_text(source, "The source")
    if isinstance(source, Recipe):
        recipe = source
    elif text.endswith(".toml"):
        recipe = load_recipe(text)
    else:
        recipe = Recipe(source=text)
    recipe = merge_recipe(recipe, keys)
    if not recipe.source:
        raise ConfigError(
            "The recipe names no source; give a folder of photos, a table, or a URI such as synthetic:1000."
        )
    return recipe


def merge_recipe(recipe: Recipe, keys: dict[str, Any]) -> Recipe:
    """Return a recipe with some of its keys replaced, and of its sections those keys that are named.

    Raises:
        ConfigError: if a key or value is none that a recipe has.
    """
    if not keys:
        return recipe
    values = recipe_to_dict(recipe)
    for key, value in keys.items():
        values[key] = {**values.get(key, {}), **value} if isinstance(value, dict) else value
    return recipe_from_dict(values)


def default_folder(source: str | PathLike[str] | Recipe, recipe: Recipe) -> Path:
    """Return where an index lands if nobody says: beside its recipe file, else below indexes/."""
    if not isinstance(source, Recipe) and str(source).endswith(".toml"):
        return Path(source).with_suffix("")
    scheme, _, rest = recipe.source.rpartition(":")
    path = Path(rest.partition("?")[0])
    name = path.parent.name if path.stem == "metadata" else path.stem
    return Path("indexes") / (name if path.exists() else f"{scheme}-{name}".strip("-"))


def _parent(index: IndexFolder) -> str:
    """Return the generation that a build replaces; a damaged one is no parent, but building is its cure."""
    try:
        return index.current().manifest.generation
    except IndexNotFoundError:
        return ""
    except IndexDamagedError as error:
        log.warning("%s This build makes a new generation.", error)
        return ""


def read_samples(source: Source, recipe: Recipe) -> tuple[Samples, NDArray[np.str_], LeftOut]:
    """Return the samples that a recipe takes of a source, the split of each, (N,), and what was left out."""
    scan = scan_images(source)
    samples = scan.samples
    if recipe.sample is not None:
        rows = sample_rows(samples.lat, samples.lon, recipe.sample, balance=recipe.balance, seed=recipe.seed)
        samples = samples.take(rows)
    log.info("%s: %d samples, %d left out", source.uri, len(samples), scan.left_out.total)
    split = split_samples(
        samples, by=recipe.split_by, ratio=recipe.split_ratio, block_km=recipe.block_km, seed=recipe.seed
    )
    return samples, split, scan.left_out


def _without_removed(
    index: IndexFolder, samples: Samples, split: NDArray[np.str_], left_out: LeftOut
) -> tuple[Samples, NDArray[np.str_]]:
    """Leave out the photos that were once removed from this index."""
    removed = index.tombstones().cover(samples.table["id"])
    for row in np.flatnonzero(removed).tolist():
        left_out.add(REMOVED, samples[row].id, broken=False)
    kept = np.flatnonzero(~removed)
    if len(kept) == 0:
        raise EmptyDatasetError(
            f"All {len(samples)} samples were removed from '{index.root}' for good; build into another folder."
        )
    return samples.take(kept), split[kept]


def _encoder_for(source: Source, recipe: Recipe) -> "Encoder | None":
    if isinstance(source, EmbeddedSource):
        return None
    from geoindex.encoder import choose_encoder

    return choose_encoder(recipe.encoder, recipe.encoding, recipe.weights)


def _load_tuned(folder: Path, recipe: Recipe) -> "Encoder":
    from geoindex.encoder import load_encoder

    return load_encoder(str(folder), replace(recipe.encoding, image_size=None, mean=None, std=None))


def _encoder_entry(source: Source, encoder: "Encoder | None", index: IndexFolder, origin: str | Path) -> dict[str, Any]:
    if encoder is not None:
        return keep_encoder(index, encoder, origin)
    assert isinstance(source, EmbeddedSource)
    return {"spec": "", "fingerprint": source.fingerprint, "feature_dim": source.dim, "kept": False}


def keep_encoder(index: IndexFolder, encoder: "Encoder", origin: str | Path) -> dict[str, Any]:
    """Keep weights that no name stands for in the index, and their heads; describe the encoder for the manifest.

    Args:
        index: to keep them in.
        encoder: which made the features.
        origin: where it was loaded from.
    """
    from geoindex.encoder.encoder import CONFIG_FILE

    kept = not encoder.published
    if kept:
        folder = index.encoder_folder(encoder.fingerprint)
        if not (folder / CONFIG_FILE).exists():  # the folder alone may hold an export
            encoder.save(folder)
        heads = read_heads(origin)
        if heads is not None:
            heads.save(folder)
    return {
        "spec": encoder.spec, "fingerprint": encoder.fingerprint, "feature_dim": encoder.dim, "kept": kept,
    }  # fmt: skip
