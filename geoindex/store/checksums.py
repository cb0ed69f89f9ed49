"""Size and checksum of every file of a table, which Lance itself does not keep: one list for each version."""

import json
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from geoindex.errors import IndexDamagedError
from geoindex.store.durable import Durability, FileRecord, storage_errors, sync_tree, write_durably
from geoindex.store.following import Follower
from geoindex.store.references import VERSIONS, files_of
from geoindex.store.versions import version_of

CHECKSUMS = "checksums"
"""Folder of the lists, beside the tables."""

PARTS, IMMUTABLE = ("data", "_deletions", VERSIONS), (".lance", ".manifest", ".arrow", ".bin")


@dataclass(frozen=True, slots=True)
class TableChecksums:
    """The lists of all versions.

    Attributes:
        tables: folder of the tables; paths in the lists start from it.
        durability: with `fast` only sizes are written down.
    """

    tables: Path
    durability: Durability = "durable"

    def files(self, name: str) -> set[Path]:
        """Return the files that never change once they are written: data, deletions, what each version is made of."""
        parts = (self.tables / f"{name}.lance" / part for part in PARTS)
        return {path for part in parts if part.is_dir() for path in part.iterdir() if path.suffix in IMMUTABLE}

    @contextmanager
    def following(self, name: str) -> Iterator[Callable[[Path], FileRecord]]:
        """Give what measures a finished file of a table; data that is written meanwhile is hashed while it grows."""
        if self.durability == "fast":
            yield FileRecord.of_size
            return
        with Follower(self.tables / f"{name}.lance" / "data") as follower:
            yield follower.record

    def measured(self, files: set[Path], measure: Callable[[Path], FileRecord] | None = None) -> dict[str, FileRecord]:
        """Return the records of some files by their paths below `tables`."""
        measure = measure or (FileRecord.of_size if self.durability == "fast" else FileRecord.of)
        return {path.relative_to(self.tables).as_posix(): measure(path) for path in sorted(files)}

    def own(self, name: str, version: int, records: Mapping[str, FileRecord]) -> dict[str, FileRecord]:
        """Return the records of those files that a version stands on.

        Older versions of geoindex listed what the versions before it stood on as well, which may be gone.
        """
        try:
            files = files_of(self.tables / f"{name}.lance", version)
        except (OSError, ValueError):  # its manifest is damaged, which its record tells
            return {file: record for file, record in records.items() if not _is_of_another(file, version)}
        kept = {f"{name}.lance/{file}" for file in files}
        return {file: record for file, record in records.items() if file in kept or not _could_be_of(file, name)}

    def write(self, name: str, version: int, records: Mapping[str, FileRecord]) -> None:
        """Write down the list of a version."""
        path = self._path(name, version)
        path.parent.mkdir(parents=True, exist_ok=True)
        values = {file: asdict(record) for file, record in records.items()}
        write_durably(path, (json.dumps(values, indent=1) + "\n").encode())

    def settle(self, name: str, version: int) -> None:
        """Bring a version that may have been written fast to the disk, and write down the checksums that it lacks.

        Raises:
            StorageError: if the disk refuses.
            IndexDamagedError: if its list is damaged.
        """
        if self.durability == "fast" or self.complete(name, version):
            return
        with storage_errors(self.tables):
            sync_tree(self.tables / f"{name}.lance")
            records = self.of(name, version)
            fast = {self.tables / file for file, record in records.items() if not record.sha256}
            if fast:
                self.write(name, version, records | self.measured(fast))

    def drop_others(self, name: str, kept: Collection[int]) -> None:
        """Remove the lists of all versions of a table but some."""
        for path in (self.tables / CHECKSUMS).glob(f"{name}-*.json"):
            number = path.stem.removeprefix(f"{name}-")
            if number.isdigit() and int(number) not in kept:
                path.unlink()

    def of(self, name: str, version: int) -> dict[str, FileRecord]:
        """Return the list of a version, by path below `tables`; nothing for versions of older versions of geoindex.

        Raises:
            IndexDamagedError: if the list is not what was written.
        """
        path = self._path(name, version)
        try:
            records = {file: FileRecord(**record) for file, record in json.loads(path.read_bytes()).items()}
            return self.own(name, version, records)
        except FileNotFoundError:
            return {}
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            raise IndexDamagedError(
                f"'{path}' is not what was written; run 'geoindex repair {self.tables.parent}'."
            ) from error

    def of_or_nothing(self, name: str, version: int) -> dict[str, FileRecord]:
        """Return the list of a version; nothing if it is lost or damaged."""
        try:
            return self.of(name, version)
        except IndexDamagedError:
            return {}

    def complete(self, name: str, version: int) -> bool:
        """Tell whether every file of a version has a checksum; older versions of geoindex and `fast` kept none."""
        try:
            records = self.of(name, version)
        except IndexDamagedError:
            return True  # there were some, and the fault is told
        return bool(records) and all(record.sha256 for record in records.values())

    def faults(self, name: str, version: int) -> list[str]:
        """Return what is wrong with the files of a version, compared with their checksums; nothing if all is right."""
        try:
            records = self.of(name, version)
        except IndexDamagedError as error:
            return [str(error)]
        found = [fault for file, record in records.items() if (fault := _fault(self.tables / file, record))]
        return found + [f"'{self.tables / file}' has no checksum" for file in self._unlisted(name, version, records)]

    def _unlisted(self, name: str, version: int, records: Mapping[str, FileRecord]) -> list[str]:
        """Return the files that a version stands on and that its list, if there is one, lacks."""
        if not records:
            return []
        try:
            files = files_of(self.tables / f"{name}.lance", version)
        except (OSError, ValueError):
            return []
        listed = (f"{name}.lance/{file}" for file in files if file.partition("/")[0] in PARTS)
        return sorted(file for file in listed if file not in records)

    def differs(self, path: Path) -> bool:
        """Tell whether a file of a table is recorded as another one."""
        file = path.relative_to(self.tables).as_posix()
        for listed in (self.tables / CHECKSUMS).glob("*.json"):
            try:
                record = FileRecord(**json.loads(listed.read_bytes())[file])
            except (ValueError, TypeError, KeyError, RecursionError):
                continue
            return not record.fits(path)
        return False

    def _path(self, name: str, version: int) -> Path:
        return self.tables / CHECKSUMS / f"{name}-{version}.json"


def _is_of_another(file: str, version: int) -> bool:
    """Tell whether a file is the manifest of another version."""
    path = Path(file)
    return path.suffix == ".manifest" and path.stem.isdigit() and version_of(path) != version


def _could_be_of(file: str, name: str) -> bool:
    """Tell whether a file is one that a version of a table can stand on."""
    folders, _, leaf = file.rpartition("/")
    return folders in {f"{name}.lance/{part}" for part in PARTS} and Path(leaf).suffix in IMMUTABLE


def _fault(path: Path, record: FileRecord) -> str:
    try:
        if not path.is_file():
            return f"'{path}' is gone"
        return "" if record.fits(path) else f"'{path}' does not have its checksum"
    except OSError as error:
        return f"'{path}' cannot be read ({error.strerror})"
