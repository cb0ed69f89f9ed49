"""One writer a folder."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from geoindex.errors import IndexLockedError
from geoindex.store.durable import make_folder, storage_errors


@contextmanager
def locked(root: Path) -> Iterator[None]:
    """Hold the right to write below a folder; the system drops it when the process ends, however it ends.

    Raises:
        IndexLockedError: if another process holds it.
        StorageError: if the folder cannot be written.
    """
    from filelock import FileLock, Timeout

    with storage_errors(root):
        make_folder(root)
        lock = FileLock(root / ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise IndexLockedError(
                f"Another process is writing to '{root}'; wait for it to end, or build into another folder."
            ) from None
    try:
        yield
    finally:
        lock.release()
