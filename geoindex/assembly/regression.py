"""Positions and images -> a network that answers with points of its own, and its answers: the paper's baseline."""

from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from geoindex.assembly.finetuning import image_reader, training_device
from geoindex.errors import EmptyDatasetError
from geoindex.recipe import Recipe
from geoindex.sources import Source
from geoindex.types import Samples

if TYPE_CHECKING:
    from geoindex.encoder import Encoder
    from geoindex.training.baselines import DegreesHead, UnitHead
    from geoindex.training.fit import FitJob, LabelledImages
    from geoindex.training.pixels import PixelReader

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]


def regress(
    source: Source, samples: Samples, split: NDArray[np.str_], encoder: "Encoder", head: "type[DegreesHead | UnitHead]",
    recipe: Recipe, folder: Path, kept: Path,
) -> tuple[Rows, Floats]:  # fmt: skip
    """Fit a head that answers with points on the train split, or go on with a run that was stopped.

    Args:
        source: reads the images.
        samples: all of them.
        split: train, val or test of each, (N,).
        encoder: to start from; its weights stay as they are.
        head: what a point is written as.
        recipe: batch size of encoding, training, finetuning, seed.
        folder: for checkpoints and metrics.
        kept: folder of prepared images.

    Returns:
        Rows of the test images that could be read, (n,), and the answers in degrees, (n, 2).

    Raises:
        ConfigError: if the encoder cannot learn as the recipe says.
        EmptyDatasetError: if the train split is empty.
    """
    from geoindex.training.fit import ImageFit

    device = training_device(encoder)
    reader = image_reader(source, samples, encoder, recipe, kept, device)
    fit = ImageFit(_job(reader, samples, split, encoder, head, recipe), device, folder)
    fit.run()
    return fit.answers(np.flatnonzero(split == "test"))


def _job(
    reader: "PixelReader", samples: Samples, split: NDArray[np.str_], encoder: "Encoder",
    head: "type[DegreesHead | UnitHead]", recipe: Recipe,
) -> "FitJob":  # fmt: skip
    from geoindex.training.baselines import RegressionLearner
    from geoindex.training.fit import FitJob
    from geoindex.training.weights import open_weights

    gallery, validation = (_labelled(samples, np.flatnonzero(split == part)) for part in ("train", "val"))
    if len(gallery.rows) == 0:
        raise EmptyDatasetError("The train split is empty; change --split-by, --split-ratio or --seed.")
    backbone = open_weights(deepcopy(encoder.module), recipe.finetuning)
    learner = RegressionLearner(backbone, encoder.preprocessing, head(encoder.dim, gallery.truth))
    return FitJob(learner, f"{encoder.fingerprint}, {head.__name__}", reader, gallery, validation, recipe)


def _labelled(samples: Samples, rows: Rows) -> "LabelledImages":
    """Return images without cells; each is a group of its own when batches are drawn."""
    from geoindex.training.classes import Truth
    from geoindex.training.fit import LabelledImages

    own = np.arange(len(rows))
    truth = Truth(samples.lat[rows], samples.lon[rows], np.zeros_like(own), own)
    return LabelledImages(rows, truth, own, {})
