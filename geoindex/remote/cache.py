"""Copies of what was opened from object storage: each an ordinary index, fetched once, kept while it is of use."""

import json
import logging
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from geoindex.errors import IndexDamagedError, UnreachableError
from geoindex.remote.fetching import fetch, place_of
from geoindex.remote.index import RemoteIndex
from geoindex.store.address import cache_of
from geoindex.store.durable import make_folder, share_file, storage_errors, write_durably
from geoindex.store.listing import Listing, label_of
from geoindex.store.pointer import POINTER_NAME, pointer_to, read_pointer

if TYPE_CHECKING:
    from filelock import FileLock

log = logging.getLogger(__name__)

STAGING, FETCHED = "build", "fetched"
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
            fetch(remote, listing, folder, home / FETCHED, files_at_hand(home))
        write_durably(home / POINTER_NAME, json.dumps(pointer).encode())
        copy = CachedCopy(url, folder, _lease(_leases(folder)))
        _sweep(home, folder)
    return copy


def fetch_again(copy: CachedCopy) -> CachedCopy:
    """Return a copy instead of one that is damaged, whose sound files are not fetched a second time.

    Raises:
        UnreachableError: if the service does not answer.
        StorageError: if it refuses, or the disk of the cache does.
    """
    home = copy.folder.parent
    with _one_at_a_time(home):
        (home / FETCHED).mkdir(exist_ok=True)
        for name, path in files_at_hand(home).items():
            if path.is_relative_to(copy.folder) and path.is_file() and not place_of(home / FETCHED, name).exists():
                share_file(path, place_of(home / FETCHED, name))  # where it is compared before it is taken
        shutil.rmtree(copy.folder, ignore_errors=True)
    return open_copy(copy.url)


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
    lock = FileLock(leases / f"{os.getpid()}-{uuid4().hex[:8]}", thread_local=False)
    lock.acquire()
    return lock


def _is_used(folder: Path) -> bool:
    from filelock import FileLock, Timeout

    for path in _leases(folder).glob("*"):
        try:
            with FileLock(path, timeout=0):
                pass
        except Timeout:
            return True
        path.unlink(missing_ok=True)
    return False


def _sweep(home: Path, live: Path) -> None:
    """Remove copies that are neither the live one nor the one before, and that nobody has open."""
    copies = [path for path in home.iterdir() if LABEL.fullmatch(path.name) and path != live]
    copies.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    for path in copies[KEPT - 1 :]:
        if not _is_used(path):
            aside = path.with_name(f".{path.name}.old")
            path.rename(aside)
            shutil.rmtree(aside, ignore_errors=True)
            shutil.rmtree(_leases(path), ignore_errors=True)
            path.with_name(f"{path.name}.json").unlink(missing_ok=True)
