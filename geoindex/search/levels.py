"""The levels of a posterior, fitted on validation: scales and prior of cells and clusters, weight of images."""

from dataclasses import dataclass

import numpy as np

from geoindex.ann import TwoStageIndex
from geoindex.search.imagery import ImageLevel, Images, Near, fit_image_level
from geoindex.search.posterior import Breadth, Geography, Ranker, Scales, Weights, log_softmax
from geoindex.search.scaling import ScaleFit, fit_scales
from geoindex.search.validation import Validation

MAX_NEAR = 1000
"""Validation images whose nearest stored images are looked for, spread evenly over more."""


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """What a posterior is made of, before it is part of a generation.

    Attributes:
        ann: geo-embeddings of cells and clusters.
        geography: where they lie.
        images: the stored images; None: they shall not count.
    """

    ann: TwoStageIndex
    geography: Geography
    images: Images | None = None


@dataclass(frozen=True, slots=True)
class LevelFit:
    """Levels fitted on validation.

    Attributes:
        scale_fit: of cells and clusters.
        images: how much the stored images count; None if they do not.
    """

    scale_fit: ScaleFit
    images: ImageLevel | None

    @property
    def scales(self) -> Scales:
        """How scores become probabilities."""
        return self.scale_fit.scales


def fit_levels(parts: Parts, validation: Validation, prior: bool | None, breadth: Breadth) -> LevelFit:
    """Make the true cells and clusters of validation likeliest."""
    own = validation.queries, validation.cell, validation.cluster
    fit = fit_scales(parts.ann, parts.geography, *own, prior, validation.weight)
    return LevelFit(fit, _fit_images(parts, validation.spread_evenly(MAX_NEAR), fit.scales, breadth))


def _fit_images(parts: Parts, asked: Validation, scales: Scales, breadth: Breadth) -> ImageLevel | None:
    if parts.images is None:
        return None
    rankings = Ranker.of(parts.ann, parts.geography, scales).rank(asked.queries, breadth)
    found = [Near.of(parts.images, each, query) for each, query in zip(rankings, asked.queries, strict=True)]
    logits = scales.cell * parts.ann.cells.exact(asked.queries).astype(np.float64)
    log_p = log_softmax(logits + Weights.of(parts.geography, scales.prior).cell)
    own = log_p[np.arange(len(asked)), asked.cell]
    return fit_image_level(found, parts.geography.cell, asked.cell, own, asked.weight)
