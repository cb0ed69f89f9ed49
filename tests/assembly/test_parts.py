"""Vectors that come in any order are written in order."""

import numpy as np
import pytest

from geoindex.assembly import parts
from geoindex.assembly.parts import Parts
from geoindex.errors import IndexDamagedError


def vectors(count, dim=3):
    return np.arange(count * dim, dtype=np.float16).reshape(count, dim)


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(parts, "PART_BYTES", 60)  # ten vectors of three numbers


@pytest.mark.parametrize("count", [1, 9, 10, 11, 40, 47])
def test_any_order_becomes_the_order_of_places(tmp_path, count):
    wanted, order = vectors(count), np.random.default_rng(count).permutation(count)
    found = Parts(tmp_path, wanted.shape)
    for some in np.array_split(order, 4):
        found.add(some, wanted[some])
    runs = list(found.ordered())
    assert max(map(len, runs)) <= 10
    assert np.array_equal(np.concatenate(runs), wanted)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("places", [[0, 1], [0, 1, 1], [0, 1, 2, 2], []])
def test_a_place_without_a_vector_or_with_two_is_damage(tmp_path, places):
    found = Parts(tmp_path, (3, 3))
    found.add(np.array(places, np.int64), vectors(len(places)))
    with pytest.raises(IndexDamagedError, match=f"gave {len(places)} of 3 gallery images"):
        list(found.ordered())
