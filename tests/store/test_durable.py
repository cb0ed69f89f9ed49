import errno
import hashlib
import os
import sys
from pathlib import Path

import pytest

from geoindex.errors import StorageError
from geoindex.store.durable import FileRecord, Measure, measure, storage_errors, sync, sync_tree, write_durably

linux = pytest.mark.skipif(sys.platform != "linux", reason="/proc tells which file a descriptor is")


def refuse(code):
    def fail(*_):
        raise OSError(code, os.strerror(code))

    return fail


def test_a_file_is_written_and_replaced(tmp_path):
    path = tmp_path / "CURRENT"
    for data in (b"first", b"second, and longer", b""):
        write_durably(path, data)
        assert path.read_bytes() == data
    assert [p.name for p in tmp_path.iterdir()] == ["CURRENT"]


def record_syncs(monkeypatch):
    """Return a list that every synced path is added to."""
    synced, fsync = [], os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (synced.append(str(Path(f"/proc/self/fd/{fd}").readlink())), fsync(fd)))
    return synced


@linux
def test_the_data_is_synced_before_the_name_and_the_name_after(tmp_path, monkeypatch):
    steps, replace = record_syncs(monkeypatch), type(tmp_path).replace
    monkeypatch.setattr(type(tmp_path), "replace", lambda a, b: (steps.append("replace"), replace(a, b))[1])
    write_durably(tmp_path / "CURRENT", b"data")
    assert steps[0].endswith(".tmp")
    assert steps[1:] == ["replace", str(tmp_path)]


@pytest.mark.parametrize("step", ["fsync", "replace"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_leaves_the_old_content(tmp_path, monkeypatch, step, code):
    path = tmp_path / "CURRENT"
    write_durably(path, b"old")
    monkeypatch.setattr(os, step, refuse(code))
    with pytest.raises(StorageError, match=r"is full; free some space and run the same"), storage_errors(path):
        write_durably(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["CURRENT"]


@pytest.mark.parametrize("code", [errno.EACCES, errno.EPERM, errno.EROFS])
def test_a_disk_that_refuses_is_one_sentence_with_the_cure(tmp_path, monkeypatch, code):
    path = tmp_path / "CURRENT"
    monkeypatch.setattr(os, "fsync", refuse(code))
    with pytest.raises(StorageError) as caught, storage_errors(path):
        write_durably(path, b"new")
    what, cure = str(caught.value).split("; ")
    assert what == f"Cannot write to '{path}': {os.strerror(code)}"
    assert cure == "change its permissions or choose another place."
    assert caught.value.__cause__.errno == code
    assert list(tmp_path.iterdir()) == []


def test_a_file_where_a_folder_should_be_is_refused(tmp_path):
    blocking = tmp_path / "index"
    blocking.write_bytes(b"a file")
    for folder in (blocking, blocking / "below"):
        with pytest.raises(StorageError, match="choose another place"), storage_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)


def test_errors_that_are_not_the_disks_pass(tmp_path):
    for error in (OSError(errno.EMFILE, "too many files"), OSError("no number"), RuntimeError("other"), KeyError("k")):
        with pytest.raises(type(error)) as caught, storage_errors(tmp_path):
            raise error
        assert caught.value is error


@pytest.mark.parametrize("kind", [RuntimeError, OSError, type("SafetensorError", (Exception,), {})])
def test_a_full_disk_that_a_library_reports_as_text(tmp_path, kind):
    with pytest.raises(StorageError, match="is full"), storage_errors(tmp_path):
        raise kind("Error while serializing: I/O error: No space left on device (os error 28)")


def test_a_storage_error_passes_through_a_second_guard(tmp_path):
    error = StorageError("The disk is full.")
    with pytest.raises(StorageError) as caught, storage_errors(tmp_path), storage_errors(tmp_path):
        raise error
    assert caught.value is error


@linux
def test_sync_tree_reaches_every_file_and_folder(tmp_path, monkeypatch):
    (tmp_path / "a" / "b").mkdir(parents=True)
    files = [tmp_path / "one", tmp_path / "a" / "two", tmp_path / "a" / "b" / "three"]
    for path in files:
        path.write_bytes(b"x")
    synced = record_syncs(monkeypatch)
    sync_tree(tmp_path)
    assert sorted(synced) == sorted(str(p) for p in [*files, tmp_path, tmp_path / "a", tmp_path / "a" / "b"])


def test_descriptors_are_closed_even_when_syncing_fails(tmp_path, monkeypatch):
    closed, close = [], os.close
    monkeypatch.setattr(os, "fsync", refuse(errno.EIO))
    monkeypatch.setattr(os, "close", lambda fd: (closed.append(fd), close(fd))[1])
    with pytest.raises(OSError, match="rror"):
        sync(tmp_path)
    assert len(closed) == 1


def test_digest(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(bytes(range(256)) * 5000)
    assert FileRecord.of(path) == FileRecord(1_280_000, hashlib.sha256(path.read_bytes()).hexdigest())


@pytest.mark.parametrize("block_bytes", [0, 1, 100, 256, 10_000])
@pytest.mark.parametrize("piece", [1, 7, 100, 256, 300, 5000])
def test_the_size_of_pieces_does_not_matter(tmp_path, block_bytes, piece):
    data = bytes(range(250)) * 4 + b"end"
    found = Measure(block_bytes)
    for start in range(0, len(data), piece):
        found.update(data[start : start + piece])
    (tmp_path / "file").write_bytes(data)
    assert found.record() == measure(tmp_path / "file", block_bytes).record()
    if block_bytes:
        blocks = [data[start : start + block_bytes] for start in range(0, len(data), block_bytes)]
        assert found.digests == b"".join(hashlib.sha256(block).digest() for block in blocks)
        assert found.record() == FileRecord(1003, hashlib.sha256(found.digests).hexdigest(), block_bytes)


def test_a_record_tells_any_change(tmp_path):
    path = tmp_path / "file"
    for block_bytes in (0, 100):
        path.write_bytes(bytes(1000))
        record = FileRecord.of(path, block_bytes)
        assert record.fits(path)
        path.write_bytes(bytes(999) + b"x")
        assert not record.fits(path)
        path.write_bytes(bytes(1001))
        assert not record.fits(path)
