"""Names on the command line -> images."""

import errno
import io
import os
from types import SimpleNamespace

import pytest

from geoindex.errors import UnreadableImageError
from geoindex.inputs import expand_inputs


@pytest.fixture
def trip(tmp_path):
    for name in ("b.jpg", "a.JPG", "notes.txt", "deep/c.png", "odd[1].jpg"):
        path = tmp_path / "trip" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return tmp_path / "trip"


def names(inputs, folder):
    return [item.image.relative_to(folder).as_posix() for item in inputs]


def test_a_file_stands_for_itself_even_if_it_is_missing(trip):
    (item,) = expand_inputs([str(trip / "gone.jpg")])
    assert (item.name, item.image) == (str(trip / "gone.jpg"), trip / "gone.jpg")


def test_a_folder_stands_for_its_images_in_order(trip):
    assert names(expand_inputs([str(trip)]), trip) == ["a.JPG", "b.jpg", "deep/c.png", "odd[1].jpg"]


def test_hidden_files_of_a_folder_are_no_photos(trip):
    for name in ("._a.jpg", ".thumbnails/t.jpg"):
        (trip / name).parent.mkdir(exist_ok=True)
        (trip / name).write_bytes(b"x")
    assert names(expand_inputs([str(trip)]), trip) == ["a.JPG", "b.jpg", "deep/c.png", "odd[1].jpg"]
    assert names(expand_inputs([str(trip / "._a.jpg")]), trip) == ["._a.jpg"]


def test_a_pattern_stands_for_what_fits(trip):
    assert names(expand_inputs([str(trip / "*.jpg")]), trip) == ["b.jpg", "odd[1].jpg"]
    assert names(expand_inputs([str(trip / "**/*.png")]), trip) == ["deep/c.png"]


def test_a_name_with_brackets_that_is_there_is_no_pattern(trip):
    assert names(expand_inputs([str(trip / "odd[1].jpg")]), trip) == ["odd[1].jpg"]


def test_the_order_of_the_names_is_kept(trip):
    inputs = expand_inputs([str(trip / "b.jpg"), str(trip / "deep"), str(trip / "a.JPG")])
    assert names(inputs, trip) == ["b.jpg", "deep/c.png", "a.JPG"]


def test_a_dash_is_stdin(monkeypatch):
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(b"photo")))
    (item,) = expand_inputs(["-"])
    assert (item.name, item.image) == ("stdin", b"photo")


@pytest.mark.parametrize(("name", "reason"), [("*.webp", "no file fits"), ("empty", "this folder holds no photo")])
def test_a_folder_or_pattern_without_images_is_an_error_in_its_place(trip, name, reason):
    (trip / "empty").mkdir()
    first, second, third = expand_inputs([str(trip / "b.jpg"), str(trip / name), str(trip / "a.JPG")])
    assert (first.image, third.image) == (trip / "b.jpg", trip / "a.JPG")
    assert second.name == str(trip / name)
    assert isinstance(second.image, UnreadableImageError)
    assert reason in str(second.image)


def test_a_folder_that_cannot_be_read_is_named(trip, monkeypatch):
    def scandir(path, scandir=os.scandir):
        if os.fspath(path).endswith("deep"):
            raise PermissionError(errno.EACCES, "Permission denied", os.fspath(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", scandir)
    *photos, closed = expand_inputs([str(trip)])
    assert names(photos, trip) == ["a.JPG", "b.jpg", "odd[1].jpg"]
    assert str(closed.image) == f"Cannot read image '{trip / 'deep'}': permission to read this folder was denied."


def test_a_name_that_the_system_refuses_stands_for_itself():
    assert [item.name for item in expand_inputs(["x" * 5000, "a\0b"])] == ["x" * 5000, "a\0b"]
