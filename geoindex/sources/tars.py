"""Turns a tar archive, whole or cut into numbered parts, and a member's name into the member's bytes, in place."""

import hashlib
import io
import tarfile
import threading
import zipfile
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from geoindex.errors import UnreadableImageError
from geoindex.sources.source import LeftOut, is_utf8
from geoindex.store.address import cache_of
from geoindex.store.buckets import Place
from geoindex.store.durable import write_arrays

KEPT = 8
"""Directories that are kept; that of a shard of 40,000 members takes a few MB and a second."""

CUT_OFF = "archive is cut off"
BROKEN_OFF = "archive is damaged and was not read further"
NO_NAME = "file name in the archive is not UTF-8"

_CHUNK_BYTES = 2**16


@dataclass(frozen=True, slots=True)
class TarDirectory:
    """Where the members of an archive lie.

    Attributes:
        names: names of the files, UTF-8, ascending, (M,).
        places: offset and size in bytes, (M, 2).
        fault: CUT_OFF or BROKEN_OFF if there are or may be files that are not listed; "" if the archive is whole.
        unnamed: number of files that are not listed, as their names are not UTF-8.
    """

    names: NDArray[np.bytes_]
    places: NDArray[np.int64]
    fault: str = ""
    unnamed: int = 0

    @classmethod
    def read(cls, file: BinaryIO, size: int) -> "TarDirectory":
        """Read the headers of an archive of `size` bytes; members that a cut-off end leaves incomplete are left out.

        Raises:
            tarfile.TarError: if it is no archive.
        """
        with tarfile.open(fileobj=file, mode="r:") as archive:
            files = [m for m in _members(archive) if m.isfile() and m.offset_data + m.size <= size]
            fault = _fault(file, archive.offset, size)
        members = [m for m in files if is_utf8(m.name)]
        names = np.array([m.name.encode() for m in members], np.bytes_)
        places = np.array([(m.offset_data, m.size) for m in members], np.int64).reshape(-1, 2)
        order = np.argsort(names, kind="stable")
        return cls(names[order], places[order], fault, len(files) - len(members))

    def report(self, archive: str, left_out: LeftOut, *, may_be_cut: bool = False) -> None:
        """Count what is not listed; `may_be_cut`: the first part of an archive is a fair copy."""
        if self.fault:
            left_out.add(self.fault, archive, broken=not (may_be_cut and self.fault == CUT_OFF))
        if self.unnamed:
            left_out.add(NO_NAME, archive, self.unnamed)

    def find(self, member: str) -> tuple[int, int] | None:
        """Return offset and size of a member, None if there is none of this name."""
        name = np.bytes_(member.encode())
        row = int(np.searchsorted(self.names, name))
        if row == len(self.names) or self.names[row] != name:
            return None
        offset, size = self.places[row].tolist()
        return offset, size

    def members(self) -> list[str]:
        """Return the names of all files, ascending."""
        return [name.decode() for name in self.names.tolist()]


