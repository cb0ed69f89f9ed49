import shutil
from io import BytesIO

import pytest
from PIL import Image
from tiles import build, world_rows, write_world

import geoindex
from geoindex.errors import ConfigError, EmptyDatasetError
from geoindex.server.game.deck import Deck, draw_deck, picture_of
from geoindex.store.generations import IndexFolder
from geoindex.store.images import stored_images


def held_out(index):
    images = stored_images(IndexFolder(index.path), index.manifest.tables["images"])
    return set(images.facts["id"].take(images.rows("test")).to_pylist())


def test_photos_are_held_out_and_the_same_for_everybody(index):
    deck = draw_deck(index, 5)
    assert deck == draw_deck(index, 5)
    assert len(deck) == 5
    assert {photo.id for photo in deck.photos} < held_out(index)


def test_another_seed_is_another_deck(index):
    assert draw_deck(index, 5, seed=1).key != draw_deck(index, 5).key


def test_a_split_with_fewer_photos_gives_what_it_has(index):
    assert {photo.id for photo in draw_deck(index, 1000).photos} == held_out(index)


def test_a_deck_comes_back_from_json(index):
    deck = draw_deck(index, 3)
    assert Deck.from_dict(deck.to_dict()) == deck


def test_no_photo_no_game(index):
    with pytest.raises(ConfigError, match="at least 1"):
        draw_deck(index, 0)


def test_photos_that_are_gone_are_told(tmp_path, tiny_encoder):
    table = write_world(tmp_path / "world", world_rows())
    path = build(table, tmp_path / "index").path
    shutil.rmtree(tmp_path / "world")
    with pytest.raises(EmptyDatasetError, match="hands out"):
        draw_deck(geoindex.open_index(path, encoder=tiny_encoder), 3)


def test_what_a_file_says_of_its_place_is_not_shown(index):
    """A picture is new: no EXIF with a position, no comment."""
    deck = draw_deck(index, 1)
    pictures = deck.pictures()
    told = Image.Exif()
    told.get_ifd(0x8825).update({1: "N", 2: (52.0, 0.0, 0.0), 3: "E", 4: (5.0, 0.0, 0.0)})
    path = pictures.source.read(deck.photos[0].image)
    with Image.open(path) as photo:
        spoken = BytesIO()
        photo.convert("RGB").save(spoken, "JPEG", exif=told, comment=b"taken in Utrecht")

    class Spoken:
        def read(self, image):
            return spoken.getvalue()

    shown = picture_of(type(pictures)(Spoken()), deck.photos[0])
    assert b"Utrecht" in spoken.getvalue()
    assert b"Utrecht" not in shown
    with Image.open(BytesIO(shown)) as photo:
        assert not photo.getexif()
