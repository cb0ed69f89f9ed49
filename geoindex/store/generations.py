"""Generations: complete, immutable states of an index, of which `CURRENT` names the live one.

A generation is written into a hidden folder, synced, renamed, and only then named by `CURRENT`, which is
replaced atomically. Whatever stops a build before that leaves the live generation as it was.
"""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from geoindex.errors import IndexDamagedError, IndexNotFoundError, StorageError, StoreError
from geoindex.store.address import folder_of
from geoindex.store.checked import BLOCKS_SUFFIX, CheckedFile, compared_whole
from geoindex.store.durable import (
    Durability,
    file_stamp,
    reading_errors,
    share_file,
    storage_errors,
    sync,
    sync_tree,
    waiting,
    write_durably,
)
from geoindex.store.leftovers import clear_leftovers
from geoindex.store.lock import locked
from geoindex.store.manifest import MANIFEST_NAME, Manifest, digest, parse_manifest
from geoindex.store.pointer import POINTER_NAME, note_leaving, pointer_to, read_pointer
from geoindex.store.tables import TABLES, LanceTables
from geoindex.store.tombstones import TOMBSTONES_NAME, Tombstones

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
        if compared_whole(record) and not record.fits(path):
            raise self._differs(path)
        return path

    def checked(self, name: str) -> CheckedFile:
        """Open one of its files whose blocks are checked when they are first touched.

        Raises:
            IndexDamagedError: if it is missing, has another size, or is small and not what was written.
        """
        path, record = self.file(name), self.manifest.files[name]
        if not record.block_bytes:
            return CheckedFile(path)
        return CheckedFile.recorded(path, record, self.file(name + BLOCKS_SUFFIX))

    def whole(self, name: str) -> Path:
        """Return the path of one of its files after a check of all of it.

        Raises:
            IndexDamagedError: if it is missing or not what was written.
        """
        path = self.file(name)
        if self.manifest.files[name].block_bytes:
            self.checked(name).check_all()
        return path

    def tombstones(self) -> Tombstones:
        """Return the photos that were removed when it was made; none of them is in an answer of its own.

        Raises:
            IndexDamagedError: if their file is not what was written.
        """
        return Tombstones.read(self.file(TOMBSTONES_NAME)) if TOMBSTONES_NAME in self.manifest.files else Tombstones()

    def share(self, name: str, folder: Path) -> None:
        """Give one of its files, which never change, to another generation's folder as well.

        Raises:
            IndexDamagedError: if it is missing or not what was written.
        """
        share_file(self.file(name), folder / name)

    def check(self) -> None:
        """Compare every file with its checksum.

        Raises:
            IndexDamagedError: at the first that differs.
        """
        for name, record in self.manifest.files.items():
            path = self.file(name)
            if not compared_whole(record) and not record.fits(path):
                raise self._differs(path)

    def _differs(self, path: Path) -> IndexDamagedError:
        return IndexDamagedError(
            f"'{path}' does not have the checksum of the manifest; run 'geoindex repair {self.folder.parent.parent}'."
        )


@dataclass(frozen=True, slots=True)
class IndexFolder:
    """The folder of an index: CURRENT, generations/, tables/, encoder/, work/.

    Attributes:
        root: its path.
        durability: of what is written; None: as the live generation was, durable without one.
    """

    root: Path
    durability: Durability | None = None

    def __post_init__(self) -> None:
        folder_of(self.root)

    @property
    def mode(self) -> Durability:
        """Durability of what is written."""
        if self.durability is not None:
            return self.durability
        try:
            return self.current().manifest.durability
        except StoreError:
            return "durable"

    @property
    def tables(self) -> LanceTables:
        """The Lance tables."""
        return LanceTables(self.root / "tables", self.mode)

    @property
    def work(self) -> Path:
        """Folder for what an unfinished build can go on from."""
        return self.root / "work"

    @property
    def tombstones_path(self) -> Path:
        """File of the photos that were removed, from whichever generation."""
        return self.root / TOMBSTONES_NAME

    def tombstones(self) -> Tombstones:
        """Return the photos that were removed for good.

        Raises:
            IndexDamagedError: if their file is not what was written.
        """
        try:
            # the live generation has a copy of all whose removal was ever confirmed
            copy = self.current().tombstones()
        except StoreError:
            copy = Tombstones()
        return Tombstones.read(self.tombstones_path) | copy

    def bury(self, folder: Path) -> None:
        """Give a generation that is being made its copy of the removed photos, if there are any."""
        tombstones = self.tombstones()
        if tombstones:
            tombstones.write(folder / TOMBSTONES_NAME)

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
        return file_stamp(f"{self.root}/CURRENT")

    def tombstones_stamp(self) -> tuple[int, int, int]:
        """Return what changes whenever photos are removed; it costs one look at the file."""
        return file_stamp(f"{self.root}/{TOMBSTONES_NAME}")

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
        path = self.root / POINTER_NAME
        try:
            return read_pointer(path)
        except FileNotFoundError:
            if self.names():
                raise IndexDamagedError(f"'{path}' is gone; run 'geoindex repair {self.root}'.") from None
            raise IndexNotFoundError(self._not_found()) from None
        except NotADirectoryError:
            raise IndexNotFoundError(f"'{self.root}' is a file, and an index is a folder; name that.") from None

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
        with waiting(self.mode), locked(self.root):
            with storage_errors(self.root):
                clear_leftovers(self.tables, self._versions())
            yield

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

    def keep(self, generation: Generation) -> Generation:
        """Make a sealed generation one of the index's, whole and on the disk; the live one stays.

        Raises:
            StorageError: if the disk refuses.
        """
        folder, manifest = generation.folder, generation.manifest
        data, final = manifest.to_json(), self.root / "generations" / manifest.generation
        with storage_errors(self.root), waiting(manifest.durability):
            for table in TABLES:
                self.tables.tag(table, manifest.tables[table], f"gen-{manifest.generation}")
            write_durably(folder / MANIFEST_NAME, data)
            write_durably(folder / SEAL_NAME, digest(data).encode())
            sync_tree(folder)
            folder.rename(final)
            sync(final.parent)
        return Generation(final, manifest)

    def publish(self, generation: Generation) -> Generation:
        """Make a sealed generation the live one.

        Raises:
            StorageError: if the disk refuses; the live generation is then as it was.
        """
        kept = self.keep(generation)
        try:
            self.switch(kept)
        except StorageError:
            if not self._names(pointer_to(kept.manifest.generation, kept.manifest.to_json())):
                shutil.rmtree(kept.folder)  # nothing names it
            raise
        return kept

    def switch(self, generation: Generation) -> None:
        """Make a published generation the live one.

        Raises:
            StorageError: if the disk refuses; the live generation is then as it was.
        """
        with storage_errors(self.root), waiting(generation.manifest.durability):
            note_leaving(self.root)
            pointer = pointer_to(generation.manifest.generation, (generation.folder / MANIFEST_NAME).read_bytes())
            write_durably(self.root / POINTER_NAME, json.dumps(pointer).encode())


def _generation(folder: Path, manifest: bytes) -> Generation:
    """Open a generation by the text of its manifest, which must be its own."""
    path = folder / MANIFEST_NAME
    parsed = parse_manifest(manifest, path)
    if parsed.generation != folder.name:
        raise IndexDamagedError(
            f"'{path}' is that of another generation; run 'geoindex repair {folder.parent.parent}'."
        )
    return Generation(folder, parsed)
