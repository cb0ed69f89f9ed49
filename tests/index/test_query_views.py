"""Several photos of one place, asked about together."""

from dataclasses import replace

import numpy as np
import pytest
from tiles import HUBS, PHOTOS, error_km, tile

from geoindex.encoder.projection import mean_direction
from geoindex.errors import ConfigError, UnreadableImageError

LAT, LON = HUBS["za"]
VIEWS = [tile(LAT + 0.5 * step, LON - 0.5 * step) for step in range(-2, 2)]


def timeless(prediction):
    return replace(prediction, timings_ms={})


def test_one_view_is_answered_like_a_photo(index):
    for photo in PHOTOS:
        assert timeless(index.query_views([photo])) == timeless(index.query_image(photo))


def test_views_are_answered_by_the_mean_of_their_embeddings(index, tiny_encoder):
    mean = index.projection.apply(tiny_encoder.encode(VIEWS)).mean(axis=0)
    (wanted,) = index.query_embeddings(mean[None] / np.linalg.norm(mean), top_k=3)
    answer = index.query_views(VIEWS, top_k=3)
    assert error_km(answer, (LAT, LON)) < 500
    assert (answer.lat, answer.lon) == pytest.approx((wanted.lat, wanted.lon))
    assert [c.cluster for c in answer.candidates] == [c.cluster for c in wanted.candidates]
    assert set(answer.timings_ms) == {"decode", "prepare", "encode", "project", "search", "answer"}


def test_more_views_than_a_batch_count_alike(index):
    few, many = index.query_views(VIEWS), index.query_views(VIEWS * 20)
    assert (many.lat, many.lon) == pytest.approx((few.lat, few.lon), abs=1e-3)
    assert [c.cluster for c in many.candidates] == [c.cluster for c in few.candidates]


def test_options_mean_the_same(index):
    answer = index.query_views(VIEWS, top_k=2, evidence=0, rule="nearest", max_precision_km=50.0)
    assert (len(answer.candidates), answer.evidence, answer.rule) == (2, (), "nearest")
    assert answer.max_precision_km == 50.0
    with pytest.raises(ConfigError, match="No query option 'topk'"):
        index.query_views(VIEWS, topk=2)


@pytest.mark.parametrize("images", [[], (), "photo.jpg", b"photo"])
def test_what_is_no_list_of_views_is_refused_with_the_cure(index, images):
    with pytest.raises(ConfigError, match="one or more images of one place, as a list"):
        index.query_views(images)


def test_an_unreadable_view_is_named(index, bad_photo):
    with pytest.raises(UnreadableImageError, match=r"bad\.jpg"):
        index.query_views([VIEWS[0], bad_photo])


def test_opposite_embeddings_have_no_direction():
    up = np.array([[0.0, 1.0]], np.float32)
    assert mean_direction(np.concatenate([up, -up])).tolist() == [0.0, 0.0]
    assert mean_direction(np.concatenate([up, up, -up])).tolist() == [0.0, 1.0]
