from dataclasses import replace
from html.parser import HTMLParser

import pytest

from geoindex.prediction import Candidate, Evidence, Prediction
from geoindex.presentation import position_text
from geoindex.server.page.answer import render_details, render_summary

CANDIDATES = tuple(Candidate(n + 1, 48.0 + n, 16.0, 0.4 / (n + 1), 0.3, n, n, 10, 20.0, f"P{n}, AT") for n in range(12))
PHOTO = Evidence("a b/ü.jpg", "x.jpg", 48.1, 16.1, 0.91, 12.3)
ANSWER = Prediction(
    48.0, 16.0, "Vienna, Austria", 0.63, 120.0, "distance", CANDIDATES, (PHOTO,), {"encode": 20.0, "search": 1.5},
    within_km={"25": 0.2, "200": 0.63}, radius50_km=140.0, radius90_km=900.0, locatability=0.6,
)  # fmt: skip
HOSTILE = '"><img src=x onerror=alert(1)>'


class Elements(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.elements, self.text = [], ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text += data

    def all(self, tag):
        return [attributes for each, attributes in self.elements if each == tag]


def details(prediction, address=None):
    return Elements(render_details(prediction, lambda evidence: address))


def test_the_summary_says_where_and_how_sure():
    text = Elements(render_summary(ANSWER)).text
    for words in ("More likely right than wrong", "Vienna, Austria", "48.0000° N, 16.0000° E", "140 km for half"):
        assert words in text


def test_it_could_be_anywhere_is_said_once_and_plainly():
    text = Elements(render_summary(replace(ANSWER, locatability=0.01))).text
    assert text.lower().count("it could be anywhere") == 1
    assert "The photo hardly tells" in text


def test_rounding_is_told():
    assert "rounds its answers to 50 km" in render_summary(replace(ANSWER, max_precision_km=50.0))


def test_candidates_are_buttons_that_say_what_they_do():
    first, *rest = details(replace(ANSWER, evidence=())).all("button")
    assert first["aria-label"] == "Show candidate 1 on the map: P0, AT, probability 40.0%"
    assert (first["data-lat"], first["data-lon"]) == ("48.000000", "16.000000")
    assert len(rest) == 8  # seven more candidates, and the download


@pytest.mark.parametrize(("address", "pictures"), [(None, 0), ("v1/images/a/thumbnail", 1)])
def test_stored_photos_have_pictures_where_the_server_shows_them(address, pictures):
    assert len(details(ANSWER, address).all("img")) == pictures
    assert "a b/ü.jpg" in details(ANSWER, address).text


def test_timings_are_added_up():
    assert "Answered in 22 ms" in details(ANSWER).text


def test_what_comes_from_outside_is_escaped():
    hostile = replace(
        ANSWER, place=HOSTILE, candidates=(replace(CANDIDATES[0], place=HOSTILE),),
        evidence=(replace(PHOTO, id=HOSTILE),), timings_ms={HOSTILE: 1.0},
    )  # fmt: skip
    for text in (render_summary(hostile), render_details(hostile, lambda evidence: HOSTILE)):
        assert "onerror" not in {name for _, attributes in Elements(text).elements for name in attributes}


def test_south_and_west_are_named():
    assert position_text(-1.5, -0.25) == "1.5000° S, 0.2500° W"
