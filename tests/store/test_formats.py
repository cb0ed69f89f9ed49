"""Indexes of earlier formats go on being read: tests/data holds one of each, as the code of its time wrote it.

index-format-1.zip: 120 planted photos (planted:120?dim=8&seed=3), prototypes, 4 cells, then rebuilt with 6.
"""

import shutil
from pathlib import Path

import numpy as np
import pytest

import geoindex
from geoindex.integrity import verify_index
from geoindex.store.generations import IndexFolder
from geoindex.store.history import list_generations
from geoindex.store.manifest import FORMAT_VERSION

DATA = Path(__file__).parents[1] / "data"


@pytest.fixture
def first(tmp_path):
    """An index of format 1."""
    shutil.unpack_archive(DATA / "index-format-1.zip", tmp_path)
    return tmp_path / "index"


def test_format_1_answers_and_is_sound(first):
    opened = geoindex.open_index(first)
    assert opened.manifest.format_version == FORMAT_VERSION
    assert (opened.manifest.counts["gallery"], opened.manifest.counts["removed"]) == (101, 0)
    queries = opened.searcher.sidecar.gallery.live_embeddings().astype(np.float32)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    ids = {answer.evidence[0].id for answer in opened.query_embeddings(queries, top_cells=6)}
    assert len(ids) > 80  # nearly all find themselves
    assert verify_index(first, full=True).faults == ()
    assert [each.name for each in list_generations(first).generations] == ["000001", "000002"]


def test_format_1_is_rebuilt_into_the_newest(first):
    assert geoindex.rebuild_index(first, geocells={"n_cells": 5}).counts["cells"] == 5
    manifest = IndexFolder(first).current().folder / "manifest.json"
    assert f'"format_version": {FORMAT_VERSION}' in manifest.read_text()
    assert verify_index(first, full=True).faults == ()
