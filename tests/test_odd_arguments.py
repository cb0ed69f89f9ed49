"""What is no path, source, list or image, from Python: one sentence, and never the error of a library."""

import numpy as np
import pytest

import geoindex
from geoindex.errors import ConfigError, UnreadableImageError
from geoindex.integrity import verify_index
from geoindex.repair import repair_index
from geoindex.store.history import list_generations
from geoindex.updates.compaction import compact_index
from geoindex.updates.removing import remove_images
from geoindex.updates.rollback import roll_back


@pytest.mark.parametrize("place", [5, b"x", "a\0b", ["x"], 1.5])
def test_what_is_no_path_is_no_place_of_an_index(place, tmp_path):
    for ask in (geoindex.open_index, verify_index, lambda place: geoindex.build_index("planted:200", out=place)):
        with pytest.raises(ConfigError, match="path") as refusal:
            ask(place)
        assert repr(place) in str(refusal.value)
        assert str(refusal.value).count(". ") == 0


@pytest.mark.parametrize("source", [None, 5, b"planted:200", "a\0b", ["planted:200"]])
def test_what_is_no_path_is_no_source(source, index_folder, tmp_path):
    with pytest.raises(ConfigError, match=r"^The source is"):
        geoindex.build_index(source, out=tmp_path / "out")
    with pytest.raises(ConfigError, match=r"^The source is"):
        geoindex.open_index(index_folder).add(source)
    assert not (tmp_path / "out").exists()


def test_a_tensor_without_values_is_no_image(index):
    import torch

    pixels = torch.zeros((3, 32, 32), dtype=torch.uint8)
    for tensor in (pixels.to("meta"), pixels.to_sparse()):
        with pytest.raises(UnreadableImageError, match=r"its values cannot be read from '(meta|cpu)'"):
            index.query_image(tensor)
    assert index.query_image(pixels).lat == index.query_image(np.zeros((32, 32, 3), np.uint8)).lat


@pytest.mark.parametrize("image", [None, 5, object()])
def test_what_is_no_image(index, image):
    with pytest.raises(UnreadableImageError):
        index.query_image(image)


def test_what_is_no_path_is_no_index_to_change():
    for change in (remove_images, repair_index, list_generations, roll_back, compact_index):
        arguments = [["a"]] if change is remove_images else []
        with pytest.raises(ConfigError, match=r"^The path is 5, which is neither text nor a path"):
            change(5, *arguments)
