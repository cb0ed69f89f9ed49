"""Generations: complete, immutable states of an index, of which `CURRENT` names the live one.

A generation is written into a hidden folder, synced, renamed, and only then named by `CURRENT`, which is
replaced atomically. Whatever stops a build before that leaves the live generation as it was.
"""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from geoindex.errors import IndexDamagedError, IndexLockedError, IndexNotFoundError, StoreError
from geoindex.store.durable import (
    FileRecord,
    make_folder,
    reading_errors,
    storage_errors,
    sync,
    sync_tree,
    write_durably,
)
from geoindex.store.leftovers import clear_leftovers
from geoindex.store.manifest import MANIFEST_NAME, Manifest, digest, parse_manifest
from geoindex.store.tables import TABLES, LanceTables

CHECKED_BYTES = 2**24
"""Size up to which a file is compared with its checksum when it is opened: 16 MB take about 10 ms."""

SEAL_NAME = "manifest.sha256"
"""File with the sha256 of the manifest; generations of older versions have none, and CURRENT alone vouches for them."""


@dataclass(frozen=True, slots=True)
class Generation:
    """A published generation.

    Attributes:
        folder: where its files lie.
        manifest: what it is.
    """

    folder: Path
    manifest: Manifest

    def file(self, name: str) -> Path:
        """Return the path of one of its files after a check of its size, and of its checksum if it is small.

        Raises:
            IndexDamagedError: if it is missing or not what was written.
        """
        path, record = self.folder / name, self.manifest.files.get(name)
        size = path.stat().st_size if path.exists() else None
        if record is None or size != record.bytes:
            wanted = "no such file" if record is None else f"{record.bytes} bytes"
            raise IndexDamagedError(
                f"'{path}' has {'gone' if size is None else f'{size} bytes'}, the manifest says {wanted}; "
                f"run 'geoindex repair {self.folder.parent.parent}' to make it again from the stored images."
            )
        if size <= CHECKED_BYTES and FileRecord.of(path) != record:
            raise self._differs(path)
        return path

    def check(self) -> None:
        """Compare every file with its checksum.

        Raises:
            IndexDamagedError: at the first that differs.
        """
        for name, record in self.manifest.files.items():
            path = self.file(name)
            if record.bytes > CHECKED_BYTES and FileRecord.of(path) != record:
                raise self._differs(path)

    def _differs(self, path: Path) -> IndexDamagedError:
        return IndexDamagedError(
            f"'{path}' does not have the checksum of the manifest; run 'geoindex repair {self.folder.parent.parent}'."
        )


