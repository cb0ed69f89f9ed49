import json

import numpy as np
import pytest

from geoindex.ann import TwoStageIndex
from geoindex.estimate import DEFAULT_RULE, RULES
from geoindex.recipe import SearchRecipe
from geoindex.search.fitting import MIN_VALIDATION, Validation, fit_posterior
from geoindex.search.posterior import DEFAULT_SCALE, Geography, Scales

DIM = 6
TOWNS = np.array([[50.0, 5.0], [50.1, 5.1], [-34.0, 150.0], [-34.1, 150.1], [40.0, -74.0]])
CELLS = np.array([0, 0, 1, 1, 2])
IMAGES = np.array([30, 1, 5, 5, 9])


def unit(vectors):
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def gallery():
    rng = np.random.default_rng(0)
    clusters = unit(rng.standard_normal((5, DIM)))
    cells = unit(np.stack([clusters[c == CELLS].sum(axis=0) for c in range(3)]))
    centres = np.stack([TOWNS[c == CELLS].mean(axis=0) for c in range(3)])
    geography = Geography(
        *centres.T, np.bincount(CELLS, IMAGES).astype(np.int64), *TOWNS.T, IMAGES, CELLS,
    )  # fmt: skip
    return TwoStageIndex.build(cells, clusters, CELLS), geography, clusters


def validation(clusters, count, noise=0.3):
    rng = np.random.default_rng(1)
    true = rng.integers(0, 5, count)
    queries = unit(clusters[true] + noise * rng.standard_normal((count, DIM)))
    return Validation(TOWNS[true, 0], TOWNS[true, 1], CELLS[true], true, queries)


def fit(gallery, count, **keys):
    ann, geography, clusters = gallery
    return fit_posterior(ann, geography, validation(clusters, count), SearchRecipe(**keys))


@pytest.mark.parametrize("count", [0, 1, MIN_VALIDATION - 1])
def test_too_few_validation_images_keep_the_defaults(gallery, count):
    fitted = fit(gallery, count)
    assert fitted.scales == Scales(DEFAULT_SCALE, DEFAULT_SCALE, False)
    assert fitted.posterior == {"fitted_on": "defaults"}
    assert fitted.rule == {"name": DEFAULT_RULE, "chosen_on": "default"}


def test_enough_validation_images_decide(gallery):
    fitted = fit(gallery, 100)
    assert fitted.posterior["fitted_on"] == "validation"
    assert fitted.posterior["queries"] == 100
    assert fitted.posterior["cell_nats"] < fitted.posterior["cell_nats_uniform"]
    assert fitted.rule["chosen_on"] == "validation"
    scores = fitted.rule["geoscore"]
    assert set(scores) == set(RULES)
    assert scores[fitted.rule["name"]] == max(scores.values()) > 4000


def test_the_smallest_number_that_decides(gallery):
    assert fit(gallery, MIN_VALIDATION).posterior["fitted_on"] == "validation"


@pytest.mark.parametrize("count", [3, 60])
@pytest.mark.parametrize("rule", RULES)
def test_a_rule_that_the_recipe_names_is_kept(gallery, rule, count):
    fitted = fit(gallery, count, rule=rule)
    assert fitted.rule["name"] == rule
    assert fitted.rule["chosen_on"] == "recipe"


@pytest.mark.parametrize("count", [3, 60])
@pytest.mark.parametrize(("prior", "wanted"), [("on", True), ("off", False)])
def test_a_prior_that_the_recipe_names_is_kept(gallery, prior, wanted, count):
    assert fit(gallery, count, prior=prior).scales.prior is wanted


def test_what_was_decided_fits_into_a_manifest(gallery):
    for count in (3, 60):
        fitted = fit(gallery, count)
        assert json.loads(json.dumps([fitted.posterior, fitted.rule])) == [fitted.posterior, fitted.rule]


def test_the_same_validation_decides_the_same(gallery):
    assert fit(gallery, 60) == fit(gallery, 60)
