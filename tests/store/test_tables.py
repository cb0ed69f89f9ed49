import errno

import numpy as np
import pyarrow as pa
import pytest

from geoindex.errors import IndexDamagedError, StorageError
from geoindex.store import durable
from geoindex.store.durable import FileRecord
from geoindex.store.schemas import cell_schema, cluster_schema, image_schema, vectors_from_arrow, vectors_to_arrow
from geoindex.store.tables import LanceTables
from geoindex.types import LABELS

DIM = 4


@pytest.fixture
def tables(tmp_path):
    return LanceTables(tmp_path / "tables")


def image_batch(rows, split="train", seed=0):
    """Images at these rows, whose features are random and whose latitude is the row."""
    schema = image_schema(DIM)
    features = np.random.default_rng(seed).standard_normal((len(rows), DIM)).astype(np.float16)
    columns = {f.name: pa.nulls(len(rows), f.type) for f in schema}
    columns |= {"row": pa.array(rows, pa.int64()), "id": pa.array([f"image {r}" for r in rows])}
    columns |= {"lat": pa.array(np.array(rows, float)), "split": pa.array([split] * len(rows))}
    columns["features"] = vectors_to_arrow(features)
    return pa.RecordBatch.from_arrays([columns[f.name] for f in schema], schema=schema), features


def write(tables, *batches):
    return tables.write("images", image_schema(DIM), list(batches))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_vectors_survive_arrow(dtype):
    vectors = np.random.default_rng(0).standard_normal((7, 3)).astype(dtype)
    array = vectors_to_arrow(vectors)
    assert len(array) == 7
    np.testing.assert_array_equal(vectors_from_arrow(array), vectors)
    np.testing.assert_array_equal(vectors_from_arrow(array.slice(2, 3)), vectors[2:5])
    np.testing.assert_array_equal(vectors_from_arrow(vectors_to_arrow(vectors[:, ::2])), vectors[:, ::2])
    assert vectors_from_arrow(array).dtype == dtype


def test_schemas():
    assert image_schema(DIM).names == [
        "row",
        "id",
        "split",
        "image",
        "lat",
        "lon",
        "heading_deg",
        *LABELS,
        "content",
        "source",
        "features",
    ]
    assert image_schema(DIM).field("features").type == pa.list_(pa.float16(), DIM)
    assert cluster_schema(DIM).names == ["cluster", "cell", "inside", *cell_schema(DIM).names[1:]]
    assert cell_schema(DIM).field("embedding").type == pa.list_(pa.float32(), DIM)
    assert cell_schema(DIM).field("embedding_sum").type == pa.list_(pa.float64(), DIM)


def test_rows_come_back_in_the_order_of_the_first_column(tables):
    version = write(tables, image_batch([3, 0])[0], image_batch([2, 1])[0])
    table = tables.read("images", version, ["row", "id"])
    assert table.column_names == ["row", "id"]
    assert table["row"].to_pylist() == [0, 1, 2, 3]
    assert table["id"].to_pylist() == ["image 0", "image 1", "image 2", "image 3"]


def test_more_rows_than_a_default_limit_come_back(tables):
    version = write(tables, image_batch(list(range(500)))[0])
    assert tables.read("images", version, ["row"]).num_rows == 500


def test_a_condition_selects_rows(tables):
    version = write(tables, image_batch([0, 1])[0], image_batch([2], "val")[0])
    assert tables.read("images", version, ["row"], "split = 'val'")["row"].to_pylist() == [2]


def test_features_come_back_bit_for_bit(tables):
    (first, a), (second, b) = image_batch([0, 1, 2], seed=1), image_batch([3, 4], seed=2)
    version = write(tables, first, second)
    found = np.zeros((5, DIM), np.float16)
    for batch in tables.scan("images", version, ["row", "features"], "split = 'train'", batch_rows=2):
        found[batch["row"].to_numpy()] = vectors_from_arrow(batch["features"])
    np.testing.assert_array_equal(found, np.concatenate([a, b]))
    assert sum(len(b) for b in tables.scan("images", version, ["row"], "split = 'test'")) == 0


def test_earlier_versions_stay_as_they_were(tables):
    first = write(tables, image_batch([0, 1, 2])[0])
    tables.tag("images", first, "gen-000001")
    second = write(tables, image_batch([7])[0])
    assert second > first
    assert tables.read("images", first, ["row"])["row"].to_pylist() == [0, 1, 2]
    assert tables.read("images", second, ["row"])["row"].to_pylist() == [7]


