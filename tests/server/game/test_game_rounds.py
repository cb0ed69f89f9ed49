import pytest
from players_at import played

from geoindex.errors import CoordinateError
from geoindex.server.game.rounds import Position, card_of


def test_a_click_on_the_spot_is_worth_five_thousand():
    spot = played(1, 0.0, 90.0)
    assert (spot.guess_km, spot.guess_score) == (0.0, 5000.0)
    assert spot.answer_km == pytest.approx(10007.56, abs=0.1)


def test_geoscore_falls_by_e_in_1492_7_km():
    degrees = 1492.7 / 111.195080
    assert played(1, degrees).guess_score == pytest.approx(5000.0 / 2.718281828, rel=1e-5)


def test_the_card_adds_up_player_and_index():
    card = card_of([played(1, 1.0, 2.0), played(2, 3.0, 2.0)])
    assert card.guess_km == pytest.approx(2 * 111.19508, rel=1e-6)
    assert card.answer_km == pytest.approx(2 * 111.19508, rel=1e-6)
    assert (card.rounds, card.nearer) == (2, 1)


@pytest.mark.parametrize(("lat", "lon"), [(91.0, 0.0), (0.0, 200.0), (float("nan"), 0.0)])
def test_a_click_beside_the_earth_is_refused(lat, lon):
    with pytest.raises(CoordinateError):
        Position(lat, lon)
