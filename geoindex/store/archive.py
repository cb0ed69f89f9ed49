"""One generation as a single file: a tar archive that starts with a list of its members and their checksums.

The list fixes every byte that follows, headers and padding too, so an archive is read by comparing it with what
the list says. Unpacked by other means its members are the files of an index, but for CURRENT.
"""

import hashlib
import json
import re
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from geoindex.errors import IndexDamagedError, IndexNotFoundError, IndexVersionError, StorageError
from geoindex.progress import Progress
from geoindex.store.copying import Part, bar_of, beside, bytes_of, create_file, new_index, parts_of
from geoindex.store.durable import FileRecord, sync
from geoindex.store.generations import Generation, IndexFolder
from geoindex.store.space import require_space
from geoindex.version import VERSION

LIST_NAME, KIND, FORMAT = "EXPORT.json", "geoindex export", 1

MAX_LIST_BYTES = 2**28
"""A longer list is none of ours; it would be read into memory."""

BLOCK = tarfile.BLOCKSIZE
END = bytes(2 * BLOCK)

SAFE = re.compile(r"(removed\.json|(generations|tables|encoder)(/[\w-][\w.-]*)+)", re.ASCII)
"""Names that members may have: below the folder of an index, and none that leads out of it."""


@dataclass(frozen=True, slots=True)
class Contents:
    """The list of an archive.

    Attributes:
        generation: name of the generation.
        counts: images, gallery, val, test, cells, clusters.
        members: the files, in their order.
        geoindex: version that wrote it.
    """

    generation: str
    counts: dict[str, int]
    members: tuple[Part, ...]
    geoindex: str = VERSION

    def to_json(self) -> bytes:
        """Return the list as text that vouches for itself."""
        facts = {"kind": KIND, "format": FORMAT, "geoindex": self.geoindex}
        facts |= {"generation": self.generation, "counts": self.counts}
        listed = facts | {"members": [{"name": m.name, **asdict(m.record)} for m in self.members]}
        return (json.dumps({"sha256": _digest(listed), **listed}, indent=1) + "\n").encode()


def _digest(listed: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(listed, sort_keys=True).encode()).hexdigest()


def write_archive(
    index: IndexFolder, generation: Generation, parts: tuple[Part, ...], path: Path, *, replace: bool = False
) -> int:
    """Write one generation into a file and return its size in bytes.

    Args:
        index: where it lies.
        generation: the one to write.
        parts: what it stands on, from `parts_of`.
        path: the file.
        replace: take the place of a file that is there, once the new one is whole.

    Raises:
        IndexDamagedError: if a part is not what was written.
        StorageError: if there is a file and it is not to be replaced, or the disk has no room or refuses.
    """
    path = path.resolve()
    _refuse_taken(path, replace)
    text = Contents(generation.manifest.generation, generation.manifest.counts, parts).to_json()
    require_space(path, bytes_of(parts) + len(text) + (len(parts) + 2) * 2 * BLOCK)
    with beside(path) as aside:
        written = aside / "archive.tar"
        with create_file(written) as sink, bar_of(parts, "exporting") as bar:
            sink.write(_header(LIST_NAME, len(text)) + text + _padding(len(text)))
            for part in parts:
                sink.write(_header(part.name, part.record.bytes))
                part.copy(index.root, sink, bar)
                sink.write(_padding(part.record.bytes))
            sink.write(END)
        sync(written)
        _refuse_taken(path, replace)
        written.replace(path)
        sync(path.parent)
    return path.stat().st_size


def _refuse_taken(path: Path, replace: bool) -> None:
    if path.is_dir() or (path.exists() and not replace):
        raise StorageError(f"'{path}' is there already; name another file, or replace it with --replace.")


def _header(name: str, size: int) -> bytes:
    # the same everywhere and at any time: no owner, no date
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o644
    return member.tobuf(tarfile.GNU_FORMAT)


def _padding(size: int) -> bytes:
    return bytes(-size % BLOCK)


def read_archive(path: Path, out: Path) -> Contents:
    """Unpack an archive as a new index and return what it held.

    Raises:
        IndexNotFoundError: if there is no such file.
        IndexVersionError: if it was written by a later format.
        IndexDamagedError: if it is no archive of an index, or a byte of it is not what was written.
        StorageError: if `out` is there already, or the disk has no room or refuses.
    """
    with _opened(path) as file:
        reader = _Reader(path, file)
        contents = reader.contents()
        members = contents.members
        with new_index(out, contents.generation, bytes_of(members)) as index, bar_of(members, "importing") as bar:
            for member in members:
                reader.unpack(member, index.root / member.name, bar)
            reader.end()
            _compare(path, contents, index)
    return contents


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    try:
        file = path.open("rb")
    except (FileNotFoundError, IsADirectoryError):
        raise IndexNotFoundError(f"No archive at '{path}'; name a file that 'geoindex export' wrote.") from None
    except OSError as error:
        raise StorageError(f"Cannot read '{path}': {error.strerror}; change its permissions.") from error
    with file:
        yield file


