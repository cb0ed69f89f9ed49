"""Tables whose images lie anywhere below a folder, and which image a row means."""

import pytest
from tiles import save_tile

from geoindex.errors import EmptyDatasetError
from geoindex.sources.image_names import ImageNames
from geoindex.sources.listed import AMBIGUOUS, NO_FILE, ListedSource


def scan(folder, files, ids):
    for path in files:
        save_tile(folder / "images" / path, 1, 2)
    (folder / "t.csv").write_text("\n".join(["id,lat,lon", *(f"{id},1,2" for id in ids)]) + "\n")
    return ListedSource(folder / "images", folder / "t.csv").scan()


def test_equal_names_in_different_folders_are_different_images(tmp_path):
    names = [f"{city}/{number}.jpg" for city in ("paris", "tokyo") for number in range(3)]
    for above in ("", "deeper/"):
        found = scan(tmp_path / f"x{above}", [above + name for name in names], names)
        assert found.samples.ids == names
        assert found.samples.images == [above + name for name in names]
        assert not found.left_out.total


@pytest.mark.parametrize(
    ("files", "id", "image"),
    [
        (["0.jpg", "a/0.jpg"], "0.jpg", "0.jpg"),
        (["a/0.jpg", "b/a/0.jpg", "0.jpg"], "a/0.jpg", "a/0.jpg"),
        (["x/a/0.jpg", "b/0.jpg"], "a/0", "x/a/0.jpg"),
        (["x/a/0.jpg", "x/b/0.jpg"], r"z\b\0.jpg", "x/b/0.jpg"),
        (["a/0.jpg", "a/0.png"], "a/0.png", "a/0.png"),
        (["a_0.jpg", "a/0.jpg"], "a/0.jpg", "a/0.jpg"),
        (["x/a_0.jpg", "b/0.jpg"], "a/0.jpg", "x/a_0.jpg"),
        (["x/a@b.jpg", "x/a_b.jpg"], "a@b.jpg", "x/a@b.jpg"),
        (["b/0.jpg"], "a/0.jpg", "b/0.jpg"),
        (["a/0.jpg", "b/0.jpg"], "0.jpg", None),
        (["a/0.jpg", "a/0.png"], "0", None),
        (["a/0.jpg", "b/0.jpg"], "c/0.jpg", None),
    ],
)
def test_the_longest_equal_end_of_a_path_is_meant(tmp_path, files, id, image):
    found = scan(tmp_path, [*files, "other.jpg"], [id, "other.jpg"])
    assert found.samples.images == [path for path in (image, "other.jpg") if path]
    assert found.left_out.counts == ({} if image else {AMBIGUOUS: 1})


def test_an_image_is_given_to_one_row(tmp_path):
    found = scan(
        tmp_path, ["tokyo/0.jpg", "x/1.jpg"], ["paris/0.jpg", "tokyo/0.jpg", "paris/1.jpg", "tokyo/1.jpg", "2"]
    )
    assert (found.samples.ids, found.samples.images) == (["tokyo/0.jpg"], ["tokyo/0.jpg"])
    assert found.left_out.examples == {AMBIGUOUS: ["paris/0.jpg", "paris/1.jpg", "tokyo/1.jpg"], NO_FILE: ["2"]}


def test_nothing_but_equal_names_is_refused(tmp_path):
    with pytest.raises(EmptyDatasetError, match=r"1 x its image cannot .*; name a folder that has each image once"):
        scan(tmp_path, ["a/0.jpg", "b/0.jpg"], ["0.jpg"])


def test_many_equal_names_are_told_apart_in_good_time():
    paths = [f"{number:05}/0.jpg" for number in range(50_000)]
    images, unclear = ImageNames([f"0/{path[:5]}/" for path in paths], paths).locate([f"x{path}" for path in paths])
    assert set(images) == {None}
    assert all(unclear)
