import errno
import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import geoindex
from geoindex.errors import IndexDamagedError, IndexNotFoundError, IndexVersionError, StorageError
from geoindex.store.durable import FileRecord, write_durably
from geoindex.store.generations import IndexFolder
from geoindex.store.manifest import Manifest, digest
from geoindex.store.sealing import seal

SCHEMA = pa.schema([("row", pa.int64())])
FILES = {"cells.arrow": b"cells" * 10, "index.faiss": bytes(range(200))}


def make_generation(index, number=0):
    """Begin, fill, seal and publish a generation whose first file is numbered."""
    name, folder = index.begin()
    for file, data in FILES.items():
        (folder / file).write_bytes(data)
    (folder / "number.txt").write_text(str(number))
    rows = pa.record_batch([pa.array(np.arange(3) + number)], schema=SCHEMA)
    versions = {table: index.tables.write(table, SCHEMA, [rows]) for table in ("images", "cells", "clusters")}
    return index.publish(seal(folder, manifest_of(name, versions)))


def manifest_of(name, versions):
    return Manifest(
        generation=name, parent="", created="", recipe={}, source="", encoder={}, dim=2, counts={}, tables=versions,
        posterior={}, rule={}, geocells={}, canaries=[], left_out={}, timings_s={},
    )  # fmt: skip


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    index = IndexFolder(tmp_path_factory.mktemp("indexes") / "published")
    make_generation(index)
    return index.root


@pytest.fixture
def index(published, tmp_path):
    """An index with one generation, to change at will."""
    return IndexFolder(Path(shutil.copytree(published, tmp_path / "world")))


@pytest.fixture
def generation_folder(index):
    return index.root / "generations" / "000001"


def test_generations_are_numbered_from_one(tmp_path):
    index = IndexFolder(tmp_path / "new")
    name, folder = index.begin()
    assert name == "000001"
    assert folder.is_dir()
    assert list(folder.iterdir()) == []


def test_the_next_number_is_above_every_folder(index):
    (index.root / "generations" / "000041").mkdir()
    (index.root / "generations" / "notes").mkdir()
    assert index.begin()[0] == "000042"


def test_what_a_killed_build_left_is_removed(index):
    _, leftover = index.begin()
    (leftover / "half.faiss").write_bytes(b"x")
    name, folder = index.begin()
    assert name == "000002"
    assert list(folder.iterdir()) == []
    assert sorted(p.name for p in folder.parent.iterdir()) == [".000002.partial", "000001"]


def test_what_is_abandoned_is_gone(index):
    _, folder = index.begin()
    (folder / "half.faiss").write_bytes(b"x")
    index.abandon(folder)
    assert not folder.exists()
    index.abandon(folder)
    assert index.current().manifest.generation == "000001"


def test_sealing_records_every_file(index, generation_folder):
    manifest = index.current().manifest
    assert sorted(manifest.files) == [*FILES, "number.txt"]
    for name, record in manifest.files.items():
        assert record == FileRecord.of(generation_folder / name)


def test_publishing_makes_it_the_live_one(index):
    generation = index.current()
    assert (generation.folder.name, generation.manifest.generation) == ("000001", "000001")
    assert generation.file("index.faiss").read_bytes() == FILES["index.faiss"]
    pointer = json.loads((index.root / "CURRENT").read_bytes())
    assert pointer == {"generation": "000001", "sha256": digest((generation.folder / "manifest.json").read_bytes())}
    assert [p.name for p in generation.folder.parent.iterdir()] == ["000001"]


def test_an_open_generation_outlives_the_next_one(index):
    old = index.current()
    new = make_generation(index, number=5)
    assert index.current() == new
    assert new.file("number.txt").read_text() == "5"
    assert old.file("number.txt").read_text() == "0"
    for generation, rows in ((old, [0, 1, 2]), (new, [5, 6, 7])):
        versions = generation.manifest.tables
        assert index.tables.read("cells", versions["cells"], ["row"])["row"].to_pylist() == rows


def test_publishing_tags_the_tables(index):
    tags = index.tables._connect().open_table("images").tags.list()
    assert tags["gen-000001"]["version"] == index.current().manifest.tables["images"]


def publish_on_a_disk_that_fills_up(index, monkeypatch, syncs):
    """Publish while the disk takes only so many syncs; return whether that was enough."""
    name, folder = index.begin()
    (folder / "number.txt").write_text("9")
    draft = seal(folder, manifest_of(name, index.current().manifest.tables))
    left, fsync = iter(range(syncs)), os.fsync

    def sync_until_full(descriptor):
        if next(left, None) is None:
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", sync_until_full)
        try:
            index.publish(draft)
        except StorageError:
            return False
    return True


def test_a_disk_that_fills_up_at_any_sync_leaves_a_whole_live_generation(published, tmp_path, monkeypatch):
    live = []
    for syncs in range(100):
        index = IndexFolder(Path(shutil.copytree(published, tmp_path / str(syncs))))
        done = publish_on_a_disk_that_fills_up(index, monkeypatch, syncs)
        live.append(index.current().file("number.txt").read_text())
        if done:
            break
    # only the last sync, of the folder that holds CURRENT, comes after the switch
    assert len(live) > 10
    assert live == ["0"] * (len(live) - 2) + ["9"] * 2


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells which file a descriptor is")
def test_every_file_is_on_the_disk_before_it_gets_its_name(index, monkeypatch):
    name, folder = index.begin()
    (folder / "number.txt").write_text("9")
    draft = seal(folder, manifest_of(name, index.current().manifest.tables))
    synced, fsync = [], os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (synced.append(Path(f"/proc/self/fd/{fd}").readlink()), fsync(fd)))
    index.publish(draft)
    switch = next(i for i, path in enumerate(synced) if path.name.startswith(".CURRENT"))
    before = {path.relative_to(index.root).as_posix() for path in synced[:switch]}
    written = [f"generations/.{name}.partial/{file}" for file in ("number.txt", "manifest.json")]
    assert {*written, f"generations/.{name}.partial", "generations"} <= before
    assert synced[-1] == index.root


