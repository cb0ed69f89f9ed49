"""Rounds and cards of the game as HTML of the page. What comes from outside is escaped."""

from collections.abc import Sequence
from html import escape

from geoindex.presentation import distance_text
from geoindex.server.game.rounds import Card, Round


def render_round(played: Round, places: tuple[str, str, str]) -> str:
    """Return what came of one photo.

    Args:
        played: the round.
        places: nearest named places of the truth, of the player's click and of the index's answer.
    """
    won = played.guess_km < played.answer_km
    lead = "You are nearer" if won else "geoindex is nearer"
    truth, guess, answer = map(escape, places)
    rows = _row("you", guess, played.guess_km, played.guess_score, won)
    rows += _row("geoindex", answer, played.answer_km, played.answer_score, not won)
    return (
        f'<div class="stack" role="status"><p class="lead">{lead}</p><p>Where it was taken: <b>{truth}</b></p>'
        f"{_table(('', 'away', 'GeoScore'), rows)}</div>"
    )


def render_card(card: Card, player: str) -> str:
    """Return what a game comes to."""
    won = card.guess_km < card.answer_km
    lead = f"{player}, you were nearer on average" if won else f"geoindex was nearer on average, {player}"
    rows = _row("you", "", card.guess_km, card.guess_score, won)
    rows += _row("geoindex", "", card.answer_km, card.answer_score, not won)
    nearer = f"You were nearer on {card.nearer} of {card.rounds} photos."
    return (
        f'<div class="stack" role="status"><p class="lead">{escape(lead)}</p><p>{nearer}</p>'
        f"{_table(('', 'mean distance', 'mean GeoScore'), rows)}</div>"
    )


def render_rounds(rounds: Sequence[Round]) -> str:
    """Return the distances of every photo."""
    rows = "".join(
        f"<tr><th scope=row>{played.number}</th>{_far(played.guess_km, played.guess_km < played.answer_km)}"
        f"{_far(played.answer_km, played.answer_km <= played.guess_km)}</tr>"
        for played in rounds
    )
    return _table(("photo", "you", "geoindex"), rows)


def _far(distance_km: float, best: bool) -> str:
    return f"<td{' class=best' * best}>{distance_text(distance_km)}</td>"


def _table(heads: tuple[str, ...], rows: str) -> str:
    cells = "".join(f"<th scope=col>{head}</th>" if head else "<td></td>" for head in heads)
    return f'<table class="score"><thead><tr>{cells}</tr></thead><tbody>{rows}</tbody></table>'


def _row(who: str, place: str, distance_km: float, score: float, best: bool) -> str:
    near = f"<small>{place}</small>" if place else ""
    mark = ' class="best"' if best else ""
    return f"<tr{mark}><th scope=row>{who}{near}</th><td>{distance_text(distance_km)}</td><td>{score:,.0f}</td></tr>"
