"""Fragments: parts of a Lance table that any process writes on its own, and one commits as a version.

A fragment that is never committed, as of a task that ran twice, is no part of any version; so every row is there once.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geoindex.errors import MissingExtraError
from geoindex.store.checksums import TableChecksums
from geoindex.store.durable import FileRecord, storage_errors, sync, waiting
from geoindex.store.versions import require_whole

if TYPE_CHECKING:
    import pyarrow as pa

NEEDED = "Tables that many write need an extra: pip install 'geoindex[ray]'."

MOST_ROWS = 2**31 - 1
"""Rows of a file at the most: whoever writes decides how many rows a fragment has."""


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

    write = _lance().fragment.write_fragments
    folder, reader = checksums.tables / f"{name}.lance", pa.RecordBatchReader.from_batches(schema, batches)
    with storage_errors(checksums.tables), waiting(checksums.durability):
        parts = write(reader, str(folder), schema=schema, mode="overwrite", max_rows_per_file=MOST_ROWS)
        paths = {folder / "data" / file.path for part in parts for file in part.files}
        require_whole(paths)
        for path in paths:
            sync(path)
        records = checksums.measured(paths)
    return Fragment(tuple(json.dumps(part.to_json()) for part in parts), records)


def commit_fragments(folder: Path, schema: "pa.Schema", fragments: Sequence[Fragment]) -> int:
    """Make a version of a table of fragments, in their order, and return it."""
    lance = _lance()
    parts = [lance.fragment.FragmentMetadata.from_json(text) for each in fragments for text in each.described]
    newest = lance.dataset(str(folder)).version if any((folder / "_versions").glob("*.manifest")) else 0
    made = lance.LanceDataset.commit(str(folder), lance.LanceOperation.Overwrite(schema, parts), read_version=newest)
    return int(made.version)


def require_fragments() -> None:
    """Refuse to begin what would end in fragments, where nothing can write them.

    Raises:
        MissingExtraError: if it is so.
    """
    if find_spec("lance") is None:  # an import would warn at every fork of a program from now on
        raise MissingExtraError(NEEDED)


def _lance() -> Any:
    try:
        import lance
    except ImportError as error:
        raise MissingExtraError(NEEDED) from error
    return lance
