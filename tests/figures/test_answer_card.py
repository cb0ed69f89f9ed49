import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from geoindex.figures.card import WIDEST_KM, circles_of, render_card
from geoindex.figures.vector_map import Circle, draw_map
from geoindex.prediction import Candidate, Prediction

CANDIDATES = tuple(
    Candidate(n + 1, 48.0 + n, 16.0, 0.4 / (n + 1), 0.3, n, n, 10, 20.0, f"Place {n}, Austria") for n in range(10)
)
ANSWER = Prediction(
    48.0, 16.0, "Vienna, Austria", 0.63, 120.0, "distance", CANDIDATES,
    within_km={"25": 0.2, "200": 0.63, "750": 0.9}, radius50_km=140.0, radius90_km=900.0, locatability=0.6,
)  # fmt: skip


class Page(HTMLParser):
    """Checks that every element is closed by its own tag; void ones are written as such."""

    def __init__(self, text):
        super().__init__()
        self.open, self.text, self.attributes = [], "", []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.open.append(tag)
        self.attributes += attributes

    def handle_startendtag(self, tag, attributes):
        self.attributes += attributes

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def test_a_card_says_where_and_how_sure():
    text = Page(render_card(ANSWER)).text
    for words in ("Vienna, Austria", "48.0000, 16.0000", "More likely right than wrong", "140 km for half", "40.0%"):
        assert words in text


def test_only_the_first_candidates_are_shown():
    card = render_card(ANSWER)
    assert ("Place 7" in card, "Place 8" in card) == (True, False)


def test_nothing_is_run_or_fetched():
    page = Page(render_card(ANSWER))
    assert "script" not in render_card(ANSWER)
    for name, value in page.attributes:
        assert not name.startswith("on")
        assert name not in ("src", "href") or value.startswith("#")
    assert "url(" not in render_card(ANSWER)


def test_names_are_escaped():
    hostile = '"><script>alert(1)</script>'
    card = render_card(replace(ANSWER, place=hostile, candidates=(replace(CANDIDATES[0], place=hostile),)))
    assert "<script" not in card
    assert hostile in Page(card).text


def test_cards_of_one_page_do_not_share_their_land():
    ids = {re.search(r'id="(land-\w+)"', render_card(a)).group(1) for a in (ANSWER, replace(ANSWER, lat=1.0))}
    assert len(ids) == 2


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"locatability": 0.01}, "It could be anywhere"),
        ({"confidence": None, "within_km": None}, "certainty was not measured"),
        ({"confidence": 0.8}, "Almost certainly"),
        ({"confidence": 0.79}, "More likely right"),
        ({"confidence": 0.2}, "educated guess"),
        ({"confidence": 0.0}, "Little more than a guess"),
    ],
)
def test_confidence_is_said_in_words(changes, words):
    assert words in render_card(replace(ANSWER, **changes))


def test_circles_are_the_calibrated_ones_or_that_of_the_probability():
    assert [(c.radius_km, c.kind) for c in circles_of(ANSWER)] == [(900.0, "most"), (140.0, "half")]
    plain = replace(ANSWER, radius50_km=None, radius90_km=None)
    assert [c.radius_km for c in circles_of(plain)] == [120.0]
    assert circles_of(replace(plain, radius_km=WIDEST_KM)) == circles_of(replace(plain, radius_km=0.0)) == []


@pytest.mark.parametrize(("lat", "lon"), [(89.9, 0.0), (-90.0, 10.0), (0.0, 180.0), (-17.7, -179.9)])
def test_edges_of_the_map(lat, lon):
    far = replace(ANSWER, lat=lat, lon=lon, radius90_km=5000.0)
    card = render_card(far)
    assert "nan" not in card.lower().replace("nan,", "")
    Page(card)


def test_a_circle_over_the_antimeridian_is_drawn_on_both_sides():
    drawn = draw_map((-60.0, 84.0, -180.0, 180.0), [], [Circle(0.0, 179.0, 500.0, "half")], "land", "t")
    lons = [float(x) for x in re.findall(r"[M ](-?\d+\.\d+) -?\d", drawn.partition('class="half"')[2])]
    assert min(lons) < -180.0 < max(lons)
    assert any(-180.0 < x < -170.0 for x in lons)
    assert any(170.0 < x < 180.0 for x in lons)


def test_a_card_is_small():
    assert len(render_card(ANSWER)) < 80_000
