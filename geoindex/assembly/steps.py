"""The steps from a version of the images table to a published generation.

The same steps serve a first build and every rebuild; none of them looks at a pixel.
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from geoindex.assembly.division import Division, divide
from geoindex.assembly.gallery import describe, fit_projection, group_tables, write_gallery, write_sidecar
from geoindex.assembly.learning import MAX_VALIDATION, learn
from geoindex.assembly.resumption import Resumption
from geoindex.assembly.verification import record_canaries, verify_generation
from geoindex.distributed.executor import HERE, Executor
from geoindex.encoder.projection import Projection
from geoindex.progress import Stages
from geoindex.prototypes import Groups
from geoindex.recipe import Recipe
from geoindex.recipe_files import recipe_to_dict
from geoindex.search.fitting import Fitted, fit_posterior
from geoindex.search.imagery import OrderedImages
from geoindex.search.levels import Parts
from geoindex.search.posterior import Geography
from geoindex.search.searcher import Searcher
from geoindex.search.validation import Validation
from geoindex.splits import tile_of
from geoindex.store.durable import storage_errors
from geoindex.store.finished import FinishedSteps
from geoindex.store.gallery import firsts
from geoindex.store.generations import Generation, IndexFolder
from geoindex.store.images import StoredImages, stored_images
from geoindex.store.manifest import Manifest
from geoindex.store.sealing import seal
from geoindex.store.vouchers import write_vouchers
from geoindex.training.tuned import TunedHeads, read_heads
from geoindex.types import LABELS

if TYPE_CHECKING:
    from geoindex.training.features import Trained


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the images of a generation come from.

    Attributes:
        source: URI of the samples.
        encoder: spec, fingerprint, feature_dim, and whether the weights are kept in the index.
        left_out: samples that were not taken, by reason.
        parent: name of the generation that is replaced, or empty.
    """

    source: str
    encoder: dict[str, Any]
    left_out: dict[str, Any]
    parent: str = ""


def assemble(
    index: IndexFolder, recipe: Recipe, version: int, origin: Origin, stages: Stages, executor: Executor = HERE
) -> Generation:
    """Make the next generation from a version of the images table, verify it, and publish it.

    A run that is stopped leaves its finished steps behind, and the next one goes on after them.

    Raises:
        GeoindexError: if a step fails; the live generation is then as it was.
    """
    with storage_errors(index.root):
        name, folder = index.begin()
        try:
            draft = _draft(index, name, folder, recipe, version, origin, stages, executor)
            with stages("verify"):
                verify_generation(index.tables, draft)
            timings = stages.rounded()
            with stages("publish"):
                published = index.publish(replace(draft, manifest=replace(draft.manifest, timings_s=timings)))
        except BaseException:
            index.abandon(folder)
            raise
    FinishedSteps.of(index).clear()
    return published


def _draft(
    index: IndexFolder,
    name: str,
    folder: Path,
    recipe: Recipe,
    version: int,
    origin: Origin,
    stages: Stages,
    executor: Executor,
) -> Generation:
    with stages("read images"):
        images = stored_images(index, version)
    once = Resumption(FinishedSteps.of(index), images, recipe, origin.encoder["fingerprint"])
    with stages("geocells and clusters"):
        division = once.division(lambda: divide(images, recipe, executor.mapped))
    with stages("geo-embeddings"):
        projection = fit_projection(images, recipe, origin.encoder["feature_dim"])
    with stages("training"):
        heads = read_heads(index.encoder_folder(origin.encoder["fingerprint"]))
        start = projection
        trained = once.training(division, start, heads, lambda: learn(images, division, start, recipe, heads))
    with stages("geo-embeddings"):
        projection = trained.projection if trained else projection
        projection.save(folder / "projection.safetensors")
        embeddings = write_gallery(folder / "gallery.npy", images, division, projection)
        cells, clusters = describe(images, division, embeddings)
        if trained:
            cells, clusters = replace(cells, embedding=trained.cells), replace(clusters, embedding=trained.clusters)
    with stages("store"):
        versions = {"images": version, **_write_groups(index, folder, images, division, cells, clusters)}
    with stages("search index"):
        ann = executor.index(cells.embedding, clusters.embedding, division.clusters.cell)
        ann.save(folder / "index.faiss")
    with stages("validation"):
        validation = validation_set(images, division, projection, recipe)
        first = firsts(division.cluster_of, len(division.clusters))
        stored = OrderedImages(embeddings, images.lat[division.order], images.lon[division.order], first)
        parts = Parts(ann, _geography(cells, clusters, division), stored)
        fitted = fit_posterior(parts, validation, recipe.search)
    manifest = Manifest(
        generation=name, parent=origin.parent, created=datetime.now(UTC).isoformat(timespec="seconds"),
        recipe=recipe_to_dict(recipe), source=origin.source, encoder=origin.encoder, dim=projection.dim,
        counts=_counts(images, division), tables=versions, posterior=_posterior(fitted), rule=fitted.rule,
        geocells=division.fitted.to_dict(), canaries=[], left_out=origin.left_out, timings_s={},
        training=_training(trained, heads), durability=index.mode,
        calibration=None if fitted.calibration is None else fitted.calibration.to_dict(),
    )  # fmt: skip
    index.bury(folder)
    write_vouchers(index.tables, folder, versions)
    return _with_canaries(seal(folder, manifest), recipe.search.top_cells)


