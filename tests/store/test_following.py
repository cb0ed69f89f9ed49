"""What is hashed while it grows has the checksum that it has when it is whole."""

import errno
import hashlib
import os
from time import sleep

import pytest

from geoindex.store import following
from geoindex.store.durable import FileRecord
from geoindex.store.following import Follower


def write_in_pieces(path, pieces, pause_s=0.0):
    with path.open("wb", buffering=0) as file:
        for piece in pieces:
            file.write(piece)
            sleep(pause_s)


@pytest.fixture
def reads(monkeypatch):
    """Names of the files that are read again."""
    names, of = [], FileRecord.of
    monkeypatch.setattr(following.FileRecord, "of", lambda path: (names.append(path.name), of(path))[1])
    return names


@pytest.mark.parametrize("pause_s", [0.0, 0.004, 0.03])
def test_a_growing_file_that_is_renamed(tmp_path, reads, pause_s):
    pieces = [os.urandom(size) for size in (1, 2**20 + 7, 0, 300_000, 2**21)]
    with Follower(tmp_path) as follower:
        write_in_pieces(tmp_path / ".tmp1", pieces, pause_s)
        (tmp_path / ".tmp1").rename(tmp_path / "data")
    assert follower.record(tmp_path / "data") == FileRecord(2**20 + 2**21 + 300_008, _sha256(b"".join(pieces)))
    assert reads == []


def _sha256(data):
    return hashlib.sha256(data).hexdigest()


def test_several_files_at_once(tmp_path, reads):
    with Follower(tmp_path) as follower:
        files = [(tmp_path / f".tmp{n}").open("wb", buffering=0) for n in range(5)]
        for turn in range(20):
            for number, file in enumerate(files):
                file.write(bytes([number, turn]) * 5000)
            sleep(0.002)
        for number, file in enumerate(files):
            file.close()
            (tmp_path / f".tmp{number}").rename(tmp_path / f"data{number}")
    found = [follower.record(tmp_path / f"data{n}") for n in range(5)]
    assert reads == []
    assert found == [FileRecord.of(tmp_path / f"data{n}") for n in range(5)]


def test_a_file_that_was_finished_before_the_first_look(tmp_path, reads):
    follower = Follower(tmp_path)
    (tmp_path / "data").write_bytes(b"at once")
    with follower:
        pass
    assert follower.record(tmp_path / "data") == FileRecord(7, _sha256(b"at once"))
    assert reads == []


def test_a_file_that_grows_on_afterwards_is_read_again(tmp_path, reads):
    with Follower(tmp_path) as follower:
        (tmp_path / "data").write_bytes(b"half")
    with (tmp_path / "data").open("ab") as file:
        file.write(b" and whole")
    assert follower.record(tmp_path / "data") == FileRecord(14, _sha256(b"half and whole"))
    assert reads == ["data"]


def test_files_from_before_and_of_other_folders_are_read(tmp_path, reads):
    (tmp_path / "old").write_bytes(b"old")
    (tmp_path / "other").mkdir()
    with Follower(tmp_path / "other") as follower:
        (tmp_path / "new").write_bytes(b"new")
    assert follower.record(tmp_path / "old") == FileRecord(3, _sha256(b"old"))
    assert follower.record(tmp_path / "new") == FileRecord(3, _sha256(b"new"))
    assert reads == ["old", "new"]


def test_a_folder_that_appears_later(tmp_path, reads):
    with Follower(tmp_path / "a" / "b") as follower:
        (tmp_path / "a" / "b").mkdir(parents=True)
        (tmp_path / "a" / "b" / "data").write_bytes(bytes(1000))
    assert follower.record(tmp_path / "a" / "b" / "data").bytes == 1000
    assert reads == []


def test_a_file_that_vanishes_does_no_harm(tmp_path):
    with Follower(tmp_path) as follower:
        for number in range(30):
            path = tmp_path / f".tmp{number}"
            path.write_bytes(bytes(number))
            sleep(0.002)
            path.unlink()
        (tmp_path / "data").write_bytes(b"whole")
    assert follower.record(tmp_path / "data") == FileRecord(5, _sha256(b"whole"))


def test_what_has_grown_is_sent_to_the_disk_meanwhile(tmp_path, monkeypatch):
    sent = []
    monkeypatch.setattr(following, "SENT_BYTES", 100_000)
    monkeypatch.setattr(following, "send", lambda descriptor, start, size: sent.append((start, start + size)))
    with Follower(tmp_path):
        write_in_pieces(tmp_path / "data", [bytes(60_000)] * 10, pause_s=0.01)
    assert len(sent) >= 1
    assert [start for start, _ in sent] == [0, *(stop for _, stop in sent[:-1])]
    assert sent[-1][1] > 500_000


def test_sending_leaves_the_bytes_as_they_are(tmp_path, monkeypatch, reads):
    monkeypatch.setattr(following, "SENT_BYTES", 1000)
    data = os.urandom(300_000)
    with Follower(tmp_path) as follower:
        write_in_pieces(tmp_path / "data", [data[:100_000], data[100_000:]], pause_s=0.02)
    assert follower.record(tmp_path / "data") == FileRecord(300_000, _sha256(data))
    assert (tmp_path / "data").read_bytes() == data
    assert reads == []


def test_what_cannot_be_followed_is_read_afterwards(tmp_path, monkeypatch, reads, caplog):
    def refuse(*_):
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(os, "preadv", refuse)
    with Follower(tmp_path) as follower:
        (tmp_path / "data").write_bytes(b"whole")
    assert "Too many open files" in caplog.text
    assert follower.record(tmp_path / "data") == FileRecord(5, _sha256(b"whole"))
    assert reads == ["data"]


def test_an_error_of_the_writer_passes_and_descriptors_are_closed(tmp_path, monkeypatch):
    opened, closed, close = [], [], os.close
    monkeypatch.setattr(os, "close", lambda descriptor: (closed.append(descriptor), close(descriptor))[1])

    def write():
        (tmp_path / "data").write_bytes(b"half")
        while not follower._growing:
            sleep(0.001)
        opened.extend(growing.descriptor for growing in follower._growing.values())
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"), Follower(tmp_path) as follower:
        write()
    assert len(opened) == 1
    assert set(opened) <= set(closed)
