"""Versions of Lance tables: which can go, which are whole, and what a stopped write leaves."""

import errno
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from geoindex.store.generations import IndexFolder
from geoindex.store.leftovers import clear_leftovers
from geoindex.store.tables import LanceTables
from geoindex.store.versions import removable, require_whole, version_of

SCHEMA = pa.schema([("row", pa.int64())])
NOON = datetime(2020, 1, 1, 12)


def at(*minutes):
    """Return versions 1, 2, ... made so many minutes after noon."""
    return {number: NOON + timedelta(minutes=m) for number, m in enumerate(minutes, 1)}


def cleaned(times, oldest, now):
    """Return the versions that are left if those go that are older than the age, as Lance does it."""
    wanted, age = removable(times, oldest, now)
    gone = [version for version, time in times.items() if time < now - age and version != max(times)]
    assert age >= timedelta(0)
    assert wanted == gone or not wanted
    return [version for version in times if version not in gone or not wanted]


@pytest.mark.parametrize(
    ("minutes", "oldest", "now", "left"),
    [
        ((0, 1, 2, 3), 3, 60, [3, 4]),
        ((0, 1, 2, 3), 1, 60, [1, 2, 3, 4]),
        ((0, 1, 2), 3, 2, [3]),
        ((0, 50, 2, 3), 3, 60, [2, 3, 4]),  # the clock went back after version 2
        ((50, 51, 2, 3), 3, 60, [1, 2, 3, 4]),
        ((0, 1, 50, 2), 3, 60, [3, 4]),
        ((0, 10, 20, 30), 3, 5, [2, 3, 4]),  # it went back after all of them
        ((10, 20, 30, 40), 3, 5, [1, 2, 3, 4]),
        ((0, 0, 0), 3, 60, [1, 2, 3]),
        ((0, 1), 9, 60, [1, 2]),
    ],
)
def test_no_clock_makes_a_needed_version_go(minutes, oldest, now, left):
    assert cleaned(at(*minutes), oldest, NOON + timedelta(minutes=now)) == left


def test_versions_are_counted_down_in_the_names_of_manifests():
    assert version_of(Path(f"{2**64 - 1 - 7}.manifest")) == 7
    assert version_of(Path("7.manifest")) == 7


@pytest.mark.parametrize(("data", "whole"), [(b"..LANC", True), (b"..LAN", False), (b"", False), (bytes(9), False)])
def test_a_file_without_its_end_is_a_full_disk(tmp_path, data, whole):
    path = tmp_path / "a.lance"
    path.write_bytes(data)
    if whole:
        return require_whole([path])
    with pytest.raises(OSError, match="No space left") as caught:
        require_whole([path])
    assert caught.value.errno == errno.ENOSPC


@pytest.fixture
def tables(tmp_path):
    return LanceTables(tmp_path / "index" / "tables")


def write(tables, number):
    rows = pa.record_batch([pa.array(np.arange(3) + number)], schema=SCHEMA)
    return tables.write("images", SCHEMA, [rows])


def unfinished(tables, content):
    """Write a version as a power cut leaves it: newer than all, with no checksums of its own."""
    version = write(tables, 9)
    tables.checksums.drop("images", version)
    manifest = tables.folder / "images.lance" / "_versions" / f"{2**64 - 1 - version}.manifest"
    manifest.write_bytes(content(manifest.read_bytes()))
    return manifest


TORN = [lambda data: b"", lambda data: data[: len(data) // 2], lambda data: bytes(len(data)), lambda data: data]


@pytest.mark.parametrize("content", TORN)
def test_an_unfinished_version_goes_and_the_next_counts_on(tables, content):
    version = write(tables, 0)
    manifest = unfinished(tables, content)
    clear_leftovers(tables, [])
    assert not manifest.exists()
    assert write(tables, 5) == version + 1
    assert tables.read("images", version, ["row"])["row"].to_pylist() == [0, 1, 2]
    assert tables.read("images", version + 1, ["row"])["row"].to_pylist() == [5, 6, 7]


@pytest.mark.parametrize("content", TORN)
def test_a_first_version_that_was_never_finished_goes(tables, content):
    unfinished(tables, content)
    clear_leftovers(tables, [])
    assert tables.read("images", write(tables, 5), ["row"])["row"].to_pylist() == [5, 6, 7]


@pytest.mark.parametrize("known", ["record", "tag", "generation"])
def test_what_anything_names_stays(tables, known):
    version = write(tables, 0)
    if known == "tag":
        tables.tag("images", version, "gen-000001")
    if known != "record":
        tables.checksums.drop("images", version)
    clear_leftovers(tables, [{"images": version}] if known == "generation" else [])
    assert tables.read("images", version, ["row"])["row"].to_pylist() == [0, 1, 2]


@pytest.mark.parametrize("data", [b"", b'{"branch": null,', bytes(80), b"[]", b'{"version": null}'])
def test_a_torn_tag_goes_and_others_can_be_set(tables, data):
    version = write(tables, 0)
    tables.tag("images", version, "gen-000001")
    tags = tables.folder / "images.lance" / "_refs" / "tags"
    (tags / "gen-000002.json").write_bytes(data)
    clear_leftovers(tables, [])
    tables.tag("images", version, "gen-000002")
    assert sorted(path.stem for path in tags.iterdir()) == ["gen-000001", "gen-000002"]


def test_a_writer_clears_what_the_one_before_left(tables):
    write(tables, 0)
    manifest = unfinished(tables, TORN[1])
    with IndexFolder(tables.folder.parent).writing():
        assert not manifest.exists()
