"""Indexes whose images were written before some labels existed."""

import pytest
from tiles import HUBS, PHOTOS, build, error_km

import geoindex
from geoindex.errors import ConfigError
from geoindex.store.generations import IndexFolder
from geoindex.store.images import stored_images
from geoindex.types import LABELS

OLD = LABELS[: LABELS.index("climate")]
NEW = LABELS[len(OLD) :]


@pytest.fixture
def old_index(world, tmp_path, monkeypatch):
    """The folder of an index without the columns of `NEW`."""
    with monkeypatch.context() as patch:
        patch.setattr("geoindex.store.schemas.LABELS", OLD)
        return build(world, tmp_path / "old").path


def images_of(path):
    folder = IndexFolder(path)
    return stored_images(folder, folder.current().manifest.tables["images"])


def test_a_label_that_the_table_lacks_is_known_of_no_image(old_index):
    images = images_of(old_index)
    assert not set(NEW) & set(images.tables.columns("images", images.version))
    assert [images.label(name) for name in NEW] == [[None] * 96] * len(NEW)
    assert set(images.label("country")) == set(HUBS)


def test_it_opens_evaluates_and_rebuilds(old_index, tiny_encoder):
    opened = geoindex.open_index(old_index, encoder=tiny_encoder)
    assert error_km(opened.query_image(PHOTOS[0]), HUBS["nl"]) < 500
    assert geoindex.evaluate(opened).to_dict()
    geoindex.rebuild_index(old_index, geocells={"within": "country"})
    assert opened.reload()
    assert error_km(opened.query_image(PHOTOS[0]), HUBS["nl"]) < 500
    with pytest.raises(ConfigError, match="no position has it"):
        geoindex.rebuild_index(old_index, geocells={"within": "climate"})


def test_building_again_adds_the_columns(old_index, world):
    build(world, old_index)
    images = images_of(old_index)
    assert set(NEW) < set(images.tables.columns("images", images.version))
