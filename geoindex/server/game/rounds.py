"""Rounds of a game and what they add up to: the player beside the index, photo by photo."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from geoindex.geo import check_position, haversine_km
from geoindex.metrics import geoscore


@dataclass(frozen=True, slots=True)
class Position:
    """A position on Earth in degrees.

    Raises:
        CoordinateError: if it is not on Earth.
    """

    lat: float
    lon: float

    def __post_init__(self) -> None:
        check_position(self.lat, self.lon)

    def distance_km(self, other: "Position") -> float:
        """Return the distance to another position."""
        return float(haversine_km(self.lat, self.lon, other.lat, other.lon))


@dataclass(frozen=True, slots=True)
class Round:
    """One photo: where it was taken, and where the player and the index say.

    Attributes:
        number: from 1.
        photo: id of the image in the index.
        truth, guess, answer: positions of the photo, of the player's click, and of the index's answer.
        generation: of the index that answered.
    """

    number: int
    photo: str
    truth: Position
    guess: Position
    answer: Position
    generation: str = ""

    @property
    def guess_km(self) -> float:
        """How far off the player is."""
        return self.guess.distance_km(self.truth)

    @property
    def answer_km(self) -> float:
        """How far off the index is."""
        return self.answer.distance_km(self.truth)

    @property
    def guess_score(self) -> float:
        """GeoScore of the player, 0 to 5000."""
        return float(geoscore(self.guess_km))

    @property
    def answer_score(self) -> float:
        """GeoScore of the index, 0 to 5000."""
        return float(geoscore(self.answer_km))


@dataclass(frozen=True, slots=True)
class Card:
    """What a game comes to.

    Attributes:
        rounds: number of photos.
        guess_km, answer_km: mean distance from the truth of the player and of the index.
        guess_score, answer_score: mean GeoScore of both.
        nearer: photos for which the player is nearer than the index.
    """

    rounds: int
    guess_km: float
    answer_km: float
    guess_score: float
    answer_score: float
    nearer: int


def card_of(rounds: Sequence[Round]) -> Card:
    """Add up one round or more."""
    names = ("guess_km", "answer_km", "guess_score", "answer_score")
    means = {name: float(np.mean([getattr(each, name) for each in rounds])) for name in names}
    return Card(len(rounds), **means, nearer=sum(each.guess_km < each.answer_km for each in rounds))
