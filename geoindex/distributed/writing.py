"""Rows of a table on a Ray cluster: each task writes a fragment, the first process commits all of them at once.

Workers write where they see the folder of the tables. Where they do not, the first process writes for them.
"""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from geoindex.distributed.cluster import in_order
from geoindex.distributed.executor import RowGroup, store_here
from geoindex.progress import Progress
from geoindex.store.checksums import TableChecksums
from geoindex.store.durable import storage_errors
from geoindex.store.fragments import Fragment, can_write_fragments, write_fragment
from geoindex.store.tables import LanceTables

if TYPE_CHECKING:
    import pyarrow as pa


def store_on_ray(tables: LanceTables, name: str, schema: "pa.Schema", groups: Sequence[RowGroup]) -> int:
    """Write groups of rows, in their order, as a version of a table, and return it.

    Raises:
        StorageError: if the disk refuses.
    """
    if not can_write_fragments():
        return store_here(tables, name, schema, groups)
    tables = replace(tables, folder=tables.folder.absolute())  # workers start elsewhere
    with _only_committed(tables, name), _sign(tables.folder) as sign:
        checksums, fragments = tables.checksums, list[Fragment]()
        calls = ((sign, checksums, name, schema, group) for group in groups)
        # closed before what is not committed is removed, whatever stops this
        with closing(in_order(_written, calls)) as written, Progress(f"writing {name}", _count(groups), "row") as bar:
            for group, fragment in zip(groups, written, strict=True):
                fragments.append(fragment or write_fragment(checksums, name, schema, group.batches()))
                bar.advance(len(group))
        return tables.commit(name, schema, fragments)


def _count(groups: Sequence[RowGroup]) -> int:
    return sum(map(len, groups))


@contextmanager
def _only_committed(tables: LanceTables, name: str) -> Iterator[None]:
    """Leave no file behind that is in no version, of a run that was stopped before, of this one, or of a task's second.

    Nobody else writes: the index is locked.
    """
    tables.remove_uncommitted(name)
    try:
        yield
    finally:
        tables.remove_uncommitted(name)


@contextmanager
def _sign(folder: Path) -> Iterator[Path]:
    """Lay a file of a new name into a folder: who sees it sees that folder, and not one of the same name."""
    path = folder / f".writing-{uuid4().hex}"
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        path.touch()
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def _written(sign: Path, checksums: TableChecksums, name: str, schema: "pa.Schema", group: RowGroup) -> Fragment | None:
    """Write a group of rows; None where this computer cannot."""
    if not (sign.exists() and can_write_fragments()):
        return None
    return write_fragment(checksums, name, schema, group.batches())
