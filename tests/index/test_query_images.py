"""Any number of photos, decoded while others are encoded."""

import threading
from pathlib import Path

import pytest
from PIL.ImageFile import ImageFile
from tiles import HUBS, OTHER_ENCODER, PHOTOS, build, error_km

import geoindex
from geoindex.errors import UnreadableImageError
from geoindex.lookahead import BATCHES_AHEAD
from geoindex.prediction import Prediction
from geoindex.querying import BATCH_IMAGES
from geoindex.updates.removing import remove_images

STEPS = ["decode", "prepare", "encode", "project", "search", "answer"]
MANY = [PHOTOS[i % 8] for i in range(4 * BATCH_IMAGES)]


def reading(images, read):
    for image in images:
        read.append(image)
        yield image


def test_photos_are_read_as_answers_are_asked_for(index):
    read = []
    answers = index.query_images(reading(MANY, read))
    assert read == []
    for count in (1, BATCH_IMAGES):
        for _ in range(count):
            next(answers)
        assert len(read) == (1 + count // BATCH_IMAGES + BATCHES_AHEAD) * BATCH_IMAGES
    answers.close()


def test_closing_early_leaves_no_thread(index):
    before = set(threading.enumerate())
    answers = index.query_images(iter(MANY))
    next(answers)
    answers.close()
    assert set(threading.enumerate()) <= before


def test_the_answers_before_an_unreadable_photo_are_given(index):
    answers, given = index.query_images([*MANY[:40], b"none", *MANY]), []
    with pytest.raises(UnreadableImageError, match="4 bytes"):
        given.extend(answers)
    assert len(given) == 40
    assert next(answers, None) is None


def test_an_error_of_whoever_gives_the_photos_comes_after_their_answers(index):
    def images():
        yield from MANY[:37]
        raise OSError("the camera is gone")

    given = []
    with pytest.raises(OSError, match="the camera is gone"):
        given.extend(index.query_images(images(), on_error="return"))
    assert [type(answer) for answer in given] == [Prediction] * 37


def test_an_error_of_ours_is_no_unreadable_photo(index, monkeypatch):
    def broken(image):
        raise ZeroDivisionError

    monkeypatch.setattr(index.encoder, "prepare", broken)
    with pytest.raises(ZeroDivisionError):
        list(index.query_images(PHOTOS, on_error="return"))


def test_errors_stand_in_their_places_across_batches(index):
    images = list(MANY)
    bad = {0, 31, 32, 50, *range(64, 96)}
    for place in bad:
        images[place] = b"none"
    answers = list(index.query_images(iter(images), on_error="return"))
    assert {i for i, answer in enumerate(answers) if isinstance(answer, UnreadableImageError)} == bad
    for place, answer in enumerate(answers):
        assert place in bad or error_km(answer, list(HUBS.values())[place % 8]) < 500


def test_each_step_has_its_time(index):
    for answer in (index.query_image(PHOTOS[0]), index.query_views(PHOTOS[:2]), *index.query_images(PHOTOS[:2])):
        assert list(answer.timings_ms) == STEPS
        assert all(value >= 0 for value in answer.timings_ms.values())


def test_a_photo_is_decoded_once_from_one_reading_of_its_file(index, photo, monkeypatch):
    opened, decoded = [], []
    open_path, prepare = Path.open, ImageFile.load_prepare
    monkeypatch.setattr(Path, "open", lambda self, *a, **k: (opened.append(self), open_path(self, *a, **k))[1])
    monkeypatch.setattr(ImageFile, "load_prepare", lambda self: (decoded.append(self), prepare(self))[1])
    assert error_km(index.query_image(photo), HUBS["nl"]) < 500
    assert (opened.count(photo), len(decoded)) == (1, 1)


class TestGenerations:
    """Photos that were read ahead when another generation went live."""

    @pytest.fixture
    def read_ahead(self, index_folder):
        """An index that follows, a generator of its answers whose first batch is given, and the folder."""
        index = geoindex.open_index(index_folder, device="cpu", follow=True)
        answers = index.query_images(iter(MANY))
        first = [next(answers) for _ in range(BATCH_IMAGES)]
        assert {answer.generation for answer in first} == {"000001"}
        return answers

    def test_they_are_answered_by_the_new_one_if_its_encoder_is_the_same(self, index_folder, read_ahead):
        geoindex.rebuild_index(index_folder)
        assert {answer.generation for answer in read_ahead} == {"000002"}

    def test_they_are_answered_by_the_old_one_if_its_encoder_is_another(self, index_folder, world, read_ahead):
        build(world, index_folder, encoder=OTHER_ENCODER.replace("embed_dim=32", "embed_dim=48"))
        rest = list(read_ahead)
        ahead = BATCHES_AHEAD * BATCH_IMAGES
        assert {answer.generation for answer in rest[:ahead]} == {"000001"}
        assert {answer.generation for answer in rest[ahead:]} == {"000002"}
        assert all(error_km(a, hub) < 500 for a, hub in zip(rest, [*HUBS.values()] * 12, strict=True))

    @pytest.mark.parametrize("other_encoder", [False, True])
    def test_what_was_removed_meanwhile_is_in_no_answer(self, index_folder, world, read_ahead, other_encoder):
        named = {e.id for answer in geoindex.open_index(index_folder).query_images(PHOTOS) for e in answer.evidence}
        if other_encoder:
            build(world, index_folder, encoder=OTHER_ENCODER)
        remove_images(index_folder, named)
        assert named
        assert not named & {e.id for answer in read_ahead for e in answer.evidence}
