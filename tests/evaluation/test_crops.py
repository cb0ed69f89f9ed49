"""Crops: where they lie, and that they ask with the mean of their embeddings."""

import numpy as np
import pytest
from PIL import Image
from tiles import world_rows, write_world

from geoindex.encoder.preprocessing import Preprocessing
from geoindex.encoder.projection import mean_direction
from geoindex.errors import ConfigError
from geoindex.evaluation.crops import CROPS, MARGIN
from geoindex.evaluation.protocol import evaluate
from geoindex.evaluation.queries import queries_from
from geoindex.images import load_image

WANTED = Preprocessing(size=28, mean=(0.5,) * 3, std=(0.5,) * 3, crop_pct=0.875)


@pytest.fixture
def photo():
    """A wide photo that is red to the left, blue to the right, and brighter to the bottom."""
    x, y = np.meshgrid(np.linspace(0, 1, 160), np.linspace(0, 1, 80))
    return Image.fromarray((255 * np.stack([1 - x, y, x], axis=2)).astype(np.uint8))


def middles(views):
    """Return red and green in the middle of each crop, 0 to 1: how far right it lies, and how far down."""
    values = np.array([view[:, 14, 14] for view in views]) / 255
    return 1 - values[:, 0], values[:, 1]


def test_shapes(photo):
    for name, count in {"centre": 1, "three": 3, "five": 5, "ten": 10}.items():
        for image in (photo, photo.rotate(90, expand=True), photo.resize((20, 20))):
            views = CROPS[name](image, WANTED)
            assert [(view.shape, view.dtype) for view in views] == [((3, 28, 28), np.uint8)] * count


def test_centre_is_what_the_encoder_always_sees(photo):
    np.testing.assert_array_equal(CROPS["centre"](photo, WANTED)[0], WANTED.apply(photo))


def test_three_lie_along_the_longer_side(photo):
    right, down = middles(CROPS["three"](photo, WANTED))
    assert right == pytest.approx([0.25, 0.5, 0.75], abs=0.04)
    assert down == pytest.approx([0.5] * 3, abs=0.04)
    right, down = middles(CROPS["three"](photo.transpose(Image.Transpose.ROTATE_270), WANTED))
    assert len(set(np.round(down, 1))) == 1  # green runs along the other side now
    assert len(set(np.round(right, 1))) == 3


def test_five_lie_at_the_corners_and_in_the_middle(photo):
    right, down = middles(CROPS["five"](photo, WANTED))
    edge = 0.25 / MARGIN
    assert right == pytest.approx([edge, 1 - edge, edge, 1 - edge, 0.5], abs=0.04)
    low = 0.5 / MARGIN
    assert down == pytest.approx([low, low, 1 - low, 1 - low, 0.5], abs=0.04)


def test_ten_are_five_and_their_mirror_images(photo):
    ten, five = CROPS["ten"](photo, WANTED), CROPS["five"](photo, WANTED)
    np.testing.assert_array_equal(ten[:5], five)
    np.testing.assert_array_equal(ten[5:], np.array(five)[:, :, :, ::-1])


def test_a_query_is_the_mean_of_its_crops(index, tmp_path):
    rows = world_rows(per_hub=1, seed=5)
    table = write_world(tmp_path, rows)
    (tmp_path / rows[0][0]).write_bytes(b"no photo")
    queries = queries_from(index, str(table), {}, "five")
    assert (len(queries.ids), queries.unreadable) == (len(rows) - 1, 1)
    image = load_image(tmp_path / queries.ids[0])
    views = np.stack(CROPS["five"](image, index.encoder.preprocessing))
    wanted = mean_direction(index.projection.apply(index.encoder.features(views)))
    np.testing.assert_allclose(queries.embeddings[0], wanted, atol=1e-6)
    assert len(queries.labels["content"][0]) == 32
    report = evaluate(index, source=str(table), crops="ten")
    assert report.own.median_km < 500


def test_what_cannot_be_cropped_is_refused(index, tmp_path):
    with pytest.raises(ConfigError, match="Stored features cannot be cropped"):
        evaluate(index, crops="ten")
    table = write_world(tmp_path, world_rows(per_hub=1))
    with pytest.raises(ConfigError, match="choose one of centre, three, five, ten"):
        evaluate(index, source=str(table), crops="eleven")
    with pytest.raises(ConfigError, match="no images to crop"):
        evaluate(index, source="planted:40?dim=16", crops="ten")
