"""Files that are either whole and on the disk, or not there: write aside, sync, rename.

Neither Lance nor FAISS syncs what it writes, so everything that a generation names passes through here.
"""

import errno
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from geoindex.errors import StorageError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)
REFUSED = (*FORBIDDEN, errno.ENOTDIR, errno.EEXIST)
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
            f"Cannot write to '{path}': {refusal}; choose another folder with --out or change its permissions."
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
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
    sync(path.parent)


def make_folder(path: Path) -> None:
    """Make a folder, and those above it that are missing, and wait until their names are on the disk."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for folder in missing:
        sync(folder.parent)


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


@dataclass(frozen=True, slots=True)
class FileRecord:
    """Size and sha256 of one file of a generation."""

    bytes: int
    sha256: str

    @classmethod
    def of(cls, path: Path) -> "FileRecord":
        """Measure a file."""
        return cls(path.stat().st_size, file_digest(path))
