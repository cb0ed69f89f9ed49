"""Rows of a table on a Ray cluster: each task writes a fragment, the first process commits all of them at once.

Workers write where they see the folder of the index and what the rows are read from. Where they do not, the first
process writes for them.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from geoindex.distributed.cluster import in_order
from geoindex.distributed.executor import RowGroup
from geoindex.progress import Progress
from geoindex.store.checksums import TableChecksums
from geoindex.store.fragments import Fragment, write_fragment
from geoindex.store.tables import LanceTables

if TYPE_CHECKING:
    import pyarrow as pa


def store_on_ray(tables: LanceTables, name: str, schema: "pa.Schema", groups: Sequence[RowGroup]) -> int:
    """Write groups of rows, in their order, as a version of a table, and return it.

    Raises:
        StorageError: if the disk refuses, or workers write to another one.
    """
    checksums, fragments = tables.checksums, list[Fragment]()
    before = checksums.files(name)
    written = in_order(_written, ((checksums, name, schema, group) for group in groups))
    with Progress(f"writing {name}", sum(map(len, groups)), "row") as bar:
        for group, fragment in zip(groups, written, strict=True):
            fragments.append(fragment or write_fragment(checksums, name, schema, group.batches()))
            bar.advance(len(group))
    version = tables.commit(name, schema, fragments)
    for path in checksums.files(name) - before - {tables.folder / file for file in checksums.of(name, version)}:
        path.unlink()  # of a task that ran twice
    return version


def _written(checksums: TableChecksums, name: str, schema: "pa.Schema", group: RowGroup) -> Fragment | None:
    """Write a group of rows; None where this computer does not see them."""
    return write_fragment(checksums, name, schema, group.batches()) if group.seen() else None
