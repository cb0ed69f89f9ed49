"""Turns a zip archive and a member's name into the member's bytes, in place and from any thread."""

import struct
import threading
import zipfile
import zlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoindex.errors import UnreadableImageError
from geoindex.images import ImageLimits
from geoindex.store.buckets import Place

_LOCAL_HEADER = struct.Struct("<4s22xHH")  # signature, lengths of name and extra field; APPNOTE 4.3.7
_BEFORE_MEMBER = 512  # header, name and extra field, in most archives
MAX_BYTES = ImageLimits().max_bytes
"""Most bytes of a member; more would be refused as an image."""

_READ_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


@dataclass(frozen=True, slots=True)
class Directory:
    """Where the members of an archive lie, 30-odd bytes each, so that hundreds of archives fit in memory.

    Attributes:
        names: names of the files, UTF-8, ascending, (M,).
        places: offset of the local header, stored size, method and CRC-32, (M, 4).
    """

    names: NDArray[np.bytes_]
    places: NDArray[np.int64]

    @classmethod
    def read(cls, path: Place) -> "Directory":
        """Read the central directory of an archive.

        Raises:
            zipfile.BadZipFile: if it is not whole.
            OSError: if it cannot be read.
        """
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            members = [m for m in archive.infolist() if not m.is_dir() and not m.flag_bits & 1]
        names = np.array([m.filename.encode() for m in members], np.bytes_)
        places = np.array(
            [(m.header_offset, m.compress_size, m.compress_type, m.CRC) for m in members], np.int64
        ).reshape(-1, 4)
        order = np.argsort(names, kind="stable")
        return cls(names[order], places[order])

    def find(self, member: str) -> tuple[int, int, int, int] | None:
        """Return offset, stored size, method and CRC-32 of a member, None if there is none of this name."""
        name = member.encode()
        row = int(np.searchsorted(self.names, np.bytes_(name)))
        if row == len(self.names) or self.names[row] != name:
            return None
        offset, size, method, crc = self.places[row].tolist()
        return offset, size, method, crc


@dataclass
class Archives:
    """The zip archives of one folder. It keeps directories, never open files: safe in threads and processes.

    Attributes:
        folder: where the archives lie.
    """

    folder: Place
    _directories: dict[str, Directory] = field(default_factory=dict, repr=False, compare=False)
    _lock: Any = field(default_factory=threading.Lock, repr=False, compare=False)

    def directory(self, archive: str) -> Directory:
        """Return the directory of an archive, read once.

        Raises:
            zipfile.BadZipFile: if it is not whole.
            OSError: if it cannot be read.
        """
        with self._lock:
            if archive not in self._directories:
                self._directories[archive] = Directory.read(self.folder / archive)
            return self._directories[archive]

    def read(self, archive: str, member: str) -> bytes:
        """Return the bytes of a member.

        Raises:
            UnreadableImageError: if archive or member are missing or damaged.
        """
        name = f"{self.folder / archive}/{member}"
        try:
            place = self.directory(archive).find(member)
            if place is None:
                raise UnreadableImageError(name, "the archive has no such member")
            return _read_member(self.folder / archive, *place)
        except (OSError, zipfile.BadZipFile, zlib.error, struct.error) as error:
            raise UnreadableImageError(name, f"the archive is damaged ({error})") from error

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]


def _read_member(path: Place, offset: int, size: int, method: int, crc: int) -> bytes:
    if size > MAX_BYTES:
        raise zipfile.BadZipFile(f"the member has more bytes than the limit of {MAX_BYTES}")
    if method not in _READ_METHODS:
        raise zipfile.BadZipFile(f"compression method {method} is not stored or deflated")
    with path.open("rb", buffering=size + _BEFORE_MEMBER) as file:  # all of it at once, and nothing else
        file.seek(offset)
        signature, name_length, extra_length = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
        if signature != b"PK\x03\x04":
            raise zipfile.BadZipFile("no member where the directory says")
        file.seek(name_length + extra_length, 1)
        data = file.read(size)
    if method == zipfile.ZIP_DEFLATED:
        data = _inflated(data)
    if zlib.crc32(data) != crc:
        raise zipfile.BadZipFile("checksum does not match")
    return data


def _inflated(data: bytes) -> bytes:
    """Inflate a member, which may hold a thousand times as much as it takes, no further than to the limit."""
    stream = zlib.decompressobj(-zlib.MAX_WBITS)
    inflated = stream.decompress(data, MAX_BYTES + 1)
    if len(inflated) > MAX_BYTES:
        raise zipfile.BadZipFile(f"the member has more bytes than the limit of {MAX_BYTES}")
    if not stream.eof:
        raise zipfile.BadZipFile("the member is incomplete")
    return inflated
