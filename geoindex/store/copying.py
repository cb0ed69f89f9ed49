"""One generation as a set of files: which ones it stands on, and a new index made of copies of them."""

import hashlib
import io
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from geoindex.errors import IndexDamagedError, StorageError
from geoindex.progress import Progress
from geoindex.store.address import folder_of
from geoindex.store.checksums import CHECKSUMS
from geoindex.store.durable import FileRecord, Measure, storage_errors, sync, sync_tree
from geoindex.store.generations import SEAL_NAME, Generation, IndexFolder
from geoindex.store.manifest import MANIFEST_NAME
from geoindex.store.space import require_space
from geoindex.store.tables import TABLES
from geoindex.store.tombstones import TOMBSTONES_NAME

POURED_BYTES = 2**20
"""Bytes that are copied at once."""


@dataclass(frozen=True, slots=True)
class Part:
    """One file that a generation stands on.

    Attributes:
        name: its path below the index, with slashes.
        record: size and sha256.
        data: its bytes where they were read already; None: they lie in the file.
    """

    name: str
    record: FileRecord
    data: bytes | None = None

    def open(self, root: Path) -> BinaryIO:
        """Open it for reading in the index at `root`.

        Raises:
            IndexDamagedError: if it is gone.
            StorageError: if it must not be read.
        """
        with _reading(root / self.name, root):
            return io.BytesIO(self.data) if self.data is not None else (root / self.name).open("rb")

    def pour(self, source: BinaryIO, sink: BinaryIO, bar: Progress) -> bool:
        """Copy the bytes of this part from one stream to another; tell whether they are those of its record."""
        found, left = Measure(self.record.block_bytes), self.record.bytes
        while left and (block := source.read(min(POURED_BYTES, left))):
            found.update(block)
            sink.write(block)
            left -= len(block)
            bar.advance()
        return found.record() == self.record

    def copy(self, root: Path, sink: BinaryIO, bar: Progress) -> None:
        """Copy it out of the index at `root`.

        Raises:
            IndexDamagedError: if it is not what was written.
        """
        with self.open(root) as source:
            if not self.pour(source, sink, bar) or source.read(1):
                raise self.differs(root)

    def differs(self, root: Path) -> IndexDamagedError:
        """Return the error for a part that is not what was written."""
        return IndexDamagedError(f"'{root / self.name}' does not have its checksum; run 'geoindex repair {root}'.")


def parts_of(index: IndexFolder, generation: Generation) -> tuple[Part, ...]:
    """Return every file that a generation stands on, in an order that is always the same.

    Raises:
        IndexDamagedError: if one is gone, or a record of checksums is damaged.
    """
    name, files = generation.manifest.generation, generation.manifest.files
    found = [_recorded(f"generations/{name}/{file}", record, index.root) for file, record in sorted(files.items())]
    whole = [generation.folder / MANIFEST_NAME]
    whole += [path for path in [generation.folder / SEAL_NAME] if path.exists()]
    for table in TABLES:
        version = generation.manifest.tables[table]
        records = index.tables.checksums.of(table, version)
        found += [_recorded(f"tables/{file}", record, index.root) for file, record in sorted(records.items())]
        # a table that is older than the records is taken whole
        own = f"{CHECKSUMS}/{table}-{version}.json"
        whole += [index.tables.folder / own] if records else _files_below(index.tables.folder / f"{table}.lance")
    if generation.manifest.encoder["kept"]:
        whole += _files_below(index.encoder_folder(generation.manifest.encoder["fingerprint"]))
    measured = [_measured(path, index.root) for path in whole]
    return (*found, *measured, *_removed(index.root))


def _files_below(folder: Path) -> list[Path]:
    """Return the files below a folder; the folder itself where there are none.

    What is hidden stays: what a killed write left, and exports of an encoder, which are made again.
    """
    found = (path for path in folder.rglob("*") if path.is_file())
    return sorted(p for p in found if not any(part[0] == "." for part in p.relative_to(folder).parts)) or [folder]


def _recorded(name: str, record: FileRecord, root: Path) -> Part:
    """Return a part as it was recorded; one that was written fast has no checksum yet."""
    return Part(name, record) if record.sha256 else _measured(root / name, root)


