"""Is an index what was written, and if not, what can be saved: verify and repair.

Files of a generation are derived from the tables, so they can always be made again; of the tables every file has a
checksum of ours. An index that cannot be made sound again is left as it is, with what is wrong said.
"""

import logging
from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path
from time import strftime
from typing import Any

from geoindex.assembly.steps import Origin, assemble
from geoindex.assembly.verification import record_canaries, verify_generation
from geoindex.errors import GeoindexError, IndexDamagedError, StorageError, StoreError
from geoindex.progress import Stages, track
from geoindex.recipe_files import recipe_from_dict
from geoindex.search.searcher import Searcher
from geoindex.store.durable import reading_errors
from geoindex.store.generations import Generation, IndexFolder
from geoindex.store.tables import TABLES

log = logging.getLogger(__name__)

QUARANTINE = "quarantine"
ROW_OF = {"images": "row", "cells": "cell", "clusters": "cluster"}
"""Column of each table that numbers its rows."""


@dataclass(frozen=True, slots=True)
class Verification:
    """What a look at an index found.

    Attributes:
        path: its folder.
        generation: the live one; empty if none can be told.
        full: whether every byte was read.
        faults: what is wrong, one sentence each.
        unrecorded: tables whose files have no checksums to differ from; only their rows were counted.
    """

    path: Path
    generation: str
    full: bool
    faults: tuple[str, ...]
    unrecorded: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON types."""
        return {"schema": 1, **asdict(self), "path": str(self.path), "sound": not self.faults}

    def to_text(self) -> str:
        """Return it as lines."""
        looked = "every byte read" if self.full else "sizes, counts and canary queries; --full reads every byte"
        name = f"generation {self.generation}" if self.generation else "no readable generation"
        if not self.faults:
            return "\n".join([f"{self.path}: {name} is sound ({looked})", *self._note()])
        cure = f"run 'geoindex repair {self.path}'"
        return "\n".join([f"{self.path}: {name} is damaged ({looked}); {cure}", *(f"- {f}" for f in self.faults)])

    def _note(self) -> list[str]:
        tables = ", ".join(self.unrecorded)
        return [f"no checksums of tables {tables}: written by an older geoindex, or lost"] if tables else []


@dataclass(frozen=True, slots=True)
class Repair:
    """What a repair did.

    Attributes:
        path: folder of the index.
        before: what was wrong.
        steps: what was done, one sentence each; empty if nothing had to be.
        generation: the one that answers now.
    """

    path: Path
    before: tuple[str, ...]
    steps: tuple[str, ...]
    generation: str

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON types."""
        return {"schema": 1, **asdict(self), "path": str(self.path)}

    def to_text(self) -> str:
        """Return it as lines."""
        steps = self.steps or ("nothing to repair",)
        found = [f"was: {fault}" for fault in self.before]
        return "\n".join([f"{self.path}: generation {self.generation} is sound", *found, *steps])


def verify_index(path: str | PathLike[str], *, full: bool = False) -> Verification:
    """Look for damage in the live generation.

    Args:
        path: folder of the index.
        full: read every byte of its files and tables; else sizes, counts and canary queries.

    Raises:
        IndexNotFoundError: if there is no index.
    """
    index = IndexFolder(Path(path))
    try:
        live = index.current()
    except (IndexDamagedError, StorageError) as error:
        return Verification(index.root, "", full, (str(error),))
    versions = live.manifest.tables if full else {}
    unrecorded = tuple(table for table, version in versions.items() if not index.tables.recorded(table, version))
    return Verification(index.root, live.manifest.generation, full, tuple(_faults(index, live, full)), unrecorded)


def _faults(index: IndexFolder, generation: Generation, full: bool) -> list[str]:
    """Return what is wrong with a generation."""
    faults = []
    try:
        with reading_errors(generation.folder):
            if full:
                verify_generation(index.tables, generation)
            else:
                _check_quickly(generation)
    except StoreError as error:
        faults.append(str(error))
    if full:
        faults += _table_faults(index, generation) + _encoder_faults(index, generation)
    return faults


