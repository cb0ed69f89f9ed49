import dataclasses

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geoindex.types import LABELS, Sample, Samples

headings = st.none() | st.floats(0, 360, width=32)
labels = st.dictionaries(st.sampled_from(LABELS), st.text(max_size=5))
single = st.builds(Sample, st.text(max_size=5), st.floats(-90, 90), st.floats(-180, 180), st.text(), headings, labels)

PARIS = Sample("a", 48.85, 2.35, "a.jpg", 90.0, {"country": "France", "author": "Ana"})
SUVA = Sample("b", -18.14, 178.44, "b.jpg", None, {"country": "Fiji"})
QUITO = Sample("c", -0.18, -78.47, "c.jpg")


@settings(max_examples=30, deadline=None)
@given(st.lists(single, max_size=6))
def test_samples_survive_the_columns(rows):
    samples = Samples.from_samples(rows)
    assert len(samples) == len(rows)
    assert list(samples) == rows
    assert samples.table.schema == Samples.schema()


def test_the_schema_starts_with_what_every_sample_has():
    assert Samples.schema().names == ["id", "lat", "lon", "image", "heading_deg", *LABELS]


def test_columns():
    samples = Samples.from_samples([PARIS, SUVA, QUITO])
    assert samples.ids == ["a", "b", "c"]
    assert samples.images == ["a.jpg", "b.jpg", "c.jpg"]
    assert samples.lat.dtype == samples.lon.dtype == np.float64
    assert samples.lat.tolist() == [48.85, -18.14, -0.18]
    assert samples.lon.tolist() == [2.35, 178.44, -78.47]


def test_a_label_is_none_where_it_is_unknown():
    samples = Samples.from_samples([PARIS, SUVA, QUITO])
    assert samples.label("country") == ["France", "Fiji", None]
    assert samples.label("author") == ["Ana", None, None]
    assert samples.label("city") == [None, None, None]
    with pytest.raises(KeyError):
        samples.label("planet")


def test_single_rows():
    samples = Samples.from_samples([PARIS, SUVA, QUITO])
    assert samples[1] == SUVA
    assert samples[2].labels == {}
    with pytest.raises(IndexError):
        samples[3]


def test_take_keeps_the_order_that_is_asked_for():
    samples = Samples.from_samples([PARIS, SUVA, QUITO])
    assert samples.take(np.array([2, 0, 0])).ids == ["c", "a", "a"]
    assert len(samples.take(np.array([], np.int64))) == 0


def test_missing_columns_become_null():
    samples = Samples.from_columns({"id": ["x"], "lat": np.array([1.5]), "lon": np.array([2.5]), "image": ["x.jpg"]})
    assert samples[0] == Sample("x", 1.5, 2.5, "x.jpg")


def test_a_heading_that_is_not_a_number_is_unknown():
    columns = {"id": ["x", "y"], "lat": [1.0, 2.0], "lon": [1.0, 2.0], "image": ["", ""]}
    samples = Samples.from_columns(columns | {"heading_deg": np.array([np.nan, 12.5])})
    assert [s.heading_deg for s in samples] == [None, 12.5]


def test_tables_of_several_chunks_read_as_one():
    table = pa.concat_tables([Samples.from_samples([PARIS]).table, Samples.from_samples([SUVA, QUITO]).table])
    samples = Samples(table)
    assert list(samples) == [PARIS, SUVA, QUITO]
    assert samples.lat.tolist() == [48.85, -18.14, -0.18]


def test_samples_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        PARIS.lat = 0.0