@dataclass(frozen=True, slots=True)
class IndexFolder:
    """The folder of an index: CURRENT, generations/, tables/, encoder/, work/."""

    root: Path

    @property
    def tables(self) -> LanceTables:
        """The Lance tables."""
        return LanceTables(self.root / "tables")

    @property
    def work(self) -> Path:
        """Folder for what an unfinished build can go on from."""
        return self.root / "work"

    def encoder_folder(self, fingerprint: str) -> Path:
        """Return where the weights of an encoder are kept, if they are."""
        return self.root / "encoder" / fingerprint

    def abandon(self, folder: Path) -> None:
        """Remove what was begun and will not be published."""
        shutil.rmtree(folder, ignore_errors=True)

    def current(self) -> Generation:
        """Open the live generation.

        Raises:
            IndexNotFoundError: if there is no index here.
            IndexDamagedError: if CURRENT or the manifest is not what was written.
        """
        pointer = self._pointer()
        folder = self.root / "generations" / pointer["generation"]
        path = folder / MANIFEST_NAME
        with reading_errors(path):
            data = path.read_bytes() if path.is_file() else b""
        if digest(data) != pointer["sha256"]:
            raise IndexDamagedError(
                f"'{path}' is not the manifest that '{self.root / 'CURRENT'}' names; run 'geoindex repair {self.root}'."
            )
        return _generation(folder, data)

    def stamp(self) -> tuple[int, int, int]:
        """Return what changes whenever `CURRENT` is replaced; it costs one look at the file."""
        try:
            facts = os.stat(f"{self.root}/CURRENT")  # noqa: PTH116 - asked before every query that follows
        except OSError:
            return 0, 0, 0
        return facts.st_ino, facts.st_mtime_ns, facts.st_ctime_ns

    def names(self) -> list[str]:
        """Return the names of the generations on the disk, oldest first."""
        parent = self.root / "generations"
        with reading_errors(parent):
            return sorted(p.name for p in parent.iterdir() if p.name.isdigit()) if parent.is_dir() else []

    def generation(self, name: str) -> Generation:
        """Open any generation.

        Raises:
            IndexNotFoundError: if there is none of this name.
            IndexDamagedError: if its manifest is not what was written.
        """
        folder = self.root / "generations" / name
        path, seal_path = folder / MANIFEST_NAME, folder / SEAL_NAME
        if name not in self.names():
            there = ", ".join(self.names()) or "none"
            raise IndexNotFoundError(f"'{self.root}' has no generation '{name}'; there are: {there}.")
        with reading_errors(path):
            data = path.read_bytes() if path.is_file() else b""
            sealed = seal_path.read_bytes().strip() if seal_path.is_file() else digest(data).encode()
        if digest(data).encode() != sealed:
            raise IndexDamagedError(f"'{path}' is not what was written; run 'geoindex repair {self.root}'.")
        return _generation(folder, data)

    def _pointer(self) -> dict[str, str]:
        path = self.root / "CURRENT"
        try:
            with reading_errors(path):
                pointer = json.loads(path.read_bytes())
            if not str(pointer["generation"]).isdecimal():
                raise ValueError("no name of a generation")
            return {"generation": str(pointer["generation"]), "sha256": pointer["sha256"]}
        except FileNotFoundError:
            if self.names():
                raise IndexDamagedError(f"'{path}' is gone; run 'geoindex repair {self.root}'.") from None
            raise IndexNotFoundError(self._not_found()) from None
        except NotADirectoryError:
            raise IndexNotFoundError(f"'{self.root}' is a file, and an index is a folder; name that.") from None
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise IndexDamagedError(
                f"'{path}' does not name a generation; run 'geoindex repair {self.root}'."
            ) from error

    def _names(self, pointer: dict[str, str]) -> bool:
        try:
            return self._pointer() == pointer
        except StoreError:
            return False

    def _not_found(self) -> str:
        if (self.root / "generations").is_dir() or self.work.is_dir():
            return f"The index at '{self.root}' was never finished; run its build again, it goes on where it stopped."
        return f"No index at '{self.root}'; build one with 'geoindex build SOURCE --out {self.root}', or name another."

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the right to write; the system drops it when the process ends, however it ends.

        What an earlier writer left unfinished in the tables is cleared away first.

        Raises:
            IndexLockedError: if another process holds it.
            StorageError: if the folder cannot be written.
        """
        from filelock import FileLock, Timeout

        with storage_errors(self.root):
            make_folder(self.root)
            lock = FileLock(self.root / ".lock")
            try:
                lock.acquire(timeout=0)
            except Timeout:
                raise IndexLockedError(
                    f"Another process is writing to '{self.root}'; wait for it to end, or build into another folder."
                ) from None
        try:
            with storage_errors(self.root):
                clear_leftovers(self.tables, self._versions())
            yield
        finally:
            lock.release()

    def _versions(self) -> Iterator[dict[str, int]]:
        """Yield the versions of the tables that each readable generation names."""
        for name in self.names():
            with suppress(StoreError):
                yield self.generation(name).manifest.tables

    def begin(self) -> tuple[str, Path]:
        """Return the name of the next generation and an empty folder to write it into."""
        parent = self.root / "generations"
        parent.mkdir(parents=True, exist_ok=True)
        for leftover in parent.glob(".*.partial"):
            shutil.rmtree(leftover)
        name = f"{max(map(int, self.names()), default=0) + 1:06d}"
        folder = parent / f".{name}.partial"
        folder.mkdir()
        return name, folder

    def publish(self, generation: Generation) -> Generation:
        """Make a sealed generation the live one.

        Raises:
            StorageError: if the disk refuses; the live generation is then as it was.
        """
        folder, manifest = generation.folder, generation.manifest
        data, final = manifest.to_json(), self.root / "generations" / manifest.generation
        with storage_errors(self.root):
            for table in TABLES:
                self.tables.tag(table, manifest.tables[table], f"gen-{manifest.generation}")
            write_durably(folder / MANIFEST_NAME, data)
            write_durably(folder / SEAL_NAME, digest(data).encode())
            sync_tree(folder)
            folder.rename(final)
            sync(final.parent)
            try:
                self._point_at(manifest.generation, data)
            except OSError:
                if not self._names(_pointer_to(manifest.generation, data)):
                    shutil.rmtree(final)  # nothing names it
                raise
        return Generation(final, manifest)

    def switch(self, generation: Generation) -> None:
        """Make a published generation the live one.

        Raises:
            StorageError: if the disk refuses; the live generation is then as it was.
        """
        with storage_errors(self.root):
            self._point_at(generation.manifest.generation, (generation.folder / MANIFEST_NAME).read_bytes())

    def _point_at(self, name: str, manifest: bytes) -> None:
        write_durably(self.root / "CURRENT", json.dumps(_pointer_to(name, manifest)).encode())


def _generation(folder: Path, manifest: bytes) -> Generation:
    """Open a generation by the text of its manifest, which must be its own."""
    path = folder / MANIFEST_NAME
    parsed = parse_manifest(manifest, path)
    if parsed.generation != folder.name:
        raise IndexDamagedError(
            f"'{path}' is that of another generation; run 'geoindex repair {folder.parent.parent}'."
        )
    return Generation(folder, parsed)


def _pointer_to(name: str, manifest: bytes) -> dict[str, str]:
    return {"generation": name, "sha256": digest(manifest)}


def seal(folder: Path, manifest: Manifest) -> Generation:
    """Record size and sha256 of every file in a finished folder."""
    files = {path.name: FileRecord.of(path) for path in sorted(folder.iterdir())}
    return Generation(folder, replace(manifest, files=files))
