"""A reader of a generation of which every photo was removed says so, and moves on when it is told to."""

import numpy as np
import pytest
from tiles import KEYS, PHOTOS, write_world

import geoindex
from geoindex.errors import EmptyDatasetError


def test_a_reader_that_has_nothing_left_says_so(tmp_path, tiny_encoder):
    rows = [(f"old-{i:02d}.jpg", 52 + 0.1 * i, 5.0, "nl", "me") for i in range(12)]
    path = geoindex.build_index(
        write_world(tmp_path / "old", rows), out=tmp_path / "index", split_by="none", **KEYS
    ).path
    reader = geoindex.open_index(path, encoder=tiny_encoder)
    writer = geoindex.open_index(path, encoder=tiny_encoder)
    old = writer.searcher.sidecar.gallery.ids()
    new = [(f"new-{i:02d}.jpg", 10 + 0.1 * i, 20.0, "td", "you") for i in range(12)]
    writer.add(write_world(tmp_path / "new", new))
    writer.remove(old)
    with pytest.raises(EmptyDatasetError, match=r"All photos of this generation .* were removed; .* reload\(\)"):
        reader.query_image(PHOTOS[0])
    assert reader.reload()
    assert np.isfinite(reader.query_image(PHOTOS[0]).lat)
