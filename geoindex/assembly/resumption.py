"""The long steps of a build or rebuild, each done once: a stopped run goes on after the last one that it finished.

What a step depends on is in its key, so a result is taken only where the step would give it again, bit for bit.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from geoindex.assembly.division import Division, sample_labels
from geoindex.assembly.learning import learns
from geoindex.assembly.sites import level_arrays, read_levels
from geoindex.encoder.projection import Projection
from geoindex.geocells.borders import checked_label
from geoindex.geocells.fitting import FittedPartition, read_partition
from geoindex.recipe import Recipe
from geoindex.sources import open_source
from geoindex.store.finished import FinishedSteps, Result, digest_of
from geoindex.store.images import StoredImages
from geoindex.training.tuned import TunedHeads
from geoindex.version import VERSION

if TYPE_CHECKING:
    from geoindex.training.features import Trained

FORMAT = 1
"""Version of what is written; raised when a step gives something else of the same."""

DIVISION, TRAINING = "division", "training"


@dataclass(frozen=True, slots=True)
class Resumption:
    """What a run needs to know to go on.

    Attributes:
        finished: results of earlier runs.
        images: of the index.
        recipe: what is made of them.
        encoder: fingerprint of what made their features.
    """

    finished: FinishedSteps
    images: StoredImages
    recipe: Recipe
    encoder: str

    def division(self, make: Callable[[], Division]) -> Division:
        """Return the cells and clusters that an earlier run made, or make them.

        Raises:
            GeoindexError: as `make`.
        """
        key = self._division_key()
        found = self.finished.read(DIVISION, key)
        if found is not None:
            return _read_division(found, self.images, self.recipe)
        division = make()
        self.finished.write(DIVISION, key, _division_result(division))
        return division

    def training(
        self,
        division: Division,
        start: Projection,
        heads: TunedHeads | None,
        make: Callable[[], "Trained | None"],
    ) -> "Trained | None":
        """Return what an earlier run learned, or learn it; None for prototypes.

        Raises:
            GeoindexError: as `make`.
        """
        if not learns(self.images, self.recipe):
            return None
        key = self._training_key(division, start, heads)
        found = self.finished.read(TRAINING, key)
        if found is not None:
            return _read_training(found)
        trained = make()
        if trained is not None:
            self.finished.write(TRAINING, key, _training_result(trained))
        return trained

    def _division_key(self) -> str:
        """Cells and clusters depend on the positions of the gallery, and on labels whose borders they keep to."""
        recipe, images = self.recipe, self.images
        rows, within = images.rows("train"), recipe.geocells.within
        labels = images.label(checked_label(within)) if within else None
        cells = [asdict(recipe.geocells), *_other_positions(recipe)]
        positions = [rows, images.lat, images.lon, images.removed, labels]
        return digest_of(FORMAT, VERSION, *cells, asdict(recipe.clusters), recipe.seed, *positions)

    def _training_key(self, division: Division, start: Projection, heads: TunedHeads | None) -> str:
        """What is learned depends on all that the images table holds, and on the division."""
        recipe, images = self.recipe, self.images
        encoding = [recipe.encoding.projection, recipe.encoding.dim]
        data = [images.identity(), images.removed, self.encoder, start.fingerprint, *_head_parts(heads)]
        made = digest_of(np.frombuffer(_division_result(division).to_bytes(), np.uint8))
        return digest_of(FORMAT, VERSION, asdict(recipe.training), encoding, recipe.seed, made, *data)


def _other_positions(recipe: Recipe) -> list[Any]:
    """Return the positions that cells are made of where they have a source of their own."""
    if not recipe.geocells.source:
        return []
    samples, within = open_source(recipe.geocells.source).scan().samples, recipe.geocells.within
    return [samples.lat, samples.lon, samples.label(checked_label(within)) if within else None]


def _head_parts(heads: TunedHeads | None) -> list[Any]:
    if heads is None:
        return []
    arrays = [heads.cells, heads.clusters, heads.cell_sites, heads.cluster_sites]
    return [heads.projection.fingerprint, *arrays, heads.history, heads.best_epoch]


def _division_result(division: Division) -> Result:
    arrays = {"order": division.order, "cluster_of": division.cluster_of, **level_arrays(division.clusters)}
    fitted = division.fitted
    return Result(arrays, {"partition": fitted.partition.to_dict(), "scores": fitted.scores, "chosen": fitted.chosen})


def _read_division(result: Result, images: StoredImages, recipe: Recipe) -> Division:
    arrays, facts = dict(result.arrays), result.facts
    fitted = FittedPartition(read_partition(facts["partition"]), facts["scores"], facts["chosen"])
    order, cluster_of = arrays.pop("order"), arrays.pop("cluster_of")
    clusters = read_levels(arrays)
    assert clusters is not None
    return Division(fitted, clusters, order, cluster_of, sample_labels(images, recipe.geocells.within))


def _training_result(trained: "Trained") -> Result:
    projection = trained.projection
    arrays = {"mean": projection.mean, "matrix": projection.matrix}
    arrays |= {"cells": trained.cells, "clusters": trained.clusters}
    return Result(arrays, {"history": trained.history, "best_epoch": trained.best_epoch})


def _read_training(result: Result) -> "Trained":
    from geoindex.training.features import Trained

    arrays, facts = result.arrays, result.facts
    projection = Projection(arrays["mean"], arrays["matrix"])
    return Trained(projection, arrays["cells"], arrays["clusters"], facts["history"], facts["best_epoch"])
