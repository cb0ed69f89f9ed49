"""Fragments: parts of a Lance table that any process writes on its own, and one commits as a version.

A fragment that is never committed, as of a task that ran twice, is no part of any version; so every row is there once.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from geoindex.store.checksums import TableChecksums
from geoindex.store.durable import FileRecord, storage_errors, sync, waiting
from geoindex.store.versions import require_whole

if TYPE_CHECKING:
    import pyarrow as pa

MOST_ROWS = 2**31 - 1
"""Rows of a file at the most: whoever writes decides how many rows a fragment has."""

FOREVER = timedelta(days=36_500)
"""Age of versions that nothing is too old for."""


@dataclass(frozen=True, slots=True)
class Fragment:
    """A part of a table that is on the disk, and in no version yet.

    Attributes:
        described: what Lance says of it, as JSON texts, one a file.
        records: size and checksum of its files, by path below the folder of the tables.
    """

    described: tuple[str, ...]
    records: Mapping[str, FileRecord]


def write_fragment(
    checksums: TableChecksums, name: str, schema: "pa.Schema", batches: Iterable["pa.RecordBatch"]
) -> Fragment:
    """Write rows of the next version of a table, wait until they are on the disk, and describe them.

    Args:
        checksums: of the tables.
        name: of the table.
        schema: of the table that is to be.
        batches: its rows, one or more.

    Raises:
        StorageError: if the disk refuses.
    """
    import pyarrow as pa
    from lance.fragment import write_fragments

    folder, reader = checksums.tables / f"{name}.lance", pa.RecordBatchReader.from_batches(schema, batches)
    with storage_errors(checksums.tables), waiting(checksums.durability):
        # Lance warns of a table that it is to overwrite and does not find
        mode = "overwrite" if has_versions(folder) else "create"
        parts = write_fragments(reader, str(folder), schema=schema, mode=mode, max_rows_per_file=MOST_ROWS)
        paths = {folder / "data" / file.path for part in parts for file in part.files}
        require_whole(paths)
        for path in paths:
            sync(path)
        records = checksums.measured(paths)
    return Fragment(tuple(json.dumps(part.to_json()) for part in parts), records)


def commit_fragments(folder: Path, schema: "pa.Schema", fragments: Sequence[Fragment]) -> int:
    """Make a version of a table of fragments, in their order, and return it."""
    import lance

    parts = [lance.fragment.FragmentMetadata.from_json(text) for each in fragments for text in each.described]
    newest = lance.dataset(str(folder)).version if has_versions(folder) else 0
    made = lance.LanceDataset.commit(str(folder), lance.LanceOperation.Overwrite(schema, parts), read_version=newest)
    return int(made.version)


def remove_uncommitted(folder: Path) -> None:
    """Remove files of a table that are in no version, as those of a write that was stopped; nobody may be writing."""
    import lance

    if has_versions(folder):
        lance.dataset(str(folder)).cleanup_old_versions(older_than=FOREVER, delete_unverified=True)
        return
    for path in (folder / "data").glob("*"):
        path.unlink()


def has_versions(folder: Path) -> bool:
    """Tell whether a table has a version."""
    return any((folder / "_versions").glob("*.manifest"))


def can_write_fragments() -> bool:
    """Tell whether this computer has what writes fragments (extra `ray`); an import would warn at every later fork."""
    return find_spec("lance") is not None
