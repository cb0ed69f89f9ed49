import numpy as np
import pytest

from geoindex.errors import ConfigError
from geoindex.training.classes import Truth
from geoindex.training.order import draw_shares, epoch_order, places_of


def truth(lat, lon, cell):
    cell = np.array(cell)
    return Truth(np.array(lat, float), np.array(lon, float), cell, cell)


CROWD = truth([48.0] * 9 + [-33.0], [2.0] * 9 + [151.0], [0] * 9 + [1])


@pytest.mark.parametrize("balance", ["cell", "area", "country"])
def test_groups_count_alike_however_many_images_they_have(balance):
    share = draw_shares(balance, CROWD, ["FR"] * 9 + ["AU"])
    assert share.sum() == pytest.approx(1.0)
    assert share[9] == pytest.approx(0.5)
    drawn = np.concatenate([rows for epoch in range(200) for rows in epoch_order(CROWD, share, 4, 2, 0, epoch)])
    assert np.mean(drawn == 9) == pytest.approx(0.5, abs=0.05)


def test_without_balance_each_image_comes_once():
    assert draw_shares("none", CROWD, []) is None
    assert sorted(np.concatenate(epoch_order(CROWD, None, 4, 2, 0, 1))) == list(range(10))


def test_countries_that_nobody_names_are_refused():
    with pytest.raises(ConfigError, match="cell or area"):
        draw_shares("country", CROWD, [None] * 10)


def test_a_place_is_a_sequence_or_else_a_position():
    places = places_of(truth([1, 1, 1, 2], [3, 3, 3, 4], [0] * 4), ["walk", None, None, "walk"])
    assert places[0] == places[3] != places[1] == places[2]
