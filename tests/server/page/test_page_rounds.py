import json
from html.parser import HTMLParser

import numpy as np
import pytest

from geoindex.presentation import distance_text
from geoindex.server.game.rounds import Position, Round, card_of
from geoindex.server.page.round_layers import card_layers, round_layers
from geoindex.server.page.score_card import render_card, render_round, render_rounds

FIJI = Round(1, "p", Position(-18.1, 178.4), Position(-13.8, -171.8), Position(-17.0, 179.9))
"""Guessed from Samoa, across the antimeridian."""

NEAR = Round(2, "q", Position(48.2, 16.4), Position(48.3, 16.4), Position(47.0, 16.4))


class Text(HTMLParser):
    def __init__(self, html):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)

    def handle_data(self, data):
        self.text += data


def test_ways_do_not_run_around_the_world():
    layers = round_layers(FIJI)
    assert json.loads(json.dumps(layers, allow_nan=False)) == layers
    for each in layers["lines"]:
        line = np.array(each["line"])
        assert np.abs(np.diff(line[:, 1])).max() < 5.0
        assert line[-1] == pytest.approx([-18.1, 178.4])
    (_, west), (_, east) = layers["view"]
    assert (west, east) == pytest.approx((175.4, 191.2))


def test_truth_guess_and_answer_are_marked():
    assert [(mark["kind"], mark["text"]) for mark in round_layers(NEAR)["marks"]] == [
        ("truth", "truth"), ("answer", "geoindex"), ("guess", "you"),
    ]  # fmt: skip


def test_a_card_shows_every_round():
    layers = card_layers([FIJI, NEAR])
    assert [len(layers["marks"]), len(layers["lines"])] == [4, 2]


@pytest.mark.parametrize(("played", "lead"), [(NEAR, "You are nearer"), (FIJI, "geoindex is nearer")])
def test_a_round_says_who_is_nearer_and_how_far(played, lead):
    text = Text(render_round(played, ("Suva, Fiji", "Apia, Samoa", "<b>"))).text
    assert lead in text
    assert distance_text(played.guess_km) in text
    assert f"{played.answer_score:,.0f}" in text


def test_a_card_adds_up():
    card = card_of([FIJI, NEAR])
    text = Text(render_card(card, "Ada")).text
    assert "You were nearer on 1 of 2 photos." in text
    assert distance_text(card.guess_km) in text


def test_names_are_escaped():
    hostile = "<script>alert(1)</script>"
    pages = (render_round(FIJI, (hostile,) * 3), render_card(card_of([FIJI]), hostile), render_rounds([FIJI, NEAR]))
    assert all("script" not in Text(page).tags for page in pages)


@pytest.mark.parametrize(("km", "text"), [(0.04, "0.0 km"), (9.94, "9.9 km"), (12.4, "12 km"), (12345.6, "12,346 km")])
def test_distances_are_as_exact_as_they_matter(km, text):
    assert distance_text(km) == text
