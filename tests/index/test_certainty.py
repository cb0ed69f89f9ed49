"""How sure an index says it is, and when it says nothing of that."""

import json
from dataclasses import replace

import numpy as np
import pytest

import geoindex
from geoindex.errors import IndexDamagedError
from geoindex.inspection import inspect_index
from geoindex.search.posterior import Breadth
from geoindex.store.manifest import check_parts

SURE = ("confidence", "within_km", "radius50_km", "radius90_km")


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory):
    """An index with enough validation images to learn how sure it is."""
    path = tmp_path_factory.mktemp("calibrated") / "index"
    geoindex.build_index(
        "planted:900?dim=16&noise=0.5", out=path, split_ratio=[0.8, 0.2, 0.0], training={"method": "none"}
    )
    return geoindex.open_index(path)


@pytest.fixture(scope="module")
def query():
    vector = np.random.default_rng(0).standard_normal((1, 16)).astype(np.float32)
    return vector / np.linalg.norm(vector)


def ask(index, query, **options):
    return index.query_embeddings(query, **options)[0]


def test_an_answer_tells_how_sure_it_is(calibrated, query):
    answer = ask(calibrated, query)
    assert list(answer.within_km) == ["25", "200", "750"]
    assert 0 < answer.within_km["25"] <= answer.within_km["200"] <= answer.within_km["750"] < 1
    assert answer.confidence == answer.within_km["200"]
    assert 0 < answer.radius50_km < answer.radius90_km < 20_100
    assert 0 <= answer.locatability <= 1
    assert json.loads(json.dumps(answer.to_dict()))["within_km"] == answer.within_km


@pytest.mark.parametrize("options", [
    {"rule": "nearest"}, {"within": "-60,-180,60,180"}, {"refine": "images"}, {"top_p": 0.5}, {"top_cells": 2},
    {"max_precision_km": 10.0},
])  # fmt: skip
def test_what_was_not_calibrated_is_not_told(calibrated, query, options):
    answer = ask(calibrated, query, **options)
    assert [getattr(answer, name) for name in SURE] == [None] * 4
    assert answer.locatability is not None


def test_the_own_rule_by_name_is_as_sure(calibrated, query):
    named = ask(calibrated, query, rule=calibrated.manifest.rule["name"])
    assert named.confidence == ask(calibrated, query).confidence


def test_a_photo_that_tells_nothing_could_be_anywhere(calibrated):
    gallery = calibrated.searcher.ann.cells.vectors
    mean, one = gallery.mean(axis=0), gallery[0]
    blank, clear = (ask(calibrated, (v / np.linalg.norm(v))[None]) for v in (mean, one))
    assert blank.locatability < clear.locatability
    assert blank.radius90_km > clear.radius90_km


def test_removing_photos_keeps_it(calibrated, query, tmp_path):
    geoindex.clone_index(calibrated.path, tmp_path / "index")
    copy = geoindex.open_index(tmp_path / "index")
    before = ask(copy, query).confidence
    copy.remove(["planted-1"])
    assert ask(copy, query).confidence == pytest.approx(before, abs=0.05)


@pytest.mark.parametrize("rule", ["distance", "score"])
def test_no_point_between_answers_outside_of_a_region(calibrated, rule):
    queries = np.random.default_rng(1).standard_normal((20, 16)).astype(np.float32)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    inside = calibrated.query_embeddings(queries, within="20,-130,60,40", rule=rule)
    geography = calibrated.searcher.geography
    places = set(zip(geography.lat.tolist() + geography.cell_lat.tolist(),
                     geography.lon.tolist() + geography.cell_lon.tolist(), strict=True))  # fmt: skip
    assert {(answer.lat, answer.lon) for answer in inside} <= places


def test_the_report_says_what_it_was_learned_on(calibrated):
    photos, text = calibrated.manifest.calibration["photos"], inspect_index(calibrated.path).to_text()
    assert f"calibrated for rule score on {photos} validation photos\n" in text
    weight = calibrated.manifest.posterior["images"]["weight"]
    assert f", {weight:.0%} of the probability with stored images\n" in text


def test_stored_images_are_among_the_points(calibrated, query):
    ranking = calibrated.searcher.rank(query, Breadth(16))[0]
    posterior = calibrated.searcher.posterior(ranking, query[0])
    weight = calibrated.manifest.posterior["images"]["weight"]
    assert posterior.probability[len(ranking.posterior.lat) :].sum() == pytest.approx(weight)
    lat, lon = calibrated.searcher.sidecar.gallery.positions()
    places = set(zip(lat.tolist(), lon.tolist(), strict=True))
    assert (posterior.lat[-1], posterior.lon[-1]) in places


@pytest.mark.parametrize("images", [3, {}, {"weight": 2.0, "scale": 1.0}, {"weight": 0.1, "scale": None}])
def test_an_image_level_that_cannot_be_meant_is_damage(calibrated, images):
    manifest = calibrated.manifest
    odd = replace(manifest, posterior=manifest.posterior | {"images": images})
    with pytest.raises(IndexDamagedError, match=r"has no 'posterior\.images\.[a-z*]+' that can be meant; restore it"):
        check_parts(odd, calibrated.path)


@pytest.mark.parametrize(("part", "value"), [
    ("rule", 3), ("photos", -1), ("reach_km", []), ("reach_km", [1.0, float("nan")]), ("reach_km", [1e9]),
    ("within", {}), ("within", {"25": {"intercept": 0.0}}), ("shares", {"50": 0.5, "90": 1.5}), ("shares", None),
])  # fmt: skip
def test_a_calibration_that_cannot_be_meant_is_damage(calibrated, part, value):
    manifest = calibrated.manifest
    odd = replace(manifest, calibration=manifest.calibration | {part: value})
    with pytest.raises(IndexDamagedError, match=rf"has no 'calibration\.{part}[^']*' that can be meant; restore it"):
        check_parts(odd, calibrated.path)
