import json

import pytest
from players_at import DECK, play

from geoindex.errors import EmptyDatasetError
from geoindex.server.game.deck import Deck
from geoindex.server.game.players import Mean, report_players
from geoindex.server.game.store import GameStore

DEGREE_KM = 111.19508


@pytest.fixture
def store(tmp_path):
    return GameStore(tmp_path / "games.sqlite")


def test_the_mean_over_players_has_students_interval():
    # t with 2 degrees of freedom: 4.302653 standard errors
    mean = Mean.of([1.0, 2.0, 3.0])
    assert (mean.value, mean.high - mean.value) == (2.0, pytest.approx(4.302653 / 3**0.5))
    assert mean.low == pytest.approx(2.0 - 4.302653 / 3**0.5)


def test_one_player_says_nothing_of_others():
    assert Mean.of([5.0]) == Mean(5.0, None, None)


def test_people_beside_the_index(store):
    for name, off_deg in (("Ada", 1.0), ("Bob", 3.0)):
        play(store, name, off_deg, answer_off_deg=2.0)
    report = report_players(store.games())
    assert [p.name for p in report.players] == ["Ada", "Bob"]
    assert report.guess_km.value == pytest.approx(2 * DEGREE_KM, rel=1e-6)
    assert report.answer_km == pytest.approx(2 * DEGREE_KM, rel=1e-6)
    assert report.difference_km.value == pytest.approx(0.0, abs=1e-6)
    assert [p.card.nearer for p in report.players] == [3, 0]


def test_only_the_first_finished_game_of_a_player_counts(store):
    play(store, "Ada", 1.0, rounds=1)
    play(store, "Ada", 2.0)
    play(store, "ada", 0.0)
    report = report_players(store.games())
    assert report.guess_km.value == pytest.approx(2 * DEGREE_KM, rel=1e-6)
    assert (len(report.players), report.unfinished, report.repeated) == (1, 1, 1)


def test_decks_are_not_mixed(store):
    other = Deck(DECK.photos[:2], DECK.source, {})
    play(store, "Ada", 1.0)
    play(store, "Bob", 1.0)
    play(store, "Cid", 5.0, rounds=2, deck=other)
    assert report_players(store.games()).photos == 3
    assert [p.name for p in report_players(store.games(), other.key).players] == ["Cid"]


def test_without_a_finished_game_there_is_no_report(store):
    play(store, "Ada", 1.0, rounds=2)
    with pytest.raises(EmptyDatasetError, match="/play"):
        report_players(store.games())


def test_the_command_prints_the_row_of_table_1(store, run):
    play(store, "Ada", 1.0)
    play(store, "Bob", 3.0)
    code, told, _ = run("game", "report", store.path)
    assert code == 0
    assert "| human, 2 players | 1,219.8 | 222 ± 157 |" in told
    code, told, _ = run("game", "report", store.path, "--format", "json")
    assert json.loads(told)["guess_km"]["value"] == pytest.approx(2 * DEGREE_KM, rel=1e-6)


def test_a_file_that_is_not_there_is_told(run, tmp_path):
    code, _, told = run("game", "report", tmp_path / "none.sqlite")
    assert code == 1
    assert "none.sqlite" in told
    assert not (tmp_path / "none.sqlite").exists()
