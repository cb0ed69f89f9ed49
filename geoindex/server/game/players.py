"""Finished games -> how good people are: the mean over players with its interval, and the index beside them."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from geoindex.errors import EmptyDatasetError
from geoindex.evaluation.table1_report import spread
from geoindex.server.game.rounds import Card, card_of
from geoindex.server.game.store import Game

LEVEL = 0.95

PAPER_KM = 1219.8
"""Mean over the paper's eight players."""


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean over players.

    Attributes:
        value: the mean.
        low, high: ends of its 95 % interval (Student's t); None for one player, who says nothing of others.
    """

    value: float
    low: float | None
    high: float | None

    @classmethod
    def of(cls, values: Sequence[float]) -> "Mean":
        """Return the mean of one figure a player."""
        from scipy.stats import t

        mean, count = float(np.mean(values)), len(values)
        if count < 2:
            return cls(mean, None, None)
        reach = float(t.ppf((1.0 + LEVEL) / 2.0, count - 1) * np.std(values, ddof=1) / count**0.5)
        return cls(mean, mean - reach, mean + reach)

    def to_text(self, unit: str) -> str:
        """Return it for people."""
        sure = "" if self.low is None else f" (95 %: {self.low:,.1f} to {self.high:,.1f})"
        return f"{self.value:,.1f}{unit}{sure}"


@dataclass(frozen=True, slots=True)
class Player:
    """A player's first finished game.

    Attributes:
        name: of the player.
        card: what the game came to.
    """

    name: str
    card: Card


@dataclass(frozen=True, slots=True)
class PlayersReport:
    """How good people are on the photos of one deck.

    Attributes:
        photos: of the deck.
        players: those who finished, by rising mean distance.
        unfinished: games that were left.
        repeated: later games of the same players, which do not count.
        guess_km, guess_score: of players.
        answer_km, answer_score: of the index on the same photos.
        difference_km: player less index; below 0 people are nearer.
    """

    photos: int
    players: tuple[Player, ...]
    unfinished: int
    repeated: int
    guess_km: Mean
    guess_score: Mean
    answer_km: float
    answer_score: float
    difference_km: Mean

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON types."""
        return {"schema": 1, **asdict(self)}

    def to_text(self) -> str:
        """Return it for people; the last lines are the row of Table 1."""
        count = len(self.players)
        left = f"; {self.unfinished} unfinished and {self.repeated} repeated games do not count"
        lines = [f"{count} player{'s' * (count > 1)}, {self.photos} held-out photos{left}", ""]
        lines += [f"{'player':<40} {'mean km':>9} {'GeoScore':>9} {'nearer':>7}"]
        lines += [
            f"{p.name:<40} {p.card.guess_km:>9,.1f} {p.card.guess_score:>9,.0f} {p.card.nearer:>4}/{self.photos}"
            for p in self.players
        ]
        lines += ["", f"people    {self.guess_km.to_text(' km')}, GeoScore {self.guess_score.to_text('')}"]
        lines += [f"geoindex  {self.answer_km:,.1f} km, GeoScore {self.answer_score:,.1f}, on the same photos"]
        lines += [f"people less geoindex  {self.difference_km.to_text(' km')}", "", *self._table_row()]
        return "\n".join(lines)

    def _table_row(self) -> list[str]:
        """Return the human row of Table 1, with its heads."""
        km, score = ([getattr(p.card, name) for p in self.players] for name in ("guess_km", "guess_score"))
        head = f"| system | paper, 50: km | {self.photos}: km | GeoScore |"
        name = f"human, {len(self.players)} player{'s' * (len(self.players) > 1)}"
        return [head, "| --- | ---: | ---: | ---: |", f"| {name} | {PAPER_KM:,.1f} | {spread(km)} | {spread(score)} |"]


def report_players(games: Iterable[Game], deck: str | None = None) -> PlayersReport:
    """Say how good people are on one deck: of every player the first finished game counts.

    Args:
        games: oldest first.
        deck: key of the deck; None: the one with the most finished games.

    Raises:
        EmptyDatasetError: if no game was finished.
    """
    by_deck: dict[str, list[Game]] = {}
    for game in games:
        by_deck.setdefault(game.deck.key, []).append(game)
    chosen = by_deck.get(deck, []) if deck else max(by_deck.values(), key=_finished, default=[])
    firsts: dict[str, Game] = {}
    for game in chosen:
        if game.finished:
            firsts.setdefault(game.player.casefold(), game)
    if not firsts:
        raise EmptyDatasetError("No game was played to its end; start one at /play of 'geoindex serve'.")
    players = sorted((Player(g.player, card_of(g.rounds)) for g in firsts.values()), key=lambda p: p.card.guess_km)
    return _summed(players, chosen)


def _finished(games: Sequence[Game]) -> int:
    return sum(game.finished for game in games)


def _summed(players: Sequence[Player], games: Sequence[Game]) -> PlayersReport:
    cards, finished = [player.card for player in players], _finished(games)
    return PlayersReport(
        len(games[0].deck),
        tuple(players),
        unfinished=len(games) - finished,
        repeated=finished - len(players),
        guess_km=Mean.of([card.guess_km for card in cards]),
        guess_score=Mean.of([card.guess_score for card in cards]),
        answer_km=float(np.mean([card.answer_km for card in cards])),
        answer_score=float(np.mean([card.answer_score for card in cards])),
        difference_km=Mean.of([card.guess_km - card.answer_km for card in cards]),
    )