def _members(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    try:
        while (member := archive.next()) is not None:
            archive.members = []  # type: ignore[attr-defined]  # it would remember millions
            yield member
    except tarfile.ReadError:
        return  # a download that is not complete: what came is there


def _fault(file: BinaryIO, offset: int, size: int) -> str:
    """Return what is wrong with the end of an archive whose headers were followed up to `offset`, "" if nothing is.

    A reader stops at a block of zeros, which has to be followed by nothing else, and at what is no header.
    """
    at_end = max(offset, file.tell()) >= size
    file.seek(offset)
    if size - offset >= tarfile.BLOCKSIZE and not any(
        chunk.strip(b"\0") for chunk in iter(lambda: file.read(_CHUNK_BYTES), b"")
    ):
        return ""
    return CUT_OFF if at_end else BROKEN_OFF


class JoinedFiles(io.RawIOBase):
    """Files that are parts of one, read as if they had been joined."""

    def __init__(self, paths: list[Place], buffering: int = -1) -> None:
        self._paths, self._buffering = paths, buffering
        self._ends = np.cumsum([path.stat().st_size for path in paths]).tolist()
        self._files: dict[int, BinaryIO] = {}
        self._at = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Move to a byte and return it."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._ends[-1]}[whence]
        self._at = start + offset
        return self._at

    def tell(self) -> int:
        """Return the byte that is read next."""
        return self._at

    def read(self, size: int | None = -1, /) -> bytes:
        """Return up to `size` bytes, fewer only at the end."""
        left = self._ends[-1] - self._at if size is None or size < 0 else size
        chunks = []
        while left > 0 and self._at < self._ends[-1]:
            chunk = self._read_part(left)
            chunks.append(chunk)
            left -= len(chunk)
        return b"".join(chunks)

    def close(self) -> None:
        """Close every part that was opened."""
        for file in self._files.values():
            file.close()
        super().close()

    def _read_part(self, size: int) -> bytes:
        number = int(np.searchsorted(self._ends, self._at, side="right"))
        if number not in self._files:
            self._files[number] = self._paths[number].open("rb", self._buffering)
        start = self._ends[number - 1] if number else 0
        self._files[number].seek(self._at - start)
        chunk = self._files[number].read(min(size, self._ends[number] - self._at))
        if not chunk:
            raise OSError(f"'{self._paths[number]}' is shorter than it was")
        self._at += len(chunk)
        return chunk


@dataclass
class Tars:
    """The tar archives of one folder. It keeps directories, never open files: safe in threads and processes.

    Attributes:
        folder: where the archives lie.
    """

    folder: Place
    _directories: "OrderedDict[str, TarDirectory]" = field(default_factory=OrderedDict, repr=False, compare=False)
    _lock: Any = field(default_factory=threading.Lock, repr=False, compare=False)

    def parts(self, archive: str) -> list[Place]:
        """Return the files of an archive: itself, or NAME00, NAME01, ... for NAME.tar; none if it is not there."""
        whole = self.folder / archive
        if whole.is_file():
            return [whole]
        stem = whole.name.removesuffix(".tar")
        return sorted(p for p in whole.parent.glob(f"{stem}*") if p.name.removeprefix(stem).isdecimal())

    def directory(self, archive: str) -> TarDirectory:
        """Return the directory of an archive; the last few are kept.

        Raises:
            tarfile.TarError: if it is no archive.
            OSError: if it cannot be read.
        """
        with self._lock:
            if archive not in self._directories:
                self._directories[archive] = self._read_directory(archive)
            self._directories.move_to_end(archive)
            while len(self._directories) > KEPT:
                self._directories.popitem(last=False)
            return self._directories[archive]

    def _read_directory(self, archive: str) -> TarDirectory:
        """Read the headers, or what was kept of them: on object storage they cost a download of the whole archive."""
        parts = self.parts(archive)
        kept = _kept(parts)
        if kept is not None and (found := _load(kept)) is not None:
            return found
        with self._open(archive) as file:
            directory = TarDirectory.read(file, sum(part.stat().st_size for part in parts))
        if kept is not None:
            _keep(kept, directory)
        return directory

    def read(self, archive: str, member: str) -> bytes:
        """Return the bytes of a member.

        Raises:
            UnreadableImageError: if archive or member are missing or damaged.
        """
        place = self._find(archive, member)
        try:
            with self._open(archive, max(2, place[1])) as file:  # 1 is of text, 0 of none
                file.seek(place[0])
                return file.read(place[1])
        except OSError as error:
            raise self._damaged(archive, member, error) from error

    def read_all(self, archive: str, members: list[str]) -> Iterator[bytes]:
        """Yield the bytes of members, in this order.

        Raises:
            UnreadableImageError: if archive or a member are missing or damaged.
        """
        member = ""
        try:
            with self._open(archive) as file:
                for member in members:
                    offset, size = self._find(archive, member)
                    file.seek(offset)
                    yield file.read(size)
        except (OSError, tarfile.TarError) as error:
            raise self._damaged(archive, member, error) from error

    def _find(self, archive: str, member: str) -> tuple[int, int]:
        """Return offset and size of a member."""
        try:
            place = self.directory(archive).find(member)
        except (OSError, tarfile.TarError) as error:
            raise self._damaged(archive, member, error) from error
        if place is None:
            raise UnreadableImageError(f"{self.folder / archive}/{member}", "the archive has no such member")
        return place

    def _damaged(self, archive: str, member: str, error: Exception) -> UnreadableImageError:
        name = f"{self.folder / archive}/{member}"
        return UnreadableImageError(name, f"the archive is missing or damaged ({error})")

    def _open(self, archive: str, buffering: int = -1) -> BinaryIO:
        """Open an archive; read from where it lies so many bytes at a time; -1: as many as is quick for all of it."""
        parts = self.parts(archive)
        if not parts:
            raise FileNotFoundError(f"there is no '{self.folder / archive}'")
        if len(parts) > 1:
            return cast(BinaryIO, JoinedFiles(parts, buffering))
        return parts[0].open("rb", buffering)

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]


def _kept(parts: list[Place]) -> Path | None:
    """Return where the directory of an archive on object storage is kept; None for one on a disk."""
    if not parts or isinstance(parts[0], Path):
        return None
    facts = [(str(part), part.stat().st_size, part.stat().st_mtime_ns) for part in parts]
    return cache_of(str(parts[0])) / f"{hashlib.sha256(repr(facts).encode()).hexdigest()[:32]}.npz"


def _load(path: Path) -> TarDirectory | None:
    try:
        with np.load(path) as stored:
            return TarDirectory(stored["names"], stored["places"], str(stored["fault"]), int(stored["unnamed"]))
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return None


def _keep(path: Path, directory: TarDirectory) -> None:
    """Write a directory to the cache; where that cannot be, it is read again."""
    with suppress(OSError):
        write_arrays(
            path, names=directory.names, places=directory.places, fault=np.array(directory.fault),
            unnamed=np.array(directory.unnamed),
        )  # fmt: skip
