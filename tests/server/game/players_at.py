"""Games for tests: photos at round degrees, and clicks that are so many degrees off."""

from geoindex.server.game.deck import Deck, Photo
from geoindex.server.game.rounds import Position, Round

DECK = Deck(tuple(Photo(f"p{n}", f"p{n}.jpg", 10.0 * n, 20.0 * n) for n in range(3)), "photos:/nowhere", {})


def played(number, off_deg, answer_off_deg=0.0, deck=DECK):
    """Return a round whose player and index click so many degrees north of the truth."""
    photo = deck.photos[number - 1]
    truth, guess, answer = (Position(photo.lat + off, photo.lon) for off in (0.0, off_deg, answer_off_deg))
    return Round(number, photo.id, truth, guess, answer, "000001")


def play(store, player, off_deg, *, rounds=3, answer_off_deg=0.0, deck=DECK):
    """Play a game to a round; return it."""
    game = store.start(player, deck)
    for number in range(1, rounds + 1):
        game = store.record(game.id, played(number, off_deg, answer_off_deg, deck))
    return game
