"""Games in a local SQLite file: many players at once, every round kept as soon as it is played."""

import json
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from geoindex.errors import ConfigError, StorageError
from geoindex.server.game.deck import Deck
from geoindex.server.game.rounds import Position, Round

SCHEMA_VERSION = 1
"""Version of the tables, kept as SQLite's user_version."""

LONGEST_NAME = 40
"""Letters of a player's name."""

WAIT_S = 10.0
"""How long a writer waits for another one."""

_SCHEMA = """
CREATE TABLE decks (key TEXT PRIMARY KEY, facts TEXT NOT NULL) STRICT;
CREATE TABLE games (
  id TEXT PRIMARY KEY, player TEXT NOT NULL, deck TEXT NOT NULL REFERENCES decks (key), started TEXT NOT NULL
) STRICT;
CREATE TABLE rounds (
  game TEXT NOT NULL REFERENCES games (id), number INTEGER NOT NULL, photo TEXT NOT NULL,
  lat REAL NOT NULL, lon REAL NOT NULL, guess_lat REAL NOT NULL, guess_lon REAL NOT NULL,
  answer_lat REAL NOT NULL, answer_lon REAL NOT NULL, generation TEXT NOT NULL, played TEXT NOT NULL,
  PRIMARY KEY (game, number)
) STRICT;
"""


@dataclass(frozen=True, slots=True)
class Game:
    """A game as far as it was played.

    Attributes:
        id: cannot be guessed; who has it can go on with the game.
        player: name.
        deck: the photos.
        started: ISO 8601, UTC.
        rounds: those played, in order.
    """

    id: str
    player: str
    deck: Deck
    started: str
    rounds: tuple[Round, ...]

    @property
    def finished(self) -> bool:
        """Whether every photo was played."""
        return len(self.rounds) == len(self.deck)


class GameStore:
    """The games of one file; usable from any thread and process."""

    def __init__(self, path: Path) -> None:
        """Open the file, or make it.

        Raises:
            StorageError: if it cannot be used, or a newer geoindex wrote it.
        """
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._connection() as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("BEGIN IMMEDIATE")
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version == 0:
                for statement in filter(str.strip, _SCHEMA.split(";")):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            elif version != SCHEMA_VERSION:
                raise StorageError(
                    f"'{path}' holds games of version {version}, this geoindex reads {SCHEMA_VERSION}; "
                    "use the geoindex that wrote it, or name another file."
                )

    def start(self, player: str, deck: Deck) -> Game:
        """Begin a game.

        Raises:
            ConfigError: if the player has no name.
        """
        name = " ".join(player.split())[:LONGEST_NAME]
        if not name:
            raise ConfigError("The player has no name; give one, to tell the games apart.")
        game = Game(secrets.token_urlsafe(12), name, deck, _now(), ())
        with self._writing() as connection:
            connection.execute("INSERT OR IGNORE INTO decks VALUES (?, ?)", (deck.key, json.dumps(deck.to_dict())))
            connection.execute("INSERT INTO games VALUES (?, ?, ?, ?)", (game.id, name, deck.key, game.started))
        return game

    def game(self, id: str) -> Game:
        """Return a game as far as it was played.

        Raises:
            ConfigError: if there is none of this id.
        """
        with self._connection() as connection:
            for game in _games(connection, "WHERE games.id = ?", (id,)):
                return game
        raise ConfigError(f"No game {id!r}; start a new one.")

    def games(self) -> list[Game]:
        """Return all games, oldest first."""
        with self._connection() as connection:
            return list(_games(connection, "", ()))

    def record(self, id: str, played: Round) -> Game:
        """Keep a round, for good: the first click counts.

        Raises:
            ConfigError: if there is no such game, or it is not this round's turn.
        """
        with self._writing() as connection:
            done = connection.execute("SELECT count(*) FROM rounds WHERE game = ?", (id,)).fetchone()[0]
            if played.number != done + 1:
                raise ConfigError(
                    f"Round {played.number} was played already, or is not due; it is the turn of {done + 1}."
                )
            connection.execute(f"INSERT INTO rounds VALUES ({', '.join('?' * 11)})", (id, *_row(played), _now()))
        return self.game(id)

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """Hold the file for one change, which is there whole or not at all."""
        with self._connection() as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield connection

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(self.path, timeout=WAIT_S)) as connection, connection:
                connection.execute("PRAGMA foreign_keys = ON")
                yield connection
        except sqlite3.IntegrityError as error:
            raise ConfigError(f"'{self.path}' has no such game, or has the round already ({error}).") from error
        except sqlite3.Error as error:
            raise StorageError(f"The games in '{self.path}' cannot be used ({error}); name another file.") from error


def _games(connection: sqlite3.Connection, where: str, values: tuple[str, ...]) -> Iterator[Game]:
    joined = "SELECT games.id, player, facts, started FROM games JOIN decks ON decks.key = games.deck"
    found = connection.execute(f"{joined} {where} ORDER BY started, games.rowid", values).fetchall()
    for id, player, facts, started in found:
        played = connection.execute("SELECT * FROM rounds WHERE game = ? ORDER BY number", (id,))
        rounds = tuple(_round(*row[1:-1]) for row in played)
        yield Game(id, player, Deck.from_dict(json.loads(facts)), started, rounds)


def _row(played: Round) -> tuple[int | str | float, ...]:
    places = (played.truth, played.guess, played.answer)
    degrees = [degree for place in places for degree in (place.lat, place.lon)]
    return played.number, played.photo, *degrees, played.generation


def _round(number: int, photo: str, *rest: float | str) -> Round:
    *degrees, generation = rest
    truth, guess, answer = (
        Position(float(lat), float(lon)) for lat, lon in zip(degrees[::2], degrees[1::2], strict=True)
    )
    return Round(number, photo, truth, guess, answer, str(generation))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
