"""Files that are hashed and brought to the disk while another library is still writing them.

Lance writes a data file from its start to its end under a hidden name, and renames it when it is whole; so a file is
known by its inode. When the write is over, little is left to hash and to wait for.
"""

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from types import TracebackType

from geoindex.store.durable import READ_BYTES, FileRecord, Measure

log = logging.getLogger(__name__)

LOOK_S = 0.01
"""Time between two looks at a folder; a fast writer fills 10 MB in it."""

SENT_BYTES = 2**25
"""Bytes of a file after which those so far are sent to the disk."""


def send(descriptor: int, start: int, size: int) -> None:
    """Let the system start to write a part of a file to the disk, without waiting for it.

    Linux does so when it is told that the part is not needed; what is not yet on the disk stays in memory.
    """
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(descriptor, start, size, os.POSIX_FADV_DONTNEED)


@dataclass(slots=True)
class _Growing:
    """A file that grows: its descriptor, its measure so far, and how much of it was sent to the disk."""

    descriptor: int
    measure: Measure = field(default_factory=Measure)
    sent: int = 0


class Follower:
    """Follows the files that appear in a folder while its context is open; each must be written from start to end."""

    def __init__(self, folder: Path) -> None:
        """Leave alone what is there already.

        Args:
            folder: need not be there yet.
        """
        self._folder, self._ended = folder, Event()
        self._before = {entry.inode() for entry in self._entries()}
        self._growing: dict[int, _Growing] = {}
        self._records: dict[int, FileRecord] = {}
        self._buffer = memoryview(bytearray(READ_BYTES))
        self._thread = Thread(target=self._follow, name="geoindex-follower", daemon=True)

    def __enter__(self) -> "Follower":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Hash what is left."""
        self._ended.set()
        self._thread.join()

    def record(self, path: Path) -> FileRecord:
        """Return the record of a finished file; it is read again only if it was not followed to its end."""
        facts = path.stat()
        record = self._records.get(facts.st_ino)
        return record if record is not None and record.bytes == facts.st_size else FileRecord.of(path)

    def _follow(self) -> None:
        try:
            ended = False
            while not ended:
                ended = self._ended.wait(LOOK_S)
                for entry in self._entries():
                    self._notice(entry)
                for growing in self._growing.values():
                    self._hash(growing)
            self._records = {inode: growing.measure.record() for inode, growing in self._growing.items()}
        except OSError as error:
            log.warning("What is written is hashed afterwards: %s.", error)
        finally:
            for growing in self._growing.values():
                os.close(growing.descriptor)

    def _entries(self) -> Iterator[os.DirEntry[str]]:
        try:
            with os.scandir(self._folder) as entries:
                yield from entries
        except FileNotFoundError:
            return

    def _notice(self, entry: os.DirEntry[str]) -> None:
        inode = entry.inode()
        if inode in self._before or inode in self._growing:
            return
        try:
            descriptor = os.open(entry.path, os.O_RDONLY)
        except FileNotFoundError:  # renamed just now: it is noticed at the next look
            return
        # an open file keeps its inode, so that no other file can get the same
        self._growing[os.fstat(descriptor).st_ino] = _Growing(descriptor)

    def _hash(self, growing: _Growing) -> None:
        measure = growing.measure
        while count := os.preadv(growing.descriptor, [self._buffer], measure.size):
            measure.update(self._buffer[:count])
            if measure.size - growing.sent >= SENT_BYTES:
                send(growing.descriptor, growing.sent, measure.size - growing.sent)
                growing.sent = measure.size