def test_a_rename_that_is_refused_leaves_the_live_generation(index, monkeypatch):
    before = index.current()
    name, folder = index.begin()
    draft = seal(folder, manifest_of(name, before.manifest.tables))

    def refuse(*_):
        raise OSError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "rename", refuse)
    with pytest.raises(StorageError, match="Permission denied; change its permissions"):
        index.publish(draft)
    monkeypatch.undo()
    assert index.current() == before
    assert index.begin()[0] == name


def test_no_index_at_all(tmp_path):
    index = IndexFolder(tmp_path / "nothing")
    with pytest.raises(IndexNotFoundError, match=r"No index at '.*nothing'; build one with 'geoindex build SOURCE"):
        index.current()


@pytest.mark.parametrize("begun", ["generations", "work"])
def test_an_index_that_was_never_finished(tmp_path, begun):
    (tmp_path / begun).mkdir()
    with pytest.raises(IndexNotFoundError, match=r"was never finished; run its build again, it goes on where"):
        IndexFolder(tmp_path).current()


def test_current_is_missing(index):
    (index.root / "CURRENT").unlink()
    with pytest.raises(IndexDamagedError, match=r"CURRENT' is gone; run 'geoindex repair"):
        index.current()


GARBAGE = [b"", b"\x00" * 80, b"\xff\xfe", b"000001", b"{", b"[]", b"null", b"{}", b'{"generation": "000001"}']


@pytest.mark.parametrize("data", GARBAGE)
def test_current_is_garbage(index, data):
    (index.root / "CURRENT").write_bytes(data)
    with pytest.raises(IndexDamagedError, match=r"CURRENT' does not name a generation; run 'geoindex repair"):
        index.current()


def test_current_names_a_generation_that_is_not_there(index):
    pointer = json.loads((index.root / "CURRENT").read_bytes()) | {"generation": "000009"}
    write_durably(index.root / "CURRENT", json.dumps(pointer).encode())
    with pytest.raises(IndexDamagedError, match=r"000009/manifest\.json' is not the manifest .*run 'geoindex repair"):
        index.current()


def test_every_changed_byte_of_the_manifest_is_seen(index, generation_folder):
    path = generation_folder / "manifest.json"
    data = path.read_bytes()
    for position in range(0, len(data), 23):
        changed = bytearray(data)
        changed[position] ^= 1
        path.write_bytes(changed)
        with pytest.raises(IndexDamagedError, match=r"is not the manifest that '.*CURRENT' names"):
            index.current()


@pytest.mark.parametrize("change", ["emptied", "deleted", "longer"])
def test_a_manifest_of_another_length_is_seen(index, generation_folder, change):
    path = generation_folder / "manifest.json"
    if change == "deleted":
        path.unlink()
    else:
        path.write_bytes(b"" if change == "emptied" else path.read_bytes() + b"\n")
    with pytest.raises(IndexDamagedError, match="run 'geoindex repair"):
        index.current()


def test_a_manifest_of_a_later_format(index, generation_folder):
    path = generation_folder / "manifest.json"
    data = json.dumps(json.loads(path.read_bytes()) | {"format_version": 3}).encode()
    path.write_bytes(data)
    write_durably(index.root / "CURRENT", json.dumps({"generation": "000001", "sha256": digest(data)}).encode())
    with pytest.raises(IndexVersionError, match="install the geoindex that wrote it"):
        index.current()


@pytest.mark.parametrize(("change", "says"), [("truncated", "199 bytes"), ("longer", "201 bytes"), ("deleted", "gone")])
def test_a_file_of_another_size_is_seen(index, generation_folder, change, says):
    path = generation_folder / "index.faiss"
    if change == "deleted":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:199] if change == "truncated" else path.read_bytes() + b"x")
    generation = index.current()
    with pytest.raises(IndexDamagedError) as caught:
        generation.file("index.faiss")
    sentence = str(caught.value)
    assert f"has {says}, the manifest says 200 bytes; run 'geoindex repair {index.root}'" in sentence
    assert generation.file("cells.arrow").is_file()


def test_a_file_that_the_manifest_does_not_name_is_refused(index, generation_folder):
    (generation_folder / "stranger").write_bytes(b"x")
    with pytest.raises(IndexDamagedError, match="has 1 bytes, the manifest says no such file"):
        index.current().file("stranger")


def test_places_below_the_root(tmp_path):
    index = IndexFolder(tmp_path)
    assert index.work == tmp_path / "work"
    assert index.encoder_folder("abc") == tmp_path / "encoder" / "abc"
    assert index.tables.folder == tmp_path / "tables"


def test_a_generation_that_current_never_named_is_removed(index, monkeypatch):
    write = geoindex.store.generations.write_durably

    def refuse_current(path, data):
        if path.name == "CURRENT":
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, data)

    monkeypatch.setattr("geoindex.store.generations.write_durably", refuse_current)
    with pytest.raises(StorageError):
        make_generation(index, 1)
    assert [p.name for p in (index.root / "generations").iterdir() if p.name.isdigit()] == ["000001"]
    assert index.current().manifest.generation == "000001"


def test_a_file_is_no_index(tmp_path):
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(IndexNotFoundError, match="is a file, and an index is a folder"):
        IndexFolder(file).current()
