"""Files that are either whole and on the disk, or not there: write aside, sync, rename.

Neither Lance nor FAISS syncs what it writes, so everything that a generation names passes through here.
"""

import errno
import hashlib
import io
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

from geoindex.errors import StorageError

READ_BYTES = 2**20

Durability = Literal["durable", "fast"]
"""durable: what was confirmed outlives a power cut, and damage is told. fast: a build that can be made again does not
wait for the disk and keeps no checksums."""

_waiting: ContextVar[bool] = ContextVar("waiting for the disk", default=True)

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)
REFUSED = (*FORBIDDEN, errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.ENAMETOOLONG)
UNREADABLE = (errno.EACCES, errno.EPERM, errno.EIO)


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn a refusal of the disk into one sentence with the cure.

    Raises:
        StorageError: if the disk is full, read-only or not permitted.
    """
    try:
        yield
    except Exception as error:
        if _says_full(error):
            raise _full(path) from error
        refusal = _refusal(error)
        if not refusal:
            raise
        raise StorageError(
            f"Cannot write to '{path}': {refusal}; change its permissions or choose another place."
        ) from error


@contextmanager
def reading_errors(path: Path) -> Iterator[None]:
    """Turn a file that may not be read, or that the disk cannot give, into one sentence with the cure.

    Raises:
        StorageError: if it is so.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in UNREADABLE:
            raise
        raise StorageError(
            f"Cannot read '{error.filename or path}': {error.strerror}; change its permissions or look after the disk."
        ) from error


def _says_full(error: Exception) -> bool:
    # Lance, FAISS and safetensors, each with errors of its own, pass the system's message on as text
    return getattr(error, "errno", None) in FULL or any(os.strerror(code) in str(error) for code in FULL)


def _refusal(error: Exception) -> str:
    """Return the system's word for a refusal; empty if it is none."""
    if isinstance(error, OSError) and error.errno in REFUSED:
        return str(error.strerror)
    return next((os.strerror(code) for code in FORBIDDEN if f"{os.strerror(code)} (os error" in str(error)), "")


def _full(path: Path) -> StorageError:
    return StorageError(f"The disk of '{path}' is full; free some space and run the same command again.")


def write_durably(path: Path, data: bytes) -> None:
    """Replace the file at `path` by `data`, at once and for good."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with aside.open("wb") as file:
            file.write(data)
            sync_file(file)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
    sync(path.parent)


def write_arrays(path: Path, **arrays: Any) -> None:
    """Replace the .npz at `path` by arrays by name, at once and for good; its folder is made where there is none."""
    import numpy as np

    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_durably(path, buffer.getvalue())


@contextmanager
def waiting(durability: Durability) -> Iterator[None]:
    """Open a scope in which nothing waits for the disk if it is `fast`; files are replaced at once all the same."""
    token = _waiting.set(durability == "durable")
    try:
        yield
    finally:
        _waiting.reset(token)


def make_folder(path: Path) -> None:
    """Make a folder, and those above it that are missing, and wait until their names are on the disk."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for folder in missing:
        sync(folder.parent)


def share_file(path: Path, other: Path) -> None:
    """Give a file that never changes a second name, or a copy where the file system knows no second names."""
    try:
        other.hardlink_to(path)
    except OSError:
        shutil.copyfile(path, other)


def sync_file(file: BinaryIO) -> None:
    """Wait until what was written to an open file is on the disk."""
    file.flush()
    if _waiting.get():
        os.fsync(file.fileno())


def sync(path: Path) -> None:
    """Wait until a file or the entries of a folder are on the disk."""
    if not _waiting.get():
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """Wait until every file and folder below `folder` is on the disk."""
    for parent, _, names in os.walk(folder):
        for name in names:
            sync(Path(parent, name))
        sync(Path(parent))


def file_stamp(path: str) -> tuple[int, int, int]:
    """Return what changes when a file is replaced."""
    try:
        facts = os.stat(path)  # noqa: PTH116 - asked before every query
    except OSError:
        return 0, 0, 0
    return facts.st_ino, facts.st_mtime_ns, facts.st_ctime_ns


@dataclass(frozen=True, slots=True)
class FileRecord:
    """Size and sha256 of one file.

    Attributes:
        bytes: its size.
        sha256: of its content, or of the digests of its blocks, one after the other; empty: not recorded.
        block_bytes: size of a block; 0: the content is not in blocks.

    Raises:
        ValueError: if they cannot be those of a file.
    """

    bytes: int
    sha256: str
    block_bytes: int = 0

    def __post_init__(self) -> None:
        sizes = (self.bytes, self.block_bytes)
        if not isinstance(self.sha256, str) or any(type(size) is not int or size < 0 for size in sizes):
            raise ValueError(f"{self} is the record of no file")

    @classmethod
    def of(cls, path: Path, block_bytes: int = 0) -> "FileRecord":
        """Measure a file as a whole, or in blocks."""
        return measure(path, block_bytes).record()

    @classmethod
    def of_size(cls, path: Path) -> "FileRecord":
        """Measure the size of a file alone."""
        return cls(path.stat().st_size, "")

    def fits(self, path: Path) -> bool:
        """Tell whether every byte of a file is as it was recorded; without a checksum, whether its size is."""
        if path.stat().st_size != self.bytes:
            return False
        return not self.sha256 or self == FileRecord.of(path, self.block_bytes)


class Measure:
    """Size and checksum of bytes that come in pieces of any size."""

    def __init__(self, block_bytes: int = 0) -> None:
        self.size, self._block_bytes = 0, block_bytes
        self._whole, self._state = bytearray(), hashlib.sha256()

    def update(self, piece: bytes | memoryview) -> None:
        """Take the next bytes."""
        view = memoryview(piece)
        while self._block_bytes and len(view) >= (room := self._block_bytes - self.size % self._block_bytes):
            self._state.update(view[:room])
            self._whole += self._state.digest()
            self.size, self._state, view = self.size + room, hashlib.sha256(), view[room:]
        self._state.update(view)
        self.size += len(view)

    @property
    def digests(self) -> bytes:
        """The sha256 of each block so far, the last of which may be short, 32 bytes each."""
        return bytes(self._whole) + (self._state.digest() if self.size % self._block_bytes else b"")

    def record(self) -> FileRecord:
        """Return the record of the bytes so far."""
        if not self._block_bytes:
            return FileRecord(self.size, self._state.hexdigest())
        return block_record(self.digests, self.size, self._block_bytes)


def block_record(digests: bytes, size: int, block_bytes: int) -> FileRecord:
    """Return the record of a file whose blocks have these digests."""
    return FileRecord(size, hashlib.sha256(digests).hexdigest(), block_bytes)


def measure(path: Path, block_bytes: int = 0) -> Measure:
    """Measure a file as a whole, or in blocks."""
    found, buffer = Measure(block_bytes), memoryview(bytearray(READ_BYTES))
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(buffer):
            found.update(buffer[:count])
    return found
