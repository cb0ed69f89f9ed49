"""Files of a data set on object storage, as pathlib has those of a disk: listed once, read in ranges, never written."""

import io
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import total_ordering
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO, TypeAlias, cast

from geoindex.store.address import url_of
from geoindex.store.objects import PART_BYTES, ObjectFolder


@dataclass(frozen=True, slots=True)
class Facts:
    """What a listing says of an object, as `os.stat` says it of a file.

    Attributes:
        st_size: bytes.
        st_mtime_ns: when it was written, in ns since 1970.
    """

    st_size: int
    st_mtime_ns: int


@dataclass
class Bucket:
    """The objects below a URL. Safe in threads; another process lists them anew.

    Attributes:
        url: as `url_of` gives it.
    """

    url: str
    _folder: ObjectFolder | None = field(default=None, repr=False, compare=False)
    _facts: dict[str, Facts] | None = field(default=None, repr=False, compare=False)
    _inside: dict[str, dict[str, None]] = field(default_factory=dict, repr=False, compare=False)
    _lock: Any = field(default_factory=threading.Lock, repr=False, compare=False)

    @property
    def folder(self) -> ObjectFolder:
        """What reads them.

        Raises:
            MissingExtraError: if the extra `objects` is not installed.
            StorageError: if the environment names no account.
        """
        if self._folder is None:
            self._folder = ObjectFolder(self.url)
        return self._folder

    def facts(self) -> dict[str, Facts]:
        """Return what there is, by name below the URL; listed once.

        Raises:
            UnreachableError: if the service does not answer.
            StorageError: if it refuses, or there is no such bucket.
        """
        with self._lock:
            if self._facts is None:
                facts = {name: Facts(size, ns) for name, size, ns in self.folder.listed("")}
                self._inside = _tree(facts)
                self._facts = facts
            return self._facts

    def inside(self, folder: str) -> list[str]:
        """Return the names in a folder, empty for the URL itself; none if there is no such folder.

        Raises:
            UnreachableError: if the service does not answer.
            StorageError: if it refuses, or there is no such bucket.
        """
        self.facts()
        return list(self._inside.get(folder, ()))

    def __getstate__(self) -> dict[str, Any]:
        return {"url": self.url}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]


@total_ordering
@dataclass(frozen=True, slots=True)
class BucketPath:
    """A file or folder in a bucket: what a reader of data sets needs of `pathlib.Path`.

    Attributes:
        bucket: that it is in.
        below: its name below the URL of the bucket; empty for that itself.
    """

    bucket: Bucket
    below: str = ""

    @property
    def name(self) -> str:
        """Last part of its name."""
        return PurePosixPath(self.below).name

    @property
    def suffix(self) -> str:
        """Ending of its name, with the dot."""
        return PurePosixPath(self.below).suffix

    @property
    def parent(self) -> "BucketPath":
        """The folder that it is in."""
        return BucketPath(self.bucket, self.below.rpartition("/")[0])

    def __truediv__(self, name: str) -> "BucketPath":
        return BucketPath(self.bucket, f"{self.below}/{name}" if self.below else name)

    def __str__(self) -> str:
        return f"{self.bucket.url}/{self.below}" if self.below else self.bucket.url

    def __lt__(self, other: "BucketPath") -> bool:
        return str(self) < str(other)

    def __hash__(self) -> int:
        return hash(str(self))

    def absolute(self) -> "BucketPath":
        """Return it."""
        return self

    def is_file(self) -> bool:
        """Tell whether there is such an object."""
        return self.below in self.bucket.facts()

    def is_dir(self) -> bool:
        """Tell whether objects have names below it."""
        return bool(self.bucket.inside(self.below))

    def iterdir(self) -> Iterator["BucketPath"]:
        """Yield the files and folders in it."""
        yield from (self / name for name in self.bucket.inside(self.below))

    def glob(self, pattern: str) -> Iterator["BucketPath"]:
        """Yield the files and folders in it whose name fits, such as *.zip."""
        return (path for path in self.iterdir() if fnmatchcase(path.name, pattern))

    def stat(self) -> Facts:
        """Return what the listing says.

        Raises:
            FileNotFoundError: if there is no such object.
        """
        facts = self.bucket.facts().get(self.below)
        if facts is None:
            raise FileNotFoundError(f"there is no '{self}'")
        return facts

    def open(self, mode: str = "rb", buffering: int = -1) -> BinaryIO:
        """Open it for reading; every read from the service is of `buffering` bytes, or up to the end; -1: many.

        Raises:
            FileNotFoundError: if there is no such object.
        """
        size = self.stat().st_size
        ranges = _Ranges(self.bucket.folder, self.below, size)
        return cast(BinaryIO, io.BufferedReader(ranges, PART_BYTES if buffering < 0 else max(1, buffering)))


Place: TypeAlias = Path | BucketPath
"""A file or folder of a data set, on a disk or on object storage."""


def place_at(text: str) -> Place:
    """Return the place that a path or a URL names."""
    url = url_of(text) if text else ""
    return BucketPath(Bucket(url)) if url else Path(text).expanduser().absolute()


@contextmanager
def on_disk(place: Place) -> Iterator[Path]:
    """Give a file as one on the disk: itself, or a copy for as long as it is needed."""
    if isinstance(place, Path):
        yield place
        return
    with TemporaryDirectory() as folder, place.open() as file:
        copy = Path(folder) / place.name
        with copy.open("wb") as out:
            while piece := file.read(PART_BYTES):
                out.write(piece)
        yield copy


class _Ranges(io.RawIOBase):
    """An object as a file."""

    def __init__(self, folder: ObjectFolder, name: str, size: int) -> None:
        self._folder, self._name, self._size, self._at = folder, name, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any, /) -> int:
        data = self._piece(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def readall(self) -> bytes:
        return b"".join(iter(lambda: self._piece(PART_BYTES), b""))

    def _piece(self, size: int) -> bytes:
        """Return the next bytes, none at the end."""
        end = min(self._at + size, self._size)
        if end <= self._at:
            return b""
        data = self._folder.read_range(self._name, self._at, end)
        if not data:
            raise OSError(f"'{self._name}' is shorter than it was")
        self._at += len(data)
        return data


def _tree(names: Iterable[str]) -> dict[str, dict[str, None]]:
    """Return what is in each folder, in order, from the names of all files."""
    inside: dict[str, dict[str, None]] = {}
    for name in names:
        while name:
            name, _, last = name.rpartition("/")
            there = inside.setdefault(name, {})
            if last in there:
                break
            there[last] = None
    return inside
