"""The images of an index, read back whole or as a sample."""

import numpy as np
import pyarrow as pa
import pytest

from geoindex.store.images import StoredImages
from geoindex.store.schemas import image_schema, vectors_to_arrow
from geoindex.store.tables import LanceTables
from geoindex.store.tombstones import Tombstones

DIM = 3


@pytest.fixture
def images(tmp_path):
    """50 images whose features are their row; every fifth is in val, and the table has them backwards."""
    rows, schema = np.arange(50)[::-1], image_schema(DIM)
    columns = {f.name: pa.nulls(50, f.type) for f in schema}
    columns |= {"row": pa.array(rows), "id": pa.array([f"{row}" for row in rows])}
    columns["split"] = pa.array(["train" if row % 5 else "val" for row in rows])
    columns["features"] = vectors_to_arrow(np.repeat(rows[:, None], DIM, axis=1).astype(np.float16))
    tables = LanceTables(tmp_path / "tables")
    batch = pa.RecordBatch.from_arrays([columns[f.name] for f in schema], schema=schema)
    return StoredImages.read(tables, tables.write("images", schema, [batch]), Tombstones())


def test_rows_of_a_split(images):
    assert images.rows("val").tolist() == list(range(0, 50, 5))
    assert len(images.rows("train")) == 40
    assert images.rows("test").tolist() == []


def test_a_sample_is_drawn_from_the_whole_split(images):
    rows, features = images.sampled_features("train", 12, DIM, seed=0)
    assert len(set(rows.tolist())) == 12
    assert rows.min() < 15 < 35 < rows.max()
    assert (rows % 5 > 0).all()
    np.testing.assert_array_equal(features, np.repeat(rows[:, None], DIM, axis=1).astype(np.float16))
    np.testing.assert_array_equal(images.sampled_features("train", 12, DIM, seed=0)[0], rows)
    assert images.sampled_features("train", 12, DIM, seed=1)[0].tolist() != rows.tolist()


def test_a_sample_of_more_than_there_are_is_all(images):
    rows, features = images.sampled_features("val", 99, DIM, seed=0)
    assert rows.tolist() == list(range(0, 50, 5))
    assert features[:, 0].tolist() == rows.tolist()
    assert images.sampled_features("test", 9, DIM, seed=0)[1].shape == (0, DIM)
