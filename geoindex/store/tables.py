"""The system of record: three Lance tables with explicit schemas.

`images` holds what never changes when cells are made anew (position, labels, split, features);
`cells` and `clusters` hold what one generation decided. A generation names the version of each.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geoindex.errors import ConfigError, IndexDamagedError, StorageError
from geoindex.store.alias import plain_path
from geoindex.store.checksums import TableChecksums
from geoindex.store.cleaning import needed_files, remove_others
from geoindex.store.durable import Durability, FileRecord, storage_errors, sync, sync_tree, waiting
from geoindex.store.fragments import Fragment, commit_fragments, remove_uncommitted
from geoindex.store.references import VERSIONS
from geoindex.store.tombstones import covered
from geoindex.store.versions import require_whole

if TYPE_CHECKING:
    import pyarrow as pa

TABLES = ("images", "cells", "clusters")
MATCHED_ROWS = 65_536

_SOURCE_LINE = re.compile(r",?\s*\S*(?:[/\\]cargo[/\\]registry|\.cargo[/\\]|\.rs:\d+)")
"""Where the messages of Lance go on with the line of code that they come from."""


@dataclass(frozen=True, slots=True)
class LanceTables:
    """The three tables below one folder.

    Attributes:
        folder: holds `images.lance`, `cells.lance`, `clusters.lance`.
        durability: with `fast` nothing is waited for, and only sizes are written down.
    """

    folder: Path
    durability: Durability = "durable"

    @property
    def checksums(self) -> TableChecksums:
        """Size and checksum of the files of every version."""
        return TableChecksums(self.folder, self.durability)

    def write(self, name: str, schema: "pa.Schema", batches: Iterable["pa.RecordBatch"]) -> int:
        """Write a new version of a table, wait until it is on the disk, and return the version.

        Readers of earlier versions are not disturbed.

        Raises:
            StorageError: if the disk refuses.
            IndexDamagedError: if the table is there and cannot be read.
        """
        import pyarrow as pa

        # Lance warns of a table that it is to overwrite and does not find
        mode = "overwrite" if (self.folder / f"{name}.lance").exists() else "create"
        reader = pa.RecordBatchReader.from_batches(schema, batches)
        return self._made(name, lambda: int(self._connect().create_table(name, reader, mode=mode).version), {})

    def commit(self, name: str, schema: "pa.Schema", fragments: Sequence[Fragment]) -> int:
        """Make a new version of a table of fragments that were written for it, and return the version.

        Raises:
            StorageError: if the disk refuses, or does not have what another process wrote.
            IndexDamagedError: if the table is there and cannot be read.
        """
        records = {file: record for fragment in fragments for file, record in fragment.records.items()}
        for file, record in records.items():
            self._require_here(self.folder / file, record)
        return self._made(name, lambda: commit_fragments(self.folder / f"{name}.lance", schema, fragments), records)

    def remove_uncommitted(self, name: str) -> None:
        """Remove what fragments that were never committed left of a table; nobody may be writing.

        Raises:
            StorageError: if the disk refuses.
            IndexDamagedError: if the table is there and cannot be read.
        """
        with storage_errors(self.folder), self._damaged(name, "its newest version"):
            remove_uncommitted(self.folder / f"{name}.lance")

    def _require_here(self, path: Path, record: FileRecord) -> None:
        try:
            here = path.stat().st_size == record.bytes
        except FileNotFoundError:
            here = False
        if not here:
            raise StorageError(
                f"'{path}' was written on another computer and is not here; let --out be a folder that all computers "
                "share."
            )

    def _made(self, name: str, make: Callable[[], int], records: dict[str, FileRecord]) -> int:
        """Let a new version of a table be made, wait until it is on the disk, and write down its checksums.

        Args:
            name: of the table.
            make: makes it and returns its number.
            records: of its data, if that is there already.
        """
        with storage_errors(self.folder), waiting(self.durability):
            self.folder.mkdir(parents=True, exist_ok=True)
            self._check_head(name)
            before = self.checksums.files(name)
            with self.checksums.following(name) as measure:
                version = make()
            written = self.checksums.files(name) - before
            if records:  # what others still write is no part of it
                written = {path for path in written if path.parent.name == VERSIONS}
            require_whole(written)
            sync_tree(self.folder / f"{name}.lance")
            sync(self.folder)
            self.checksums.write(name, version, records | self.checksums.measured(written, measure))
        return version

    def change(self, name: str, version: int, apply: Callable[[Any], object]) -> int:
        """Derive a new version of a table from one of its versions, wait until it is on the disk, and return it.

        Args:
            name: of the table.
            version: to start from, whichever is the newest.
            apply: changes the open table.

        Raises:
            StorageError: if the disk refuses.
            IndexDamagedError: if the table cannot be read.
        """
        with storage_errors(self.folder), waiting(self.durability):
            self._check_head(name)
            before = self.checksums.files(name)
            inherited = self.checksums.of(name, version) or self.checksums.measured(before)
            with self.checksums.following(name) as measure, self._damaged(name, f"version {version}"):
                table = self._connect().open_table(name)
                if table.version != version:
                    table.checkout(version)
                    table.restore()
                apply(table)
            written = self.checksums.files(name) - before
            require_whole(written)
            sync_tree(self.folder / f"{name}.lance")
            # files that only versions before it stand on go when those go
            records = self.checksums.own(name, table.version, inherited | self.checksums.measured(written, measure))
            self.checksums.write(name, int(table.version), records)
        return int(table.version)

    def append(self, name: str, version: int, batches: Iterable["pa.RecordBatch"]) -> int:
        """Derive a new version of a table by more rows, and return it; columns that it lacks are null in the others.

        Raises:
            StorageError: if the disk refuses.
            IndexDamagedError: if the table cannot be read.
        """
        import pyarrow as pa

        ahead = iter(batches)
        first = next(ahead)

        def apply(table: Any) -> None:
            missing = [name for name in first.schema.names if name not in table.schema.names]
            if missing:
                table.add_columns(dict.fromkeys(missing, "cast(NULL AS string)"))
            table.add(pa.RecordBatchReader.from_batches(first.schema, chain([first], ahead)))

        return self.change(name, version, apply)

    def merge(self, name: str, version: int, key: str, rows: "pa.Table") -> int:
        """Derive a new version of a table with some rows replaced by those with the same `key`, and return it.

        Args:
            name: of the table.
            version: to start from.
            key: column that tells rows apart.
            rows: with some or all of the table's columns.

        Raises:
            StorageError: if the disk refuses.
            IndexDamagedError: if the table cannot be read.
        """
        return self.change(name, version, lambda table: table.merge_insert(key).when_matched_update_all().execute(rows))

    def opens(self, name: str) -> bool:
        """Tell whether Lance opens the newest version of a table."""
        try:
            self._connect().open_table(name)
        except (OSError, RuntimeError, ValueError):
            return False
        return True

    def _check_head(self, name: str) -> None:
        """Refuse to write over a table whose newest version is damaged: its versions would count from 1 again."""
        if any((self.folder / f"{name}.lance" / VERSIONS).glob("*.manifest")):
            with self._damaged(name, "its newest version"):
                self._connect().open_table(name)

    def tag(self, name: str, version: int, tag: str) -> None:
        """Keep a version of a table from being cleaned up."""
        with plain_path(self.folder) as folder:
            tags = LanceTables(folder)._connect().open_table(name).tags
            (tags.update if tag in tags.list() else tags.create)(tag, version)
        sync_tree(self.folder / f"{name}.lance" / "_refs")
        sync(self.folder / f"{name}.lance")

    def untag(self, name: str, wanted: Callable[[str], bool]) -> None:
        """Drop the tags of a table that are not wanted any more."""
        with self._damaged(name, "its newest version"):
            tags = self._connect().open_table(name).tags
            for tag in [tag for tag in tags.list() if not wanted(tag)]:
                tags.delete(tag)

    def clean(self, name: str, needed: Iterable[int]) -> None:
        """Remove the versions that nothing needs, with the files that only they stand on; nothing is written.

        The newest stays, as writers count on from it, and so do those with tags.

        Raises:
            StorageError: if the disk refuses.
            IndexDamagedError: if a version that stays is damaged; nothing is removed then.
        """
        folder = self.folder / f"{name}.lance"
        with self._damaged(name, "a version that is needed"):
            table = self._connect().open_table(name)
            kept = {*needed, int(table.version), *(int(tag["version"]) for tag in table.tags.list().values())}
            files = needed_files(folder, kept)
        with storage_errors(self.folder):
            remove_others(folder, files)
            self.checksums.drop_others(name, kept)
            sync_tree(folder)

    def read(self, name: str, version: int, columns: list[str], where: str | None = None) -> "pa.Table":
        """Read columns of one version, ordered by the first of `columns`.

        Raises:
            IndexDamagedError: if the table or this version of it cannot be read.
        """
        with self._damaged(name, f"version {version}"):
            query = self._connect().open_table(name, version=version).search().select(columns)
            query = query.where(where) if where else query
            return query.limit(None).to_arrow().sort_by(columns[0])

    def matching(self, name: str, version: int, columns: list[str], key: str, wanted: list[str]) -> "pa.Table":
        """Read the rows of one version whose `key`, one of `columns`, is among some texts; a batch is held at a time.

        Raises:
            IndexDamagedError: if the table or this version of it cannot be read.
        """
        import pyarrow as pa

        schema = self.schema(name, version)
        batches = self.scan(name, version, columns, batch_rows=MATCHED_ROWS)
        found = [batch.filter(pa.array(covered(batch[key], wanted))) for batch in batches]
        return pa.Table.from_batches(found, pa.schema([schema.field(column) for column in columns]))

    def check_condition(self, name: str, version: int, where: str) -> None:
        """Try a condition.

        Raises:
            ConfigError: if it is not valid.
            IndexDamagedError: if the table or this version of it cannot be read.
        """
        columns = self.columns(name, version)
        try:
            table = self._connect().open_table(name, version=version)
            table.search().select(columns[:1]).where(where).limit(1).to_arrow()
        except (RuntimeError, ValueError) as error:
            raise ConfigError(
                f"The condition '{where}' is not valid ({_first_line(error)}); columns are {', '.join(columns)}."
            ) from error

    def schema(self, name: str, version: int) -> "pa.Schema":
        """Return the schema of one version, which lacks columns that came later.

        Raises:
            IndexDamagedError: if the table or this version of it cannot be read.
        """
        with self._damaged(name, f"version {version}"):
            return self._connect().open_table(name, version=version).schema

    def columns(self, name: str, version: int) -> list[str]:
        """Return the names of the columns of one version.

        Raises:
            IndexDamagedError: if the table or this version of it cannot be read.
        """
        columns: list[str] = self.schema(name, version).names
        return columns

    def scan(
        self, name: str, version: int, columns: list[str], where: str | None = None, batch_rows: int = 8192
    ) -> Iterator["pa.RecordBatch"]:
        """Stream columns of the rows of one version that fulfil `where`, in no particular order.

        Raises:
            IndexDamagedError: if the table or this version of it cannot be read.
        """
        with self._damaged(name, f"version {version}"):
            query = self._connect().open_table(name, version=version).search().select(columns)
            query = query.where(where) if where else query
            yield from query.limit(None).to_batches(batch_rows)

    @contextmanager
    def _damaged(self, name: str, version: str) -> Iterator[None]:
        try:
            yield
        except (OSError, RuntimeError, ValueError) as error:
            raise IndexDamagedError(
                f"Table '{self.folder / name}.lance' cannot be read at {version} ({_first_line(error)}); "
                f"run 'geoindex repair {self.folder.parent}', or restore the folder from a copy or build the index "
                "again in another folder."
            ) from error

    def _connect(self) -> Any:
        import lancedb

        try:
            return lancedb.connect(self.folder)
        except ValueError as error:  # control characters, for one
            raise StorageError(
                f"Lance takes no folder of the name {str(self.folder)!r}; choose another with --out."
            ) from error


def _first_line(error: Exception) -> str:
    first = (str(error).splitlines() or [type(error).__name__])[0]
    return _SOURCE_LINE.split(first)[0].rstrip(" ,;")[:200]
