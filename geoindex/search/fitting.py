"""What validation decides: the levels of the posterior, the rule of estimation, and how sure answers are.

Levels and rule are fitted on all of it. Confidence is learned on posteriors whose levels were fitted on the other
authors, sequences or blocks of the validation, else it would flatter. What the training chose on validation, which
epoch to keep, and the rule itself are the same in all folds; only photos that had no part in either tell what that
is worth.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from geoindex.calibration import MIN_PHOTOS, Calibration, Spread, fit_calibration, reach_of
from geoindex.estimate import DEFAULT_RULE, MIN_GROUPS, Posterior, choose_rule, estimate_point
from geoindex.geo import haversine_km
from geoindex.recipe import SearchRecipe
from geoindex.search.crossfit import crossfit_posteriors
from geoindex.search.imagery import with_images
from geoindex.search.levels import LevelFit, Parts, fit_levels
from geoindex.search.posterior import RANKED_TOGETHER, Breadth, Ranker, Scales
from geoindex.search.validation import Validation

MIN_VALIDATION = 30
"""Validation images below which levels and rule keep their written defaults."""

MAX_RULE_QUERIES = 2000
"""Validation images that choose the rule, spread evenly over more: their mean GeoScore is known to about 30 points."""

MAX_CALIBRATION_PHOTOS = 1000
"""Validation images that confidence is learned on, spread evenly over more: a share of 10 % is known to 1 point."""

PRIOR = {"auto": None, "on": True, "off": False}


@dataclass(frozen=True, slots=True)
class Fitted:
    """What validation decided.

    Attributes:
        scales: how scores become probabilities.
        posterior: how the scales were found, as plain types.
        rule: name of the rule of estimation, and the scores that chose it.
        calibration: how sure its answers are; None with too few validation images.
    """

    scales: Scales
    posterior: dict[str, Any]
    rule: dict[str, Any]
    calibration: Calibration | None = None


def fit_posterior(parts: Parts, validation: Validation, recipe: SearchRecipe) -> Fitted:
    """Fit levels, prior and rule, and how sure answers are; with too few validation images, keep the defaults."""
    named = None if recipe.rule == "auto" else recipe.rule
    if len(validation) < MIN_VALIDATION:
        scales = Scales(prior=bool(PRIOR[recipe.prior]))
        default = {"name": named or DEFAULT_RULE, "chosen_on": "recipe" if named else "default"}
        return Fitted(scales, {"fitted_on": "defaults"}, default)
    fit = fit_levels(parts, validation, PRIOR[recipe.prior], Breadth(recipe.top_cells))
    asked = validation.spread_evenly(MAX_RULE_QUERIES)
    best, scores = choose_rule(_posteriors(parts, fit, asked, recipe), asked.lat, asked.lon, asked.group)
    found = {key: value for key, value in asdict(fit.scale_fit).items() if key != "scales"}
    found["images"] = None if fit.images is None else asdict(fit.images)
    name = named or best
    rule = {"name": name, "chosen_on": "recipe" if named else "validation", "geoscore": scores}
    calibration = calibrate(parts, validation, recipe, name)
    return Fitted(fit.scales, {"fitted_on": "validation", **found}, rule, calibration)


def _posteriors(parts: Parts, fit: LevelFit, asked: Validation, recipe: SearchRecipe) -> Iterator[Posterior]:
    ranker, breadth = Ranker.of(parts.ann, parts.geography, fit.scales), Breadth(recipe.top_cells)
    for start in range(0, len(asked), RANKED_TOGETHER):
        queries = asked.queries[start : start + RANKED_TOGETHER]
        for ranking, query in zip(ranker.rank(queries, breadth), queries, strict=True):
            yield ranking.posterior if parts.images is None else with_images(ranking, parts.images, query, fit.images)


def calibrate(parts: Parts, validation: Validation, recipe: SearchRecipe, rule: str) -> Calibration | None:
    """Learn how sure the answers of a rule are; None with too few validation images, or authors of them."""
    asked, geography = validation.spread_evenly(MAX_CALIBRATION_PHOTOS), parts.geography
    if len(asked) < MIN_PHOTOS or len(np.unique(asked.group)) < MIN_GROUPS:
        return None
    reach_km = reach_of(haversine_km(asked.lat, asked.lon, geography.lat[asked.cluster], geography.lon[asked.cluster]))
    spreads, distance_km, group = [], [], []
    for row, posterior in crossfit_posteriors(parts, asked, PRIOR[recipe.prior], Breadth(recipe.top_cells)):
        lat, lon = estimate_point(posterior, rule)
        spreads.append(Spread.of(posterior.mass_around(lat, lon), reach_km))
        distance_km.append(haversine_km(lat, lon, asked.lat[row], asked.lon[row]))
        group.append(asked.group[row])
    return fit_calibration(rule, spreads, np.array(distance_km), reach_km, np.array(group))
