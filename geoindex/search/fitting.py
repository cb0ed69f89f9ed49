"""What validation decides: scales and prior of the posterior, and the rule of estimation."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoindex.ann import TwoStageIndex
from geoindex.estimate import DEFAULT_RULE, choose_rule
from geoindex.recipe import SearchRecipe
from geoindex.search.posterior import Breadth, Geography, Ranker, Scales
from geoindex.search.scaling import fit_scales

MIN_VALIDATION = 30
"""Validation images below which scales and rule keep their written defaults."""

MAX_RULE_QUERIES = 2000
"""Validation images that choose the rule, spread evenly over more: their mean GeoScore is known to about 30 points."""

PRIOR = {"auto": None, "on": True, "off": False}


@dataclass(frozen=True, slots=True)
class Validation:
    """Images that are in no gallery, to fit on.

    Attributes:
        lat, lon: true positions in degrees, (V,).
        cell, cluster: the true ones, (V,).
        queries: embeddings, (V, D).
    """

    lat: NDArray[np.float64]
    lon: NDArray[np.float64]
    cell: NDArray[np.int64]
    cluster: NDArray[np.int64]
    queries: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Fitted:
    """What validation decided.

    Attributes:
        scales: how scores become probabilities.
        posterior: how the scales were found, as plain types.
        rule: name of the rule of estimation, and the scores that chose it.
    """

    scales: Scales
    posterior: dict[str, Any]
    rule: dict[str, Any]


def fit_posterior(ann: TwoStageIndex, geography: Geography, validation: Validation, recipe: SearchRecipe) -> Fitted:
    """Fit scales, prior and rule; with too few validation images, keep the written defaults."""
    named = None if recipe.rule == "auto" else recipe.rule
    if len(validation.lat) < MIN_VALIDATION:
        scales = Scales(prior=bool(PRIOR[recipe.prior]))
        default = {"name": named or DEFAULT_RULE, "chosen_on": "recipe" if named else "default"}
        return Fitted(scales, {"fitted_on": "defaults"}, default)
    fit = fit_scales(ann, geography, validation.queries, validation.cell, validation.cluster, PRIOR[recipe.prior])
    # not the first of them: tables and folders are often in the order of countries
    count = len(validation.lat)
    rows = np.linspace(0, count - 1, min(count, MAX_RULE_QUERIES)).astype(np.int64)
    ranker = Ranker.of(ann, geography, fit.scales)
    rankings = ranker.rank(validation.queries[rows], Breadth(recipe.top_cells))
    posteriors = [ranking.posterior for ranking in rankings]
    best, scores = choose_rule(posteriors, validation.lat[rows], validation.lon[rows])
    chosen_on = "recipe" if named else "validation"
    found = {key: value for key, value in asdict(fit).items() if key != "scales"}
    rule = {"name": named or best, "chosen_on": chosen_on, "geoscore": scores}
    return Fitted(fit.scales, {"fitted_on": "validation", **found}, rule)