def _training(trained: "Trained | None", heads: TunedHeads | None) -> dict[str, Any] | None:
    """Describe the fits for the manifest."""
    if trained is None:
        return None
    fits = {"best_epoch": trained.best_epoch, "history": trained.history}
    tuning = heads and {"best_epoch": heads.best_epoch, "history": heads.history}
    return fits | {"finetuning": tuning} if tuning else fits


def _write_groups(
    index: IndexFolder, folder: Path, images: StoredImages, division: Division, cells: Groups, clusters: Groups
) -> dict[str, int]:
    """Write cells and clusters to Lance and the sidecar; return the versions of their tables."""
    cell_table, cluster_table = group_tables(division, cells, clusters)
    write_sidecar(folder, images, division, cell_table, cluster_table)
    return {
        "cells": index.tables.write("cells", cell_table.schema, cell_table.to_batches()),
        "clusters": index.tables.write("clusters", cluster_table.schema, cluster_table.to_batches()),
    }


def _geography(cells: Groups, clusters: Groups, division: Division) -> Geography:
    return Geography(
        cells.lat, cells.lon, cells.n_members, clusters.lat, clusters.lon, clusters.n_members, division.clusters.cell
    )


def validation_set(images: StoredImages, division: Division, projection: Projection, recipe: Recipe) -> Validation:
    """Return the validation split with its true cells and clusters, ordered by row."""
    rows, features = images.sampled_features("val", MAX_VALIDATION, len(projection.mean), recipe.seed)
    lat, lon = images.lat[rows], images.lon[rows]
    cell = division.cells_of(images, rows)
    cluster = division.clusters.assign(lat, lon, cell)
    group = _groups(images, rows, recipe)
    return Validation(lat, lon, cell, cluster, projection.apply(features.astype(np.float32)), group)


def _groups(images: StoredImages, rows: NDArray[np.int64], recipe: Recipe) -> NDArray[np.int64]:
    """Return the number of the author, sequence or block of each image, whichever the split kept together, (n,)."""
    names: ArrayLike = rows
    if recipe.split_by == "block":
        names = tile_of(images.lat[rows], images.lon[rows], recipe.block_km)
    elif recipe.split_by in LABELS:
        labels = images.label(recipe.split_by)
        names = [f"alone:{row}" if labels[row] is None else f"label:{labels[row]}" for row in rows.tolist()]
    return np.asarray(np.unique(names, return_inverse=True)[1], np.int64)


def _posterior(fitted: Fitted) -> dict[str, Any]:
    scales = fitted.scales
    numbers = {"cell_scale": scales.cell, "cluster_scale": scales.cluster, "prior": scales.prior}
    return numbers | fitted.posterior


def _counts(images: StoredImages, division: Division) -> dict[str, int]:
    splits = {name: len(images.rows(split)) for name, split in (("gallery", "train"), ("val", "val"), ("test", "test"))}
    groups = {"cells": len(division.partition), "clusters": len(division.clusters)}
    removed = int(images.removed.sum())
    return {"images": images.facts.num_rows - removed, "removed": removed, **splits, **groups}


def _with_canaries(generation: Generation, top_cells: int) -> Generation:
    canaries = record_canaries(Searcher.open(generation), top_cells)
    return replace(generation, manifest=replace(generation.manifest, canaries=canaries))
