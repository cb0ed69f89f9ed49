"""Stored images as a level of the posterior."""

import numpy as np
import pytest

from geoindex.estimate import Posterior
from geoindex.search.imagery import ImageLevel, Near, OrderedImages, fit_image_level, with_images

CLUSTERS = np.array([2, 0, 1])
CELL_OF = np.array([0, 0, 1])


class Found:
    """A ranking of three clusters."""

    clusters = CLUSTERS
    posterior = Posterior(np.array([1.0, 2.0, 3.0, 40.0]), np.zeros(4), np.array([0.4, 0.3, 0.2, 0.1]), np.ones(3))


def unit(angle):
    return np.stack([np.cos(angle), np.sin(angle)], axis=-1)


@pytest.fixture
def images():
    """Two images in each cluster; the last of cluster 1 is the most like the query."""
    angle = np.array([0.9, 0.8, 0.7, 0.1, 0.6, 0.5])
    return OrderedImages(unit(angle).astype(np.float16), np.arange(10.0, 16.0), np.arange(6.0), np.array([0, 2, 4, 6]))


QUERY = unit(np.array(0.0)).astype(np.float32)


def test_the_nearest_images_of_the_best_clusters_come_first(images):
    near = Near.of(images, Found, QUERY)
    assert near.rows.tolist() == [3, 5, 4, 2, 1, 0]
    assert near.cluster.tolist() == [1, 2, 2, 1, 0, 0]
    assert near.cosine == pytest.approx(np.cos([0.1, 0.5, 0.6, 0.7, 0.8, 0.9]), abs=1e-3)


def test_only_so_many_are_looked_at_and_kept(images, monkeypatch):
    monkeypatch.setattr("geoindex.search.imagery.LOOKED_AT", 3)
    monkeypatch.setattr("geoindex.search.imagery.NEAREST", 3)
    assert Near.of(images, Found, QUERY).rows.tolist() == [5, 4, 1]  # of clusters 2 and 0


def test_images_are_further_points_and_all_is_one(images):
    mixed = with_images(Found, images, QUERY, ImageLevel(0.25, 30.0))
    assert mixed.probability.sum() == pytest.approx(1.0)
    assert mixed.probability[:4] == pytest.approx(0.75 * Found.posterior.probability)
    assert (mixed.lat[4], mixed.lon[4]) == (13.0, 3.0)
    assert mixed.probability[4] > 0.24
    assert len(mixed.score) == 3


def test_without_a_level_nothing_changes(images):
    assert with_images(Found, images, QUERY, None) is Found.posterior


def near(cosine, cluster):
    return Near(np.arange(len(cosine)), np.array(cluster), np.array(cosine))


def fit(found, true_cell, weight=None):
    count = len(found)
    log_p = np.full(count, np.log(0.3))
    weight = np.ones(count) if weight is None else weight
    return fit_image_level(found, CELL_OF, np.array(true_cell), log_p, weight)


RIGHT, WRONG = near([0.9, 0.2], [2, 0]), near([0.9, 0.2], [0, 2])


def test_images_that_know_the_cell_get_weight():
    mostly = fit([RIGHT] * 5 + [WRONG] * 5, [1] * 10)
    always = fit([RIGHT] * 10, [1] * 10)
    assert 0 < mostly.weight < always.weight < 1
    assert always.scale >= mostly.scale


def test_images_that_do_not_know_it_get_none():
    assert fit([WRONG] * 10, [1] * 10) is None


def test_photos_of_one_author_count_as_one():
    found, cells = [RIGHT] * 8 + [WRONG] * 4, [1] * 12
    assert fit(found, cells) is not None
    assert fit(found, cells, np.array([1 / 8] * 8 + [1.0] * 4)) is None
