from pathlib import Path

import pytest

from geoindex.server.page.settings import PageSettings


@pytest.fixture
def given(monkeypatch, run):
    """Run `geoindex serve` with flags; return what its page would show."""
    served = []
    monkeypatch.setattr("geoindex.server.running.serve", lambda *a, **k: served.append(k["page"]))

    def given(*flags):
        assert run("serve", *flags)[0] == 0
        return served.pop()

    return given


def test_there_is_a_page_that_fetches_nothing_and_no_game(given):
    assert given() == PageSettings(tiles=None, games=None)


def test_flags_become_settings(given):
    tiles = "https://tiles.example.org/{z}/{x}/{y}.png"
    page = given("--tiles", tiles, "--tiles-credit", "Example", "--games", "g.sqlite", "--game-photos", "7")
    assert page == PageSettings(tiles, "Example", Path("g.sqlite"), 7)


def test_the_page_may_be_left_out(given):
    assert given("--no-page") is None


def test_an_address_of_tiles_that_cannot_be_meant_is_wrong_usage(run):
    code, _, told = run("serve", "--tiles", "https://example.org/tiles.png")
    assert (code, "{z}/{x}/{y}" in told) == (2, True)