def _measured(path: Path, root: Path) -> Part:
    with _reading(path, root):
        return Part(path.relative_to(root).as_posix(), FileRecord.of(path))


def _removed(root: Path) -> list[Part]:
    """Read the list of removed photos at once, because another process may replace it."""
    path = root / TOMBSTONES_NAME
    if not path.exists():
        return []
    with _reading(path, root):
        data = path.read_bytes()
    return [Part(TOMBSTONES_NAME, FileRecord(len(data), hashlib.sha256(data).hexdigest()), data)]


@contextmanager
def _reading(path: Path, root: Path) -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, IsADirectoryError):
        raise IndexDamagedError(f"'{path}' is gone; run 'geoindex repair {root}'.") from None
    except OSError as error:
        raise StorageError(f"Cannot read '{path}': {error.strerror}; change its permissions.") from error


def bar_of(parts: tuple[Part, ...], label: str) -> Progress:
    """Return a bar that fills while the parts are poured."""
    return Progress(label, sum(-(-part.record.bytes // POURED_BYTES) for part in parts), "MB")


def copy_generation(index: IndexFolder, generation: Generation, parts: tuple[Part, ...], out: Path) -> None:
    """Make a new index of one generation.

    Args:
        index: where it lies.
        generation: the one to copy.
        parts: what it stands on, from `parts_of`.
        out: folder of the new index.

    Raises:
        IndexDamagedError: if a part is not what was written.
        StorageError: if `out` is there already, or the disk refuses.
    """
    with new_index(out, generation.manifest.generation, bytes_of(parts)) as copy, bar_of(parts, "copying") as bar:
        for part in parts:
            with create_file(copy.root / part.name) as sink:
                part.copy(index.root, sink, bar)


def create_file(path: Path) -> BinaryIO:
    """Open a new file for writing, and make its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("xb")


@contextmanager
def new_index(out: Path, generation: str, needed: int) -> Iterator[IndexFolder]:
    """Give an empty index; when it is filled it answers with its one generation, and takes its place at `out` at once.

    Args:
        out: folder of the index, which is not there or is empty.
        generation: name of the generation that it will hold.
        needed: bytes that are going to be written.

    Raises:
        StorageError: if `out` holds something, or the disk has no room or refuses; there is no index at `out` then.
        IndexDamagedError: if what was filled in is no index; likewise.
    """
    out = folder_of(out).resolve()
    _refuse_taken(out)
    require_space(out, needed)
    with beside(out) as aside:
        index = IndexFolder(aside / "index")
        index.root.mkdir()
        yield index
        _complete(index, generation)
        sync_tree(index.root)
        _refuse_taken(out)
        index.root.replace(out)
        sync(out.parent)


def _complete(index: IndexFolder, name: str) -> None:
    """Tag the versions of the tables, and let the one generation answer."""
    generation = index.generation(name)
    for table in TABLES:
        version = generation.manifest.tables[table]
        index.tables.columns(table, version)  # a table that Lance cannot open is refused by its name
        index.tables.untag(table, lambda tag: not tag.startswith("gen-"))
        index.tables.tag(table, version, f"gen-{name}")
    index.switch(generation)


@contextmanager
def beside(out: Path) -> Iterator[Path]:
    """Give an empty folder of this process's own beside `out`; what a killed run left there is removed.

    Raises:
        IndexLockedError: if another process is writing `out`.
        StorageError: if the disk refuses.
    """
    aside = out.with_name(f".{out.name}.partial")
    with storage_errors(out), IndexFolder(aside).writing():
        try:
            _empty(aside)
            yield aside
        finally:
            shutil.rmtree(aside, ignore_errors=True)


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != ".lock":
            path.unlink()


def _refuse_taken(out: Path) -> None:
    if out.exists() and not (out.is_dir() and next(out.iterdir(), None) is None):
        raise StorageError(f"'{out}' is there already; name a folder that is not, or is empty.")


def bytes_of(parts: tuple[Part, ...]) -> int:
    """Return the size of parts together."""
    return sum(part.record.bytes for part in parts)
