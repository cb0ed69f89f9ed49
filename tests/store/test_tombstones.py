"""The list of photos that were removed for good."""

import json

import pyarrow as pa
import pytest

from geoindex.errors import IndexDamagedError
from geoindex.store.tombstones import Tombstones


def test_they_come_back_as_written(tmp_path):
    path = tmp_path / "removed.json"
    assert len(Tombstones.read(path)) == 0
    Tombstones(frozenset(["b", "a", "ä/ö 1.jpg"])).write(path)
    assert Tombstones.read(path).ids == {"a", "b", "ä/ö 1.jpg"}


def test_they_add_up_and_are_told_apart():
    some, more = Tombstones(frozenset("ab")), Tombstones(frozenset("bc"))
    assert (some | more).ids == set("abc")
    assert (more - some).ids == {"c"}
    assert some.cover(pa.array(["a", "c", None])).tolist() == [True, False, False]
    assert Tombstones().cover(pa.array(["a"])).tolist() == [False]


def test_damage_is_told(tmp_path):
    path = tmp_path / "removed.json"
    Tombstones(frozenset(["one", "two"])).write(path)
    sound = path.read_bytes()
    values = json.loads(sound)
    damaged = [b"", sound[:-20], sound.replace(b"one", b"ane"), b"[]", b"{}", json.dumps(values | {"ids": 3}).encode()]
    for data in damaged:
        path.write_bytes(data)
        with pytest.raises(IndexDamagedError, match="geoindex repair"):
            Tombstones.read(path)
