"""Versions of Lance tables: which are whole, and what a stopped write leaves."""

import errno
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from geoindex.store.generations import IndexFolder
from geoindex.store.leftovers import clear_leftovers
from geoindex.store.tables import LanceTables
from geoindex.store.versions import require_whole, version_of

SCHEMA = pa.schema([("row", pa.int64())])


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
    (tables.folder / "checksums" / f"images-{version}.json").unlink()
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
        (tables.folder / "checksums" / f"images-{version}.json").unlink()
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
