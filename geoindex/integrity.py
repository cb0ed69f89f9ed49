"""Is an index what was written?

Every file of a generation and of the tables has a checksum of ours; what a generation answers is compared with its
canaries and with the tables that it was made from.
"""

from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from geoindex.assembly.membership import membership_faults
from geoindex.assembly.verification import record_canaries, verify_answers, verify_encoder
from geoindex.errors import IndexDamagedError, StorageError, StoreError
from geoindex.progress import track
from geoindex.remote.faults import look_at
from geoindex.remote.index import RemoteIndex
from geoindex.search.searcher import Searcher
from geoindex.store.address import folder_of, url_of
from geoindex.store.durable import reading_errors
from geoindex.store.generations import Generation, IndexFolder
from geoindex.store.manifest import check_parts
from geoindex.store.sealing import seal_faults
from geoindex.store.tables import TABLES
from geoindex.store.tombstones import Tombstones
from geoindex.store.vouchers import read_vouchers

ROW_OF = {"images": "row", "cells": "cell", "clusters": "cluster"}
"""Column of each table that numbers its rows."""


@dataclass(frozen=True, slots=True)
class Verification:
    """What a look at an index found.

    Attributes:
        path: its folder, or its URL.
        generation: the live one; empty if none can be told.
        full: whether every byte was read.
        faults: what is wrong, one sentence each.
        unrecorded: tables and files that have no checksums to differ from; only rows were counted and sizes compared.
    """

    path: Path | str
    generation: str
    full: bool
    faults: tuple[str, ...]
    unrecorded: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON types."""
        return {"schema": 1, **asdict(self), "path": str(self.path), "sound": not self.faults}

    def to_text(self) -> str:
        """Return it as lines."""
        remote = url_of(self.path)
        quick = "sizes" if remote else "sizes, counts and canary queries"
        looked = "every byte read" if self.full else f"{quick}; --full reads every byte"
        name = f"generation {self.generation}"
        if not self.faults:
            return "\n".join([f"{self.path}: {name} is sound ({looked})", *self._note()])
        state = f"{name} is damaged ({looked})" if self.generation else "no generation can be read"
        again = f"delete what is damaged and publish it again with 'geoindex clone FOLDER {self.path}'"
        cure = again if remote else f"run 'geoindex repair {self.path}'"
        return "\n".join([f"{self.path}: {state}; {cure}", *(f"- {f}" for f in self.faults)])

    def _note(self) -> list[str]:
        names = ", ".join(self.unrecorded)
        return [f"no checksums of {names}: written fast or by an older geoindex, or lost"] if names else []


def verify_index(path: str | PathLike[str], *, full: bool = False) -> Verification:
    """Look for damage in the live generation.

    Args:
        path: folder of the index, or its URL, of which only the objects are looked at.
        full: read every byte of its files and tables; else sizes, counts and canary queries.

    Raises:
        IndexNotFoundError: if there is no index.
        UnreachableError: if it lies on object storage, and that does not answer.
        StorageError: likewise, if it refuses.
    """
    if url := url_of(path):
        name, faults = look_at(RemoteIndex(url), full)
        return Verification(url, name, full, tuple(faults))
    index = IndexFolder(folder_of(path))
    try:
        live = index.current()
    except (IndexDamagedError, StorageError) as error:
        return Verification(index.root, "", full, (str(error),))
    versions = live.manifest.tables if full else {}
    unrecorded = tuple(t for t, version in versions.items() if not index.tables.checksums.complete(t, version))
    unrecorded += tuple(name for name, record in live.manifest.files.items() if full and not record.sha256)
    return Verification(index.root, live.manifest.generation, full, tuple(faults_of(index, live, full)), unrecorded)


def faults_of(index: IndexFolder, generation: Generation, full: bool) -> list[str]:
    """Return what is wrong with a generation."""
    try:
        check_parts(generation.manifest, generation.folder)
    except IndexDamagedError as error:
        return [str(error)]
    faults = _list_faults(index, generation) + _seal_faults(generation)
    tables = table_faults(index, generation) if full else []
    try:
        with reading_errors(generation.folder):
            if full:
                generation.check()
            # what tables say counts only if they are what was written
            if full and not tables:
                verify_answers(index.tables, generation)
                faults += membership_faults(index, generation)
            else:
                check_quickly(generation)
    except StoreError as error:
        faults.append(str(error))
    return [*faults, *tables, *(encoder_faults(index, generation) if full else [])]


def _list_faults(index: IndexFolder, generation: Generation) -> list[str]:
    """Compare the list of removed photos with the copy that a generation has."""
    path = index.tombstones_path
    try:
        missing = generation.tombstones() - Tombstones.read(path)
    except StoreError as error:
        return [str(error)]
    return [f"'{path}' lacks {len(missing)} photos that were removed."] if missing else []


def _seal_faults(generation: Generation) -> list[str]:
    try:
        with reading_errors(generation.folder):
            return seal_faults(generation)
    except StorageError as error:
        return [str(error)]


def check_quickly(generation: Generation) -> None:
    """Compare sizes and canary queries.

    Raises:
        IndexDamagedError: if one differs.
    """
    for name in generation.manifest.files:
        generation.file(name)
    searcher = Searcher.open(generation)
    top_cells = int(generation.manifest.recipe["search"]["top_cells"])
    if record_canaries(searcher, top_cells) != generation.manifest.canaries:
        raise IndexDamagedError(f"Canary queries of '{generation.folder}' find other clusters than when it was built.")


def table_faults(
    index: IndexFolder, generation: Generation, tables: tuple[str, ...] = TABLES, *, alone: bool = False
) -> list[str]:
    """Compare the files of the tables with their checksums, and read every row.

    Args:
        index: where they lie.
        generation: names their versions.
        tables: which.
        alone: pass over a generation's own copy of the checksums where it is lost.
    """
    faults: list[str] = []
    try:
        vouched = read_vouchers(index.tables, generation)
    except StoreError as error:
        faults, vouched = [] if alone else [str(error)], {}
    for table in track(tables, "verifying tables", unit="table"):
        version = generation.manifest.tables[table]
        found = index.tables.checksums.faults(table, version)
        if vouched and index.tables.checksums.of_or_nothing(table, version) != vouched[table]:
            found.append(f"the checksums of table '{table}' are not those that its generation has a copy of")
        faults += found
        if found:
            continue
        try:
            count = index.tables.read(table, version, [ROW_OF[table]]).num_rows
        except IndexDamagedError as error:
            faults.append(str(error))
            continue
        wanted = _rows_of(generation, table)
        if count != wanted:
            faults.append(f"Table '{table}' has {count} rows, the manifest says {wanted}.")
    return faults


def _rows_of(generation: Generation, table: str) -> int:
    """Return how many rows a table has by the manifest; removed photos keep theirs until they are purged."""
    counts = generation.manifest.counts
    return counts[table] + (counts.get("removed", 0) if table == "images" else 0)


def encoder_faults(index: IndexFolder, generation: Generation) -> list[str]:
    """Return what is wrong with the encoder that an index keeps; nothing if it keeps none."""
    try:
        verify_encoder(index, generation)
    except IndexDamagedError as error:
        return [str(error)]
    return []
