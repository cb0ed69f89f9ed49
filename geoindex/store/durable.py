"""Files that are either whole and on the disk, or not there: write aside, sync, rename.

Neither Lance nor FAISS syncs what it writes, so everything that a generation names passes through here.
"""

import errno
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from geoindex.errors import StorageError

BLOCK_BYTES = 2**18
"""Size of the blocks of a large file: one takes 0.2 ms to check, and the digests are a 8192th of the file."""

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST)


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
        if not (isinstance(error, OSError) and error.errno in REFUSED):
            raise
        raise StorageError(
            f"Cannot write to '{path}': {error.strerror}; choose another folder with --out or change its permissions."
        ) from error


def _says_full(error: Exception) -> bool:
    # Lance, FAISS and safetensors, each with errors of its own, pass the system's message on as text
    return getattr(error, "errno", None) in FULL or "No space left on device" in str(error)


def _full(path: Path) -> StorageError:
    return StorageError(f"The disk of '{path}' is full; free some space and run the same command again.")


def write_durably(path: Path, data: bytes) -> None:
    """Replace the file at `path` by `data`, at once and for good."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with aside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
    sync(path.parent)


def sync(path: Path) -> None:
    """Wait until a file or the entries of a folder are on the disk."""
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


def file_digest(path: Path) -> str:
    """Return the sha256 of a file in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def block_digests(path: Path, block_bytes: int) -> bytes:
    """Return the sha256 of each block of a file, 32 bytes each, one after the other."""
    with path.open("rb", buffering=0) as file:
        return b"".join(hashlib.sha256(block).digest() for block in iter(partial(file.read, block_bytes), b""))


@dataclass(frozen=True, slots=True)
class FileRecord:
    """Size and sha256 of one file.

    Attributes:
        bytes: its size.
        sha256: of its content, or of the digests of its blocks as `block_digests` gives them.
        block_bytes: size of a block; 0: the content has no blocks.
    """

    bytes: int
    sha256: str
    block_bytes: int = 0

    @classmethod
    def of(cls, path: Path) -> "FileRecord":
        """Measure a file as a whole."""
        return cls(path.stat().st_size, file_digest(path))

    def fits(self, path: Path) -> bool:
        """Tell whether every byte of a file is as it was recorded."""
        size = path.stat().st_size
        if size != self.bytes:
            return False
        if not self.block_bytes:
            return file_digest(path) == self.sha256
        return block_record(block_digests(path, self.block_bytes), size, self.block_bytes) == self


def block_record(digests: bytes, size: int, block_bytes: int) -> FileRecord:
    """Return the record of a file whose blocks have these digests."""
    return FileRecord(size, hashlib.sha256(digests).hexdigest(), block_bytes)
