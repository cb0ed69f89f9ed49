"""Rounds of the game as layers of the page's map."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoindex.figures.worldmap import unrolled, way
from geoindex.server.game.rounds import Position, Round

ROOM_DEG = 3.0
"""Degrees around what a view shows."""

WAY_POINTS = 64


def round_layers(played: Round) -> dict[str, Any]:
    """Return what the map draws of a round, as plain JSON types."""
    spots = {"truth": (played.truth, "truth"), "answer": (played.answer, "geoindex"), "guess": (played.guess, "you")}
    lines = {kind: _way(spots[kind][0], played.truth) for kind in ("guess", "answer")}
    lats, lons = np.concatenate(list(lines.values())).T
    return {
        "marks": [_mark(kind, place, text) for kind, (place, text) in spots.items()],
        "lines": [{"kind": kind, "line": line.tolist()} for kind, line in lines.items()],
        "view": [[lats.min() - ROOM_DEG, lons.min() - ROOM_DEG], [lats.max() + ROOM_DEG, lons.max() + ROOM_DEG]],
    }


def card_layers(rounds: Sequence[Round]) -> dict[str, Any]:
    """Return what the map draws of a whole game: where photos were, and how far off the player was."""
    ways = [_way(played.guess, played.truth).tolist() for played in rounds]
    marks = [_mark(kind, getattr(played, kind), "") for played in rounds for kind in ("guess", "truth")]
    return {"marks": marks, "lines": [{"kind": "guess", "line": line} for line in ways]}


def _way(start: Position, truth: Position) -> NDArray[np.float64]:
    """Return the shortest way, (K, 2) degrees (lat, lon), without a jump; it ends at the truth's own longitude."""
    line = unrolled(way(start.lat, start.lon, truth.lat, truth.lon, WAY_POINTS))
    line[:, 1] += truth.lon - line[-1, 1]
    return line


def _mark(kind: str, place: Position, text: str) -> dict[str, Any]:
    return {"kind": kind, "lat": place.lat, "lon": place.lon, "text": text}
