"""What the manifest of a version of a table names, and what it does not."""

import numpy as np
import pyarrow as pa
import pytest

from geoindex.store.references import files_of, manifests
from geoindex.store.tables import LanceTables

SCHEMA = pa.schema([("row", pa.int64()), ("place", pa.string())])


def rows(first, count, place="here"):
    return pa.record_batch([pa.array(np.arange(first, first + count)), pa.array([place] * count)], schema=SCHEMA)


@pytest.fixture
def tables(tmp_path):
    return LanceTables(tmp_path / "tables")


@pytest.fixture
def versions(tables):
    """A table that was written, appended to, changed in few rows and in many, and written anew."""
    found = [tables.write("images", SCHEMA, [rows(0, 20_000)])]
    found.append(tables.append("images", found[-1], [rows(20_000, 10)]))
    found.append(tables.merge("images", found[-1], "row", pa.Table.from_batches([rows(3, 4, "there")])))
    found.append(tables.merge("images", found[-1], "row", pa.Table.from_batches([rows(10, 15_000, "far")])))
    labelled = rows(20_010, 5).append_column("city", pa.array(["Rome"] * 5))
    found.append(tables.append("images", found[1], [labelled]))
    found.append(tables.write("images", SCHEMA, [rows(0, 7)]))
    return found


def of_lance(folder, version):
    """Return what Lance itself says of a version."""
    import lance

    found = set()
    for fragment in lance.dataset(str(folder), version=version).get_fragments():
        found |= {f"data/{file.path}" for file in fragment.metadata.files}
        deletions = fragment.metadata.deletion_file
        found |= {deletions.path(fragment.fragment_id)} if deletions else set()
    return found


def test_lance_says_the_same(tables, versions):
    folder = tables.folder / "images.lance"
    deletions = set()
    for version in versions:
        files = files_of(folder, version)
        assert all((folder / file).is_file() for file in files)
        assert {f for f in files if f[0] != "_" or f.startswith("_deletions")} == of_lance(folder, version)
        assert {f for f in files if f.startswith("_versions")} == {f"_versions/{manifests(folder)[version].name}"}
        deletions |= {f.rpartition(".")[2] for f in files if f.startswith("_deletions")}
    assert deletions == {"arrow", "bin"}


def test_a_list_has_the_files_of_its_version_alone(tables, versions):
    for version in versions:
        files = {f for f in files_of(tables.folder / "images.lance", version) if not f.startswith("_transactions")}
        assert set(tables.checksums.of("images", version)) == {f"images.lance/{file}" for file in files}
        assert tables.checksums.faults("images", version) == []


def test_a_file_that_its_list_lacks_is_a_fault(tables, versions):
    records = tables.checksums.of("images", versions[1])
    data = sorted(file for file in records if "/data/" in file)
    tables.checksums.write("images", versions[1], {file: records[file] for file in records if file != data[0]})
    assert tables.checksums.faults("images", versions[1]) == [f"'{tables.folder / data[0]}' has no checksum"]


def test_a_manifest_that_is_none(tables, versions):
    folder = tables.folder / "images.lance"
    path = manifests(folder)[versions[2]]
    data = path.read_bytes()
    for end in range(0, len(data), 7):
        path.write_bytes(data[:end])
        with pytest.raises(ValueError, match=r"^no manifest$"):
            files_of(folder, versions[2])
    start = int.from_bytes(data[-16:-8], "little") + 4
    for place in range(start, len(data) - 20):  # whatever it says then, it is no other error
        path.write_bytes(data[:place] + b"\xff" + data[place + 1 :])
        try:
            files_of(folder, versions[2])
        except ValueError:
            continue
    path.unlink()
    with pytest.raises(FileNotFoundError):
        files_of(folder, versions[2])


@pytest.mark.parametrize("flags", [0b10, 0b10000, 0b1000000])
def test_what_may_name_files_in_another_way_is_refused(tables, versions, flags):
    folder = tables.folder / "images.lance"
    path = manifests(folder)[versions[0]]
    data = path.read_bytes()
    start = int.from_bytes(data[-16:-8], "little")
    message = data[start + 4 : -16] + bytes([9 << 3, flags])
    path.write_bytes(data[:start] + len(message).to_bytes(4, "little") + message + data[-16:])
    with pytest.raises(ValueError, match="of a newer Lance"):
        files_of(folder, versions[0])
