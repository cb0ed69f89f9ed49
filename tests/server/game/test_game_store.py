import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from players_at import DECK, play, played

from geoindex.errors import ConfigError, StorageError
from geoindex.server.game.store import LONGEST_NAME, GameStore


@pytest.fixture
def store(tmp_path):
    return GameStore(tmp_path / "games.sqlite")


def test_a_game_that_was_left_goes_on_where_it_was(store):
    begun = play(store, "Ada", 1.0, rounds=2)
    again = GameStore(store.path).game(begun.id)
    assert again == begun
    assert (again.player, len(again.rounds), again.finished, again.deck) == ("Ada", 2, False, DECK)
    assert store.record(begun.id, played(3, 1.0)).finished


def test_rounds_come_back_as_they_were_played(store):
    game = play(store, "Ada", 1.5, answer_off_deg=-0.25)
    assert game.rounds == tuple(played(n, 1.5, -0.25) for n in (1, 2, 3))


@pytest.mark.parametrize("number", [1, 2, 4])
def test_the_first_click_counts_and_no_round_is_skipped(store, number):
    game = play(store, "Ada", 1.0, rounds=2)
    with pytest.raises(ConfigError, match="turn of 3"):
        store.record(game.id, played(min(number, 3), 9.0) if number < 4 else _fourth())
    assert len(store.game(game.id).rounds) == 2


def _fourth():
    last = played(3, 0.0)
    return type(last)(4, last.photo, last.truth, last.guess, last.answer)


def test_players_may_play_at_once(store):
    """Eight players, each with an open file of his own; no round is lost, none counts twice."""
    barrier = threading.Barrier(8)

    def one(number):
        own = GameStore(store.path)
        barrier.wait()
        return play(own, f"player {number}", float(number)).id

    with ThreadPoolExecutor(8) as pool:
        ids = list(pool.map(one, range(8)))
    games = {game.id: game for game in store.games()}
    assert set(games) == set(ids)
    assert all(game.finished for game in games.values())


def test_of_two_clicks_at_once_one_counts(store):
    game = store.start("Ada", DECK)
    barrier = threading.Barrier(2)

    def click(off):
        barrier.wait()
        try:
            store.record(game.id, played(1, off))
        except ConfigError:
            return None
        return off

    with ThreadPoolExecutor(2) as pool:
        kept = [off for off in pool.map(click, (1.0, 2.0)) if off is not None]
    (only,) = store.game(game.id).rounds
    assert [only] == [played(1, off) for off in kept]


def test_a_name_is_needed_and_cut(store):
    with pytest.raises(ConfigError, match="name"):
        store.start("  \n ", DECK)
    assert store.start("  Ada   Lovelace ", DECK).player == "Ada Lovelace"
    assert len(store.start("x" * 500, DECK).player) == LONGEST_NAME


def test_ids_are_not_guessed(store):
    assert len({store.start("Ada", DECK).id for _ in range(20)}) == 20
    with pytest.raises(ConfigError, match="No game"):
        store.game("1")


def test_a_round_of_no_game_is_refused(store):
    with pytest.raises(ConfigError, match="no such game"):
        store.record("nobody", played(1, 0.0))


def test_a_newer_file_is_refused(store):
    with sqlite3.connect(store.path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(StorageError, match="version 99"):
        GameStore(store.path)


def test_what_is_no_file_of_games_is_refused(tmp_path):
    path = tmp_path / "games.sqlite"
    path.write_bytes(b"no database" * 100)
    with pytest.raises(StorageError, match="name another file"):
        GameStore(path)