def _compare(path: Path, contents: Contents, index: IndexFolder) -> None:
    """Refuse members that are more, less or others than the generation stands on."""
    try:
        needed = parts_of(index, index.generation(contents.generation))
    except (IndexNotFoundError, IndexDamagedError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise _foreign(path) from error
    if {(p.name, p.record) for p in needed} != {(m.name, m.record) for m in contents.members}:
        raise IndexDamagedError(
            f"'{path}' does not hold exactly the files that its generation stands on; export the index again."
        )


def _foreign(path: Path) -> IndexDamagedError:
    return IndexDamagedError(f"'{path}' is not an archive of an index; name a file that 'geoindex export' wrote.")


def _record_of(member: dict[str, Any]) -> FileRecord:
    return FileRecord(int(member["bytes"]), member["sha256"], int(member["block_bytes"]))


class _Reader:
    """Reads an archive from its start to its end, and refuses every byte that the list does not foresee."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self._path, self._file = path, file

    def contents(self) -> Contents:
        """Read the list, up to the first member."""
        head = self._file.read(BLOCK)
        try:
            size = tarfile.TarInfo.frombuf(head, "utf-8", "strict").size
        except (tarfile.HeaderError, UnicodeDecodeError):
            raise _foreign(self._path) from None
        if not 0 <= size <= MAX_LIST_BYTES or head != _header(LIST_NAME, size):
            raise _foreign(self._path)
        contents = self._parse(self._read(size, LIST_NAME))
        self._expect(_padding(size), LIST_NAME)
        return contents

    def _parse(self, text: bytes) -> Contents:
        try:
            listed = json.loads(text)
            kind, version = listed["kind"], listed["format"]
        except (ValueError, KeyError, TypeError, RecursionError):
            raise self._changed(LIST_NAME) from None
        if kind == KIND and version != FORMAT:
            raise IndexVersionError(
                f"'{self._path}' has format {version}, this geoindex reads format {FORMAT}; "
                "import it with the geoindex that wrote it, or a later one."
            )
        contents = self._listed(listed)
        if contents.to_json() != text:
            raise self._changed(LIST_NAME)
        if not all(SAFE.fullmatch(member.name) for member in contents.members):
            raise IndexDamagedError(f"'{self._path}' has members that no index has; do not trust it.")
        return contents

    def _listed(self, listed: dict[str, Any]) -> Contents:
        try:
            members = tuple(Part(str(m["name"]), _record_of(m)) for m in listed["members"])
            return Contents(listed["generation"], listed["counts"], members, listed["geoindex"])
        except (KeyError, TypeError, ValueError):
            raise self._changed(LIST_NAME) from None

    def unpack(self, member: Part, path: Path, bar: Progress) -> None:
        """Write the next member into a new file.

        Raises:
            IndexDamagedError: if it is not what the archive says, or breaks off.
        """
        self._expect(_header(member.name, member.record.bytes), member.name)
        with create_file(path) as sink:
            if not member.pour(self._file, sink, bar):
                raise self._changed(member.name) if self._file.read(1) else self._cut_off(member.name)
        self._expect(_padding(member.record.bytes), member.name)

    def end(self) -> None:
        """Read what comes after the last member.

        Raises:
            IndexDamagedError: if it is not the end of an archive.
        """
        self._expect(END, "its end")
        if self._file.read(1):
            raise IndexDamagedError(f"'{self._path}' goes on after its end; copy it again.")

    def _expect(self, wanted: bytes, where: str) -> None:
        if self._read(len(wanted), where) != wanted:
            raise self._changed(where)

    def _read(self, size: int, where: str) -> bytes:
        data = self._file.read(size)
        if len(data) < size:
            raise self._cut_off(where)
        return data

    def _cut_off(self, where: str) -> IndexDamagedError:
        return IndexDamagedError(f"'{self._path}' is cut off at {where}; copy it again, or export the index again.")

    def _changed(self, where: str) -> IndexDamagedError:
        return IndexDamagedError(
            f"'{self._path}' is not what was written, at {where}; copy it again, or export the index again."
        )
