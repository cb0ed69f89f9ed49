"""Generations: complete, immutable states of an index, of which `CURRENT` names the live one.

A generation is written into a hidden folder, synced, renamed, and only then named by `CURRENT`, which is
replaced atomically. Whatever stops a build before that leaves the live generation as it was.
"""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from geoindex.errors import IndexDamagedError, IndexLockedError, IndexNotFoundError, StoreError
from geoindex.store.durable import storage_errors, sync, sync_tree, write_durably
from geoindex.store.manifest import MANIFEST_NAME, FileRecord, Manifest, digest, parse_manifest
from geoindex.store.tables import TABLES, LanceTables


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
        """Return the path of one of its files after a check of its size.

        Raises:
            IndexDamagedError: if it is missing or of another size than was written.
        """
        path, record = self.folder / name, self.manifest.files.get(name)
        size = path.stat().st_size if path.exists() else None
        if record is None or size != record.bytes:
            wanted = "no such file" if record is None else f"{record.bytes} bytes"
            raise IndexDamagedError(
                f"'{path}' has {'gone' if size is None else f'{size} bytes'}, the manifest says {wanted}; "
                f"run 'geoindex rebuild {self.folder.parent.parent}' to make it again from the stored images."
            )
        return path


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
        folder = self.root / "generations" / str(pointer["generation"])
        path = folder / MANIFEST_NAME
        data = path.read_bytes() if path.is_file() else b""
        if digest(data) != pointer["sha256"]:
            raise IndexDamagedError(
                f"'{path}' is not the manifest that '{self.root / 'CURRENT'}' names; "
                "restore it from a copy or build the index again."
            )
        return Generation(folder, parse_manifest(data, path))

    def _pointer(self) -> dict[str, str]:
        path = self.root / "CURRENT"
        try:
            pointer = json.loads(path.read_bytes())
            return {"generation": pointer["generation"], "sha256": pointer["sha256"]}
        except FileNotFoundError:
            raise IndexNotFoundError(self._not_found()) from None
        except NotADirectoryError:
            raise IndexNotFoundError(f"'{self.root}' is a file, and an index is a folder; name that.") from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise IndexDamagedError(
                f"'{path}' does not name a generation; restore it from a copy or build the index again."
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

        Raises:
            IndexLockedError: if another process holds it.
            StorageError: if the folder cannot be written.
        """
        from filelock import FileLock, Timeout

        with storage_errors(self.root):
            self.root.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.root / ".lock")
            try:
                lock.acquire(timeout=0)
            except Timeout:
                raise IndexLockedError(
                    f"Another process is writing to '{self.root}'; wait for it to end, or build into another folder."
                ) from None
        try:
            yield
        finally:
            lock.release()

    def begin(self) -> tuple[str, Path]:
        """Return the name of the next generation and an empty folder to write it into."""
        parent = self.root / "generations"
        parent.mkdir(parents=True, exist_ok=True)
        for leftover in parent.glob(".*.partial"):
            shutil.rmtree(leftover)
        numbers = [int(p.name) for p in parent.iterdir() if p.name.isdigit()]
        name = f"{max(numbers, default=0) + 1:06d}"
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
            sync_tree(folder)
            folder.rename(final)
            sync(final.parent)
            pointer = {"generation": manifest.generation, "sha256": digest(data)}
            try:
                write_durably(self.root / "CURRENT", json.dumps(pointer).encode())
            except OSError:
                if not self._names(pointer):
                    shutil.rmtree(final)  # nothing names it
                raise
        return Generation(final, manifest)


def seal(folder: Path, manifest: Manifest) -> Generation:
    """Record size and sha256 of every file in a finished folder."""
    files = {path.name: FileRecord.of(path) for path in sorted(folder.iterdir())}
    return Generation(folder, replace(manifest, files=files))