def _check_quickly(generation: Generation) -> None:
    for name in generation.manifest.files:
        generation.file(name)
    searcher = Searcher.open(generation)
    top_cells = int(generation.manifest.recipe["search"]["top_cells"])
    if record_canaries(searcher, top_cells) != generation.manifest.canaries:
        raise IndexDamagedError(f"Canary queries of '{generation.folder}' find other clusters than when it was built.")


def _table_faults(index: IndexFolder, generation: Generation, tables: tuple[str, ...] = TABLES) -> list[str]:
    """Compare the files of the tables with their checksums, and read every row."""
    faults = []
    for table in track(tables, "verifying tables", unit="table"):
        version = generation.manifest.tables[table]
        found = index.tables.faults(table, version)
        faults += found
        if found:
            continue
        try:
            count = index.tables.read(table, version, [ROW_OF[table]]).num_rows
        except IndexDamagedError as error:
            faults.append(str(error))
            continue
        if count != generation.manifest.counts[table]:
            faults.append(f"Table '{table}' has {count} rows, the manifest says {generation.manifest.counts[table]}.")
    return faults


def _encoder_faults(index: IndexFolder, generation: Generation) -> list[str]:
    entry = generation.manifest.encoder
    if not entry["kept"]:
        return []
    from geoindex.encoder import load_encoder

    try:
        load_encoder(str(index.encoder_folder(entry["fingerprint"])))
    except GeoindexError as error:
        return [str(error)]
    return []


def repair_index(path: str | PathLike[str]) -> Repair:
    """Make an index sound again: from its tables, or by going back to the newest generation that is.

    Nothing is deleted: what cannot be read is moved into the folder `quarantine`.

    Raises:
        IndexNotFoundError: if there is no index.
        IndexDamagedError: if nothing sound is left; the index is then as it was, but for what was moved aside.
    """
    index = IndexFolder(Path(path))
    before = verify_index(path, full=True)
    if not before.faults:
        return Repair(index.root, (), (), before.generation)
    with index.writing():
        steps = _set_aside(index)
        steps.append(_sound_again(index) or _make_again(index) or _go_back(index))
    after = verify_index(path, full=True)
    if after.faults:
        raise _lost(index, after.faults[0])
    return Repair(index.root, before.faults, tuple(steps), after.generation)


def _set_aside(index: IndexFolder) -> list[str]:
    """Move heads of tables that cannot be opened out of the way."""
    folder = index.root / QUARANTINE / strftime("%Y%m%d-%H%M%S")
    moved = [path for table in TABLES for path in index.tables.set_aside(table, folder)]
    return [f"moved '{path.name}' to '{path.parent}'" for path in moved]


def _sound_again(index: IndexFolder) -> str:
    """Tell whether the live generation is sound, now that what stood before its tables is out of the way."""
    try:
        live = index.current()
    except StoreError:
        return ""
    return "" if _faults(index, live, full=True) else f"generation {live.manifest.generation} is sound as it is"


def _make_again(index: IndexFolder) -> str:
    """Derive a new generation from sound tables of the live one; return what was done, empty if that cannot be."""
    try:
        live = index.current()
    except StoreError:
        return ""
    if _table_faults(index, live, ("images",)) or _encoder_faults(index, live):
        return ""
    manifest = live.manifest
    origin = Origin(manifest.source, manifest.encoder, manifest.left_out, manifest.generation)
    try:
        made = assemble(index, recipe_from_dict(manifest.recipe), manifest.tables["images"], origin, Stages())
    except GeoindexError as error:
        log.warning("%s", error)
        return ""
    return f"made generation {made.manifest.generation} from the stored images of {manifest.generation}"


def _go_back(index: IndexFolder) -> str:
    """Switch to the newest generation that is sound in full."""
    for name in reversed(index.names()):
        try:
            generation = index.generation(name)
        except StoreError:
            continue
        if not _faults(index, generation, full=True):
            index.switch(generation)
            return f"went back to generation {name}"
    raise _lost(index, "no generation is sound")


def _lost(index: IndexFolder, why: str) -> IndexDamagedError:
    return IndexDamagedError(
        f"'{index.root}' cannot be repaired: {why.rstrip('.')}; restore it from a copy or build the index again."
    )
