"""Manifests, pointers and other JSON of an index, changed at random: it opens as it was, or says what is damaged."""

import json
import math
import re
import shutil
from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from works import build, rebuild

import geoindex
from geoindex.errors import GeoindexError
from geoindex.inspection import inspect_index
from geoindex.integrity import verify_index
from geoindex.store.generations import IndexFolder
from geoindex.store.history import list_generations
from geoindex.store.manifest import digest

fuzzed = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
MANIFEST, SEAL = "generations/000002/manifest.json", "generations/000002/manifest.sha256"

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
VALUES = st.recursive(
    SCALARS, lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=5), below, max_size=3)
)


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    """Two generations; whoever changes a file puts it back."""
    path = tmp_path_factory.mktemp("fuzzed") / "index"
    build(path, 3)
    rebuild(path, 4)
    return path


@pytest.fixture(scope="module")
def right(index):
    return answers(index)


def answers(path):
    found = geoindex.open_index(path).query_embeddings(np.eye(8, dtype=np.float32))
    return [(a.generation, a.lat, a.lon, a.place, a.candidates, a.evidence) for a in found]


@contextmanager
def replaced(index, contents):
    """Put other bytes, or no file at all, in the place of some, and put them back."""
    before = {name: (index / name).read_bytes() for name in contents}
    try:
        for name, data in contents.items():
            (index / name).unlink()
            if data is not None:
                (index / name).write_bytes(data)
        yield
    finally:
        for name, data in before.items():
            (index / name).write_bytes(data)


def outcome(work):
    """Return what a work returns, or its error; any but ours passes."""
    try:
        return work()
    except GeoindexError as error:
        found = error
    assert re.fullmatch(r"[^\n\r]+\.", str(found)), str(found)
    return found


def verify_whole(index):
    return verify_index(index, full=True)


LOOKS = (verify_index, list_generations, inspect_index)


def check(index, right, exact):
    """The index answers as before or with one sentence; so do those who look at it."""
    found = outcome(lambda: answers(index))
    assert isinstance(found, GeoindexError) or not exact or found == right
    # what only a full look reads of a manifest, such as the tree of a quadtree, is not taken apart here
    for look in (*LOOKS, verify_whole) if exact else LOOKS:
        told = outcome(lambda look=look: look(index))
        if not isinstance(told, GeoindexError):
            assert told.to_text()
            json.dumps(told.to_dict())
    return found


def steps_into(value, path=()):
    """Yield the path of every value in nested JSON."""
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, below in inner:
        yield from steps_into(below, (*path, key))


@st.composite
def mutations(draw, data):
    """Return nested JSON with one to three values replaced, removed or added."""
    value = json.loads(data)
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(list(steps_into(value))))
        if not path:
            value = draw(VALUES) if draw(st.integers(0, 9)) == 0 else value
            continue
        parent = value
        for key in path[:-1]:
            parent = parent[key]
        how = draw(st.sampled_from(["replace", "replace", "remove", "add"]))
        if how == "remove":
            del parent[path[-1]]
        elif how == "add" and isinstance(parent, dict):
            parent[draw(st.text(max_size=8))] = draw(VALUES)
        else:
            parent[path[-1]] = draw(VALUES)
    return value


@st.composite
def broken_bytes(draw, data):
    """Return bytes with a piece cut out, flipped, doubled or put in."""
    start = draw(st.integers(0, len(data)))
    end = draw(st.integers(start, min(len(data), start + 40)))
    piece = draw(st.sampled_from([b"", bytes(reversed(data[start:end])), data[start:end] * 2]) | st.binary(max_size=20))
    return data[:start] + piece + data[end:]


HOPELESS = [
    b"[" * 100_000,
    b'{"a":' * 100_000,
    b"9" * 10_000,
    b"\xff\xfe{",
    b"\xef\xbb\xbf{}",
    b"NaN",
    b'"\\ud800"',
    b"",
]


class TestManifest:
    """The manifest of the live generation."""

    @fuzzed
    @given(data=st.data())
    def test_any_other_bytes_are_damage(self, index, right, data):
        before = (index / MANIFEST).read_bytes()
        changed = data.draw(broken_bytes(before))
        with replaced(index, {MANIFEST: changed}):
            assert isinstance(check(index, right, exact=True), GeoindexError) == (changed != before)

    @fuzzed
    @given(data=st.data())
    def test_one_that_is_sealed_opens_or_lacks_a_part(self, index, right, data):
        """CURRENT vouches for it, so what it says holds, if it can be meant at all."""
        value = data.draw(mutations((index / MANIFEST).read_bytes()))
        text = json.dumps(value).encode()
        pointer = json.dumps({"generation": "000002", "sha256": digest(text)}).encode()
        with replaced(index, {MANIFEST: text, SEAL: digest(text).encode(), "CURRENT": pointer}):
            check(index, right, exact=False)

    @pytest.mark.parametrize("text", HOPELESS)
    def test_what_is_no_json_at_all(self, index, right, text):
        pointer = json.dumps({"generation": "000002", "sha256": digest(text)}).encode()
        with replaced(index, {MANIFEST: text, SEAL: digest(text).encode(), "CURRENT": pointer}):
            assert isinstance(check(index, right, exact=True), GeoindexError)

    def test_a_generation_under_the_name_of_another_is_damage(self, index, right):
        text = (index / MANIFEST).read_bytes().replace(b'"generation": "000002"', b'"generation": "000007"')
        pointer = json.dumps({"generation": "000002", "sha256": digest(text)}).encode()
        with replaced(index, {MANIFEST: text, SEAL: digest(text).encode(), "CURRENT": pointer}):
            assert isinstance(check(index, right, exact=True), GeoindexError)

    @fuzzed
    @given(data=st.data())
    def test_the_seal_of_a_generation_that_is_not_live(self, index, right, data):
        seal = "generations/000001/manifest.sha256"
        before = (index / seal).read_bytes()
        changed = data.draw(broken_bytes(before))
        with replaced(index, {seal: changed}):
            check(index, right, exact=True)
            found = outcome(lambda: IndexFolder(index).generation("000001"))
            assert isinstance(found, GeoindexError) == (changed.strip() != before)


