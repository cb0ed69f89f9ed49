"""Copies of what was opened from object storage: each an ordinary index, fetched once, kept while it is of use."""

import json
import logging
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from uuid import uuid4

from geoindex.errors import IndexDamagedError, UnreachableError
from geoindex.remote.fetching import fetch, refetch
from geoindex.remote.index import RemoteIndex
from geoindex.store.address import cache_of
from geoindex.store.durable import make_folder, storage_errors, write_durably
from geoindex.store.listing import Listing, damaged, label_of
from geoindex.store.pointer import POINTER_NAME, pointer_to, read_pointer

if TYPE_CHECKING:
    from filelock import FileLock

T = TypeVar("T")

log = logging.getLogger(__name__)

STAGING = "build"
LABEL = re.compile(r"\d+-\w+")
KEPT = 2
"""Copies that stay in any case: the last one, and the one before."""


@dataclass(frozen=True, slots=True)
class CachedCopy:
    """A copy of a generation at a URL; it stays as long as this object lives.

    Attributes:
        url: where it comes from.
        folder: the copy, an index.
        lease: what keeps it.
    """

    url: str
    folder: Path
    lease: "FileLock"


def open_copy(url: str) -> CachedCopy:
    """Return a copy of what answers at a URL; where the service does not answer, of what did when it was last asked.

    Raises:
        IndexNotFoundError: if nothing was published there.
        IndexDamagedError: if what answers is not what was written.
        UnreachableError: if the service does not answer, and there is no copy.
        StorageError: if it refuses, or the disk of the cache does.
    """
    remote, home = RemoteIndex(url), cache_of(url)
    try:
        pointer = remote.live().pointer
    except UnreachableError as error:
        pointer = _last(home, error)
        log.warning("%s Generation %s answers from the cache, '%s'.", error, pointer["generation"], home)
    with _one_at_a_time(home):
        folder = home / label_of(pointer)
        if not folder.exists():
            listing = remote.listing(pointer)
            write_durably(home / f"{listing.label}.json", listing.to_json())
            fetch(remote, listing, folder, home / "fetched", files_at_hand(home))
        write_durably(home / POINTER_NAME, json.dumps(pointer).encode())
        copy = CachedCopy(url, folder, _lease(_leases(folder)))
        _sweep(home, folder)
    return copy


def newer_copy(copy: CachedCopy) -> CachedCopy | None:
    """Return a copy of what answers at the URL of one now; None if that is this one, or cannot be told.

    Raises:
        StoreError: as `open_copy`.
    """
    try:
        pointer = RemoteIndex(copy.url).live().pointer
    except UnreachableError as error:
        log.warning("%s Generation %s goes on answering.", error, copy.folder.name.partition("-")[0])
        return None
    return None if label_of(pointer) == copy.folder.name else open_copy(copy.url)


def use_copy(copy: CachedCopy, use: Callable[[Path], T]) -> T:
    """Do something with a copy; files of it that are not what was written are fetched again, once.

    Raises:
        IndexDamagedError: if the copy is what was written, or its own list is not.
        StoreError: if the service does not answer or refuses, or the disk of the cache does.
    """
    try:
        return use(copy.folder)
    except IndexDamagedError as error:
        if _mend(copy):
            log.warning("The copy of '%s' was mended: %s.", copy.url, str(error).partition(";")[0])
    return use(copy.folder)  # another process may have mended it


def _mend(copy: CachedCopy) -> bool:
    home = copy.folder.parent
    with _one_at_a_time(home):
        return refetch(RemoteIndex(copy.url), _listing(copy.folder), copy.folder, home / "mended")


def _listing(folder: Path) -> Listing:
    """Return the list of a copy, which lies beside it."""
    path = folder.with_name(f"{folder.name}.json")
    if not path.is_file():
        raise damaged(str(path))
    data = path.read_bytes()
    listing = Listing.parse(data, pointer_to(folder.name.partition("-")[0], data), str(path))
    if listing.label != folder.name:
        raise damaged(str(path))
    return listing


def _last(home: Path, error: UnreachableError) -> dict[str, str]:
    """Return what answered last, if there is a copy."""
    with suppress(OSError, IndexDamagedError):
        pointer = read_pointer(home / POINTER_NAME)
        if (home / label_of(pointer)).is_dir():
            return pointer
    raise error


def files_at_hand(home: Path) -> dict[str, Path]:
    """Return the files of the copies in a cache, and of what was built there, by the name of the object of each."""
    found: dict[str, Path] = {}
    for path in (path for path in sorted(home.glob("*.json")) if path.with_suffix("").is_dir()):
        with suppress(OSError, ValueError, KeyError, TypeError, IndexDamagedError):
            data = path.read_bytes()
            name = json.loads(data)["generation"]
            found |= Listing.parse(data, pointer_to(name, data), str(path)).files(path.with_suffix(""))
    return found


@contextmanager
def _one_at_a_time(home: Path) -> Iterator[None]:
    """Wait until no other process fetches from the same URL."""
    from filelock import FileLock

    with storage_errors(home):
        make_folder(home)
        lock = FileLock(home / ".fetching.lock")
        lock.acquire()
    try:
        with storage_errors(home):
            yield
    finally:
        lock.release()


def _leases(folder: Path) -> Path:
    return folder.parent / "leases" / folder.name


def _lease(leases: Path) -> "FileLock":
    """Take a lock that lasts until it is forgotten, or its process ends, however it ends."""
    from filelock import FileLock

    make_folder(leases)
    _held(leases)
    lock = FileLock(leases / f"{os.getpid()}-{uuid4().hex[:8]}", thread_local=False)
    lock.acquire()
    return lock


def _held(leases: Path) -> int:
    """Count the locks that are held, and remove the files of those that are not."""
    from filelock import FileLock, Timeout

    held = 0
    for path in leases.glob("*"):
        try:
            with FileLock(path, timeout=0):
                pass
        except Timeout:
            held += 1
        else:
            path.unlink(missing_ok=True)
    return held


def _sweep(home: Path, live: Path) -> None:
    """Remove copies that are neither the live one nor the one before, and that nobody has open."""
    copies = [path for path in home.iterdir() if LABEL.fullmatch(path.name) and path != live]
    copies.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    for path in copies[KEPT - 1 :]:
        if not _held(_leases(path)):
            aside = path.with_name(f".{path.name}.old")
            path.rename(aside)
            shutil.rmtree(aside, ignore_errors=True)
            shutil.rmtree(_leases(path), ignore_errors=True)
            path.with_name(f"{path.name}.json").unlink(missing_ok=True)
