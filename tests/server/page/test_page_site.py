import asyncio
from io import BytesIO

import pytest
from PIL import Image

import geoindex
from geoindex.server.engine import Engine
from geoindex.server.page.settings import PageSettings
from geoindex.server.page.site import Site
from geoindex.server.settings import ServerSettings


@pytest.fixture
def site(index_folder, tiny_encoder, tmp_path):
    index = geoindex.open_index(index_folder, encoder=tiny_encoder, follow=True)
    engine = Engine(index, ServerSettings(thumbnails=True))
    yield Site(engine, PageSettings(games=tmp_path / "games.sqlite", game_photos=4))
    engine.close()


def test_everybody_gets_the_same_photos(site):
    site.warm_up()
    deck = asyncio.run(site.deck())
    assert asyncio.run(site.deck()) is deck
    with Image.open(BytesIO(site.game_picture(deck, 1))) as photo:
        assert photo.format == "JPEG"


def test_a_photo_that_was_removed_is_shown_to_nobody(site):
    deck = asyncio.run(site.deck())
    site.engine.index.remove([deck.photos[0].id])
    assert site.game_picture(deck, 1) is None
    assert site.game_picture(deck, 2) is not None
    assert deck.photos[0] not in asyncio.run(site.deck()).photos
