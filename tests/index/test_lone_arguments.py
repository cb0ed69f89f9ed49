"""One thing where several are asked for: it is refused, and never taken apart."""

import numpy as np
import pytest
from PIL import Image

import geoindex
from geoindex.errors import ConfigError
from geoindex.store.generations import IndexFolder


@pytest.mark.parametrize("ids", ["13", b"13", bytearray(b"13"), None, 5, [5], ["a", None]])
def test_what_is_no_list_of_ids_removes_nothing(index_folder, ids):
    opened = geoindex.open_index(index_folder)
    with pytest.raises(ConfigError, match=r"list|quotes"):
        opened.remove(ids)
    assert IndexFolder(index_folder).names() == ["000001"]
    assert not IndexFolder(index_folder).tombstones_path.exists()


def test_the_refusal_of_a_lone_id_shows_the_call_that_is_meant(index_folder):
    with pytest.raises(ConfigError, match=r"give a list: remove\(\['13'\]\)\.$"):
        geoindex.open_index(index_folder).remove("13")


def lone_images(photo):
    pixels = np.zeros((8, 8, 3), np.uint8)
    return [str(photo), photo, b"bytes", pixels, Image.fromarray(pixels), photo.open("rb"), None, 5]


def test_a_lone_image_is_refused_at_the_call(index, photo):
    for lone in lone_images(photo):
        with pytest.raises(ConfigError, match="list"):
            index.query_images(lone)
        with pytest.raises(ConfigError, match="list"):
            index.query_views(lone)
        if hasattr(lone, "close"):
            lone.close()


def test_a_stack_of_pixels_is_several_images(index):
    assert len(list(index.query_images(np.zeros((2, 32, 32, 3), np.uint8)))) == 2
