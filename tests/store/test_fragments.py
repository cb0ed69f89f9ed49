"""A table of fragments that were written apart is the table that one process writes."""

import numpy as np
import pyarrow as pa
import pytest

from geoindex.errors import IndexDamagedError, StorageError
from geoindex.store.fragments import commit_fragments, write_fragment
from geoindex.store.images import table_identity
from geoindex.store.schemas import vectors_to_arrow
from geoindex.store.tables import LanceTables

DIM = 8
SCHEMA = pa.schema([("row", pa.int64()), ("features", pa.list_(pa.float16(), DIM))])

pytest.importorskip("lance")


def rows(start, count):
    features = np.random.default_rng(start).standard_normal((count, DIM)).astype(np.float16)
    columns = [pa.array(np.arange(start, start + count)), vectors_to_arrow(features)]
    return pa.RecordBatch.from_arrays(columns, schema=SCHEMA)


@pytest.fixture(params=["plain", "b%20 #é[1]"])
def tables(tmp_path, request):
    return LanceTables(tmp_path / request.param)


def fragments(tables, *starts):
    return [
        write_fragment(tables.checksums, "images", SCHEMA, [rows(start, 10), rows(start + 10, 5)]) for start in starts
    ]


def test_fragments_become_a_version_with_every_row_and_checksum(tables):
    version = tables.commit("images", SCHEMA, fragments(tables, 0, 15, 30))
    assert version == 1
    written = tables.read("images", version, ["row", "features"])
    one = LanceTables(tables.folder / "one")
    expected = one.read(
        "images",
        one.write("images", SCHEMA, [b for s in (0, 15, 30) for b in (rows(s, 10), rows(s + 10, 5))]),
        ["row", "features"],
    )
    assert written.equals(expected)
    records = tables.checksums.of("images", version)
    assert {tables.folder / file for file in records} == tables.checksums.files("images")
    assert tables.checksums.complete("images", version)
    assert not tables.checksums.faults("images", version)


def test_the_same_rows_have_the_same_identity(tables):
    versions = [tables.commit("images", SCHEMA, fragments(tables, 0, 15)) for _ in range(2)]
    assert versions == [1, 2]
    assert len({table_identity(tables, version) for version in versions}) == 1


def test_a_fragment_that_is_not_committed_is_in_no_version(tables):
    twice, other = fragments(tables, 0, 0)
    tables.commit("images", SCHEMA, [twice])
    assert tables.read("images", 1, ["row"])["row"].to_pylist() == list(range(15))
    assert not {tables.folder / file for file in other.records} & {
        tables.folder / file for file in tables.checksums.of("images", 1)
    }


def test_earlier_versions_stay_and_later_writes_go_on(tables):
    tables.write("images", SCHEMA, [rows(0, 3)])
    assert tables.commit("images", SCHEMA, fragments(tables, 100)) == 2
    assert tables.append("images", 2, [rows(115, 2)]) == 3
    assert [tables.read("images", version, ["row"]).num_rows for version in (1, 2, 3)] == [3, 15, 17]
    assert not tables.checksums.faults("images", 3)


def test_another_schema_replaces_the_first(tables):
    tables.write("images", pa.schema([("row", pa.int64())]), [pa.record_batch({"row": pa.array([1, 2])})])
    tables.commit("images", SCHEMA, fragments(tables, 0))
    assert tables.columns("images", 2) == ["row", "features"]


def test_a_fragment_on_another_disk_is_refused(tables):
    made = fragments(tables, 0)
    for file in made[0].records:
        (tables.folder / file).unlink()
    with pytest.raises(StorageError, match="all computers share"):
        tables.commit("images", SCHEMA, made)
    assert not tables.opens("images")


def test_a_torn_table_is_not_written_over(tables):
    tables.write("images", SCHEMA, [rows(0, 3)])
    made = fragments(tables, 0)
    manifest = next((tables.folder / "images.lance" / "_versions").glob("*.manifest"))
    manifest.write_bytes(manifest.read_bytes()[:-20])
    with pytest.raises(IndexDamagedError, match="geoindex repair"):
        tables.commit("images", SCHEMA, made)


def test_a_full_disk_is_one_sentence(tables, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("lance.fragment.write_fragments", full)
    with pytest.raises(StorageError, match="is full; free some space"):
        fragments(tables, 0)


def test_what_is_written_fast_has_sizes_alone(tmp_path):
    tables = LanceTables(tmp_path, "fast")
    version = tables.commit("images", SCHEMA, fragments(tables, 0))
    records = tables.checksums.of("images", version)
    assert all(record.bytes > 0 and not record.sha256 for record in records.values())


@pytest.mark.parametrize("committed", [False, True])
def test_what_was_never_committed_is_removed(tables, committed):
    kept = fragments(tables, 0)
    if committed:
        tables.commit("images", SCHEMA, kept)
    fragments(tables, 15, 30)
    tables.remove_uncommitted("images")
    left = {path for path in tables.checksums.files("images") if path.parent.name == "data"}
    assert left == ({tables.folder / file for file in kept[0].records} if committed else set())
    assert tables.commit("images", SCHEMA, fragments(tables, 0)) == 1 + committed


def test_a_file_that_appears_during_the_commit_is_no_part_of_the_version(tables, monkeypatch):
    """As of a task that ran twice and is late."""
    made = fragments(tables, 0)

    def commit(*args):
        fragments(tables, 15)
        return commit_fragments(*args)

    monkeypatch.setattr("geoindex.store.tables.commit_fragments", commit)
    version = tables.commit("images", SCHEMA, made)
    tables.remove_uncommitted("images")
    assert not tables.checksums.faults("images", version)
    assert tables.read("images", version, ["row"])["row"].to_pylist() == list(range(15))


def test_a_torn_table_is_not_tidied(tables):
    tables.write("images", SCHEMA, [rows(0, 3)])
    manifest = next((tables.folder / "images.lance" / "_versions").glob("*.manifest"))
    manifest.write_bytes(manifest.read_bytes()[:-20])
    with pytest.raises(IndexDamagedError, match="geoindex repair"):
        tables.remove_uncommitted("images")