class TestPointer:
    """CURRENT."""

    @fuzzed
    @given(data=st.data())
    def test_any_bytes(self, index, right, data):
        before = (index / "CURRENT").read_bytes()
        changed = data.draw(broken_bytes(before) | st.binary(max_size=100))
        with replaced(index, {"CURRENT": changed}):
            check(index, right, exact=True)

    @fuzzed
    @given(data=st.data())
    def test_any_json(self, index, right, data):
        changed = data.draw(mutations((index / "CURRENT").read_bytes()))
        with replaced(index, {"CURRENT": json.dumps(changed).encode()}):
            check(index, right, exact=True)

    @pytest.mark.parametrize("text", HOPELESS)
    def test_what_is_no_json_at_all(self, index, right, text):
        with replaced(index, {"CURRENT": text}):
            assert isinstance(check(index, right, exact=True), GeoindexError)

    @pytest.mark.parametrize("name", ["../../elsewhere", "/", "", "000002/", "a\x00b", "000002\n", 2, None, ["000002"]])
    def test_a_name_that_is_no_generation(self, index, right, name):
        sha256 = json.loads((index / "CURRENT").read_bytes())["sha256"]
        with replaced(index, {"CURRENT": json.dumps({"generation": name, "sha256": sha256}).encode()}):
            assert isinstance(check(index, right, exact=True), GeoindexError)


def others(index):
    return sorted(path.relative_to(index).as_posix() for path in (index / "tables").rglob("*.json"))


class TestOtherFiles:
    """Checksums, tags and hints beside the tables: no query reads them, and nobody trusts them."""

    @settings(fuzzed, max_examples=60)
    @given(data=st.data())
    def test_any_of_them_changed_or_gone(self, index, right, data):
        name = data.draw(st.sampled_from(others(index)))
        before = (index / name).read_bytes()
        mutated = mutations(before).map(lambda value: json.dumps(value).encode())
        changed = data.draw(st.none() | broken_bytes(before) | mutated | st.sampled_from(HOPELESS))
        with replaced(index, {name: changed}):
            assert check(index, right, exact=True) == right
            found = outcome(lambda: verify_index(index, full=True))
            assert isinstance(found, GeoindexError) or found.to_text()

    @pytest.mark.parametrize("key", ["bytes", "sha256", "block_bytes"])
    @pytest.mark.parametrize("value", [-5, True, 1.5, None, {"a": 1}, [], 10**30])
    def test_a_record_of_no_file_is_a_fault(self, index, right, key, value):
        """A block of less than no bytes would never end."""
        name = "tables/checksums/cells-2.json"
        records = json.loads((index / name).read_bytes())
        for record in records.values():
            record[key] = value
        with replaced(index, {name: json.dumps(records).encode()}):
            assert check(index, right, exact=True) == right
            assert verify_index(index, full=True).faults

    @pytest.mark.parametrize("file", ["a" * 300, "", "cells.lance", "a\nb", "../CURRENT/x"])
    def test_the_record_of_a_name_that_is_no_file_is_a_fault(self, index, right, file):
        name = "tables/checksums/cells-2.json"
        records = json.loads((index / name).read_bytes())
        records[file] = next(iter(records.values()))
        with replaced(index, {name: json.dumps(records).encode()}):
            assert check(index, right, exact=True) == right
            assert verify_index(index, full=True).faults

    @pytest.mark.parametrize("text", [None, b"", HOPELESS[0]])
    def test_a_rebuild_goes_through_or_says_why_not(self, index, tmp_path, text):
        for number, name in enumerate(others(index)):
            copy = shutil.copytree(index, tmp_path / f"{number}")
            (copy / name).unlink()
            if text is not None:
                (copy / name).write_bytes(text)
            outcome(lambda copy=copy: rebuild(copy))
            assert geoindex.open_index(copy).manifest.generation in ("000002", "000003")


def test_numbers_that_are_none_do_not_pass(index, right):
    values = json.loads((index / MANIFEST).read_bytes())
    for scale in (math.nan, math.inf, -1e400, "20", None, [], True):
        text = json.dumps(values | {"posterior": values["posterior"] | {"cell_scale": scale}}).encode()
        pointer = json.dumps({"generation": "000002", "sha256": digest(text)}).encode()
        with replaced(index, {MANIFEST: text, SEAL: digest(text).encode(), "CURRENT": pointer}):
            assert isinstance(check(index, right, exact=True), GeoindexError)