def test_a_tag_can_be_set_and_moved(tables):
    versions = [write(tables, image_batch([n])[0]) for n in range(2)]
    for version in versions:
        tables.tag("images", version, "gen-000001")
        table = tables._connect().open_table("images")
        assert table.tags.list()["gen-000001"]["version"] == version


def test_tables_do_not_share_versions(tables):
    version = write(tables, image_batch([0])[0])
    with pytest.raises(IndexDamagedError, match=r"cells\.lance.*build the index again"):
        tables.read("cells", version, ["cell"])


def damage(tables, kind):
    for path in (tables.folder / "images.lance" / "data").iterdir():
        path.write_bytes(path.read_bytes()[:40]) if kind == "truncated" else path.unlink()


@pytest.mark.parametrize("kind", ["truncated", "deleted", "version"])
def test_what_cannot_be_read_is_an_error_with_the_cure(tables, kind):
    version = write(tables, image_batch([0, 1])[0]) + (98 if kind == "version" else 0)
    if kind != "version":
        damage(tables, kind)
    sentence = rf"images\.lance' cannot be read at version {version} .*restore the folder from a copy or build"
    with pytest.raises(IndexDamagedError, match=sentence):
        tables.read("images", version, ["row", "id"])
    with pytest.raises(IndexDamagedError, match=sentence):
        list(tables.scan("images", version, ["row", "features"], "split = 'train'"))


def test_errors_of_whoever_uses_the_features_pass(tables):
    version = write(tables, image_batch([0])[0])

    def use():
        for _ in tables.scan("images", version, ["row", "features"], "split = 'train'"):
            raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        use()


def test_data_is_hashed_while_it_is_written(tables, monkeypatch):
    read_again, of = [], FileRecord.of
    monkeypatch.setattr(FileRecord, "of", lambda path, *_: (read_again.append(path.parent.name), of(path))[1])
    version = write(tables, *(image_batch(range(n * 20_000, (n + 1) * 20_000))[0] for n in range(5)))
    version = tables.append("images", version, [image_batch(range(100_000, 150_000))[0]])
    assert set(read_again) == {"_versions"}
    monkeypatch.undo()
    records = tables.checksums.of("images", version)
    assert sum(file.endswith(".lance") for file in records) == 2
    assert sum(record.bytes for record in records.values()) > 1_000_000
    assert records == {file: FileRecord.of(tables.folder / file) for file in records}
    assert tables.checksums.faults("images", version) == []


def test_what_was_written_is_synced(tables, monkeypatch):
    synced = []
    monkeypatch.setattr(durable, "sync", lambda path: synced.append(path.suffix or path.name))
    write(tables, image_batch([0])[0])
    assert {".lance", ".manifest"} <= set(synced)


def test_the_folders_that_name_what_was_written_are_synced(tables, monkeypatch):
    synced = []
    monkeypatch.setattr("geoindex.store.tables.sync", synced.append)
    tables.tag("images", write(tables, image_batch([0])[0]), "gen-000001")
    assert synced == [tables.folder, tables.folder / "images.lance"]


def test_a_table_whose_newest_version_is_damaged_is_not_written_over(tables):
    write(tables, image_batch([0])[0])
    for path in (tables.folder / "images.lance" / "_versions").glob("*.manifest"):
        path.write_bytes(b"")
    with pytest.raises(IndexDamagedError, match=r"newest version .*in another folder"):
        write(tables, image_batch([1])[0])


def test_what_a_stopped_first_write_left_is_written_over(tables):
    (tables.folder / "images.lance" / "data").mkdir(parents=True)
    assert tables.read("images", write(tables, image_batch([4])[0]), ["row"])["row"].to_pylist() == [4]


def test_a_full_disk_is_a_storage_error_and_keeps_the_earlier_version(tables, monkeypatch):
    version = write(tables, image_batch([0])[0])

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(durable, "sync", full)
    with pytest.raises(StorageError, match="is full"):
        write(tables, image_batch([1])[0])
    assert tables.read("images", version, ["row"])["row"].to_pylist() == [0]


def test_a_folder_that_cannot_be_made_is_a_storage_error(tmp_path):
    (tmp_path / "tables").write_bytes(b"a file")
    with pytest.raises(StorageError, match="choose another place"):
        write(LanceTables(tmp_path / "tables"), image_batch([0])[0])
