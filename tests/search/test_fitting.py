import json

import numpy as np
import pytest

from geoindex.ann import TwoStageIndex
from geoindex.calibration import MIN_PHOTOS
from geoindex.estimate import DEFAULT_RULE, MIN_GROUPS, RULES
from geoindex.recipe import SearchRecipe
from geoindex.search.crossfit import crossfit_posteriors, deal_groups
from geoindex.search.fitting import MIN_VALIDATION, fit_posterior
from geoindex.search.levels import Parts
from geoindex.search.posterior import DEFAULT_SCALE, Breadth, Geography, Scales
from geoindex.search.scaling import fit_scales
from geoindex.search.validation import Validation

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


def validation(clusters, count, noise=0.3, group=None):
    rng = np.random.default_rng(1)
    true = rng.integers(0, 5, count)
    queries = unit(clusters[true] + noise * rng.standard_normal((count, DIM)))
    group = np.arange(count) if group is None else group
    return Validation(TOWNS[true, 0], TOWNS[true, 1], CELLS[true], true, queries, group)


def fit(gallery, count, **keys):
    ann, geography, clusters = gallery
    return fit_posterior(Parts(ann, geography), validation(clusters, count), SearchRecipe(**keys))


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


def calibrated(gallery, count, groups, **keys):
    ann, geography, clusters = gallery
    asked = validation(clusters, count, noise=1.0, group=np.arange(count) % groups)
    return fit_posterior(Parts(ann, geography), asked, SearchRecipe(**keys)).calibration


@pytest.mark.parametrize(("count", "groups"), [(MIN_PHOTOS - 1, MIN_PHOTOS - 1), (MIN_PHOTOS, MIN_GROUPS - 1)])
def test_too_few_photos_or_authors_leave_confidence_unlearned(gallery, count, groups):
    assert calibrated(gallery, count, groups) is None


def test_confidence_is_learned_of_the_rule_that_answers(gallery):
    found = calibrated(gallery, MIN_PHOTOS, MIN_GROUPS, rule="nearest")
    assert (found.rule, found.photos, found.groups) == ("nearest", MIN_PHOTOS, MIN_GROUPS)
    assert json.loads(json.dumps(found.to_dict())) == found.to_dict()


def test_many_photos_are_spread_over_all_of_them():
    every = validation(np.eye(5, DIM, dtype=np.float32), 1001)
    assert every.spread_evenly(11).group.tolist() == list(range(0, 1001, 100))
    assert every.spread_evenly(5000).group.tolist() == every.group.tolist()


def test_the_scales_behind_a_photo_never_saw_those_of_its_author(gallery, monkeypatch):
    ann, geography, clusters = gallery
    asked, seen = validation(clusters, 60, group=np.repeat(np.arange(12), 5)), []

    def spy(ann, geography, queries, *rest):
        seen.append({query.tobytes() for query in queries})
        return fit_scales(ann, geography, queries, *rest)

    monkeypatch.setattr("geoindex.search.levels.fit_scales", spy)
    rows = []
    for row, _ in crossfit_posteriors(Parts(ann, geography), asked, None, Breadth(3)):
        assert not seen[-1] & {query.tobytes() for query in asked.queries[asked.group == asked.group[row]]}
        rows.append(row)
    assert sorted(rows) == list(range(60))
    assert len(seen[0]) > 40


def test_folds_hold_whole_groups_and_are_even():
    fold = deal_groups(np.repeat(np.arange(6), [10, 6, 5, 4, 3, 2]), 3)
    assert np.bincount(fold).tolist() == [10, 11, 9]
    assert all(len(set(part)) == 1 for part in np.split(fold, np.cumsum([10, 6, 5, 4, 3])))
