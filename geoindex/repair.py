"""What can be saved of a damaged index: repair.

Files of a generation are derived from the tables, so they can always be made again. What only the tables held cannot:
it is listed, and the rest goes on being served. Nothing is deleted: what cannot be read is moved into the folder
`quarantine`.
"""

import logging
import re
from contextlib import suppress
from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path
from time import strftime
from typing import Any

from geoindex.assembly.steps import Origin, assemble
from geoindex.errors import GeoindexError, IndexDamagedError, StoreError
from geoindex.integrity import check_quickly, encoder_faults, faults_of, table_faults, verify_index
from geoindex.progress import Stages
from geoindex.recipe_files import recipe_from_dict
from geoindex.store.address import folder_of
from geoindex.store.durable import write_durably
from geoindex.store.generations import Generation, IndexFolder
from geoindex.store.quarantine import set_aside
from geoindex.store.sealing import mend_seal, seal_faults
from geoindex.store.sidecar import open_sidecar
from geoindex.store.tables import TABLES
from geoindex.store.tombstones import Tombstones
from geoindex.store.vouchers import mend_vouchers, read_vouchers

log = logging.getLogger(__name__)

QUARANTINE = "quarantine"

_CURES = re.compile(r"; (?:run 'geoindex repair|restore (?:it|the folder) from a copy)")


@dataclass(frozen=True, slots=True)
class Repair:
    """What a repair did.

    Attributes:
        path: folder of the index.
        before: what was wrong.
        steps: what was done, one sentence each; empty if nothing had to be.
        generation: the one that answers now.
        lost: ids of photos whose stored rows are lost; those of its gallery are still in answers.
        left: what is still wrong; empty if the index is sound.
    """

    path: Path
    before: tuple[str, ...]
    steps: tuple[str, ...]
    generation: str
    lost: tuple[str, ...] = ()
    left: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON types."""
        return {"schema": 1, **asdict(self), "path": str(self.path)}

    def to_text(self) -> str:
        """Return it as lines."""
        steps = self.steps or ("nothing to repair",)
        found = [f"was: {fault}" for fault in self.before]
        state = "answers, but not all could be mended" if self.left else "is sound"
        lost = [f"lost: the stored rows of {len(self.lost):,} photos"] if self.lost else []
        left = [f"still: {_fault_alone(fault)}" for fault in self.left]
        return "\n".join([f"{self.path}: generation {self.generation} {state}", *found, *steps, *lost, *left])


def repair_index(path: str | PathLike[str]) -> Repair:
    """Make an index sound again: from its tables, or by going back to the newest generation that is.

    Where the images table itself is damaged, or the encoder, a generation whose own files are sound goes on answering.
    Photos whose rows are lost, of which nothing can be rebuilt, are listed in the report and in `quarantine`.

    Raises:
        IndexNotFoundError: if there is no index.
        IndexDamagedError: if nothing sound is left; the index is then as it was, but for what was moved aside.
    """
    index = IndexFolder(folder_of(path))
    before = verify_index(path, full=True)
    if not before.faults:
        return Repair(index.root, (), (), before.generation)
    with index.writing():
        folder = index.root / QUARANTINE / strftime("%Y%m%d-%H%M%S")
        steps = _mend_copies(index) + _set_aside(index, folder)
        stored = _stored_ids(index)
        done, kept = _sound_again(index) or _make_again(index), stored
        if not done:
            done, kept = _go_back(index) or _go_on(index)
        after = verify_index(path, full=True)
        if not done:
            raise _hopeless(index, after.faults[0])
        lost = tuple(sorted(stored - kept))
        if lost:
            steps.append(_list_lost(folder, lost))
    return Repair(index.root, before.faults, (*steps, done), after.generation, lost, after.faults)


def _set_aside(index: IndexFolder, folder: Path) -> list[str]:
    """Move heads of tables that cannot be opened out of the way."""
    moved = [path for table in TABLES for path in set_aside(index.tables, table, folder)]
    return [f"moved '{path.name}' to '{path.parent}'" for path in moved]


def _mend_copies(index: IndexFolder) -> list[str]:
    """Write again what can be told from its copies: the list of removed photos, and checksums."""
    return [step for mend in (_mend_list, _mend_seal, _mend_vouchers, _mend_records) for step in mend(index)]


def _mend_list(index: IndexFolder) -> list[str]:
    """Write the list of removed photos again if it lacks any that a generation's copy has."""
    listed = Tombstones()
    with suppress(StoreError):
        listed = Tombstones.read(index.tombstones_path)
    copies = listed
    for name in index.names():
        with suppress(StoreError):
            copies |= index.generation(name).tombstones()
    if copies.ids == listed.ids and not (index.tombstones_path.exists() and not listed):
        return []
    copies.write(index.tombstones_path)
    return [f"wrote '{index.tombstones_path}' again from the copies of the generations"]


def _mend_seal(index: IndexFolder) -> list[str]:
    """Write the checksum of the live manifest again where it is another one, as CURRENT has it too."""
    try:
        live = index.current()
    except StoreError:
        return []
    if not seal_faults(live):
        return []
    mend_seal(live)
    return [f"wrote the checksum of the manifest of generation {live.manifest.generation} again"]


def _mend_vouchers(index: IndexFolder) -> list[str]:
    """Make a generation's copy of the checksums of its tables again where it is lost and they are not."""
    steps = []
    for generation in _readable(index):
        try:
            read_vouchers(index.tables, generation)
        except StoreError:
            if mend_vouchers(index.tables, generation):
                steps.append(f"wrote the checksums that generation {generation.manifest.generation} has copied again")
    return steps


def _mend_records(index: IndexFolder) -> list[str]:
    """Write the checksums of tables again where a generation has another copy of them than is there."""
    steps = []
    for name in index.names():
        try:
            generation = index.generation(name)
            vouched = read_vouchers(index.tables, generation)
        except StoreError:
            continue
        for table, records in vouched.items():
            version = generation.manifest.tables[table]
            if index.tables.checksums.of_or_nothing(table, version) != records:
                index.tables.checksums.write(table, version, records)
                steps.append(f"wrote the checksums of version {version} of '{table}' again from generation {name}")
    return steps


def _stored_ids(index: IndexFolder) -> frozenset[str]:
    """Return the ids of photos that any generation is known to hold, as far as can be read."""
    found: set[str] = set()
    for name in index.names():
        with suppress(StoreError, OSError):
            found |= _ids(index, index.generation(name))
    return frozenset(found) - index.tombstones().ids


def _ids(index: IndexFolder, generation: Generation) -> set[str]:
    """Return the ids of a generation's photos: of all by its table, or of its gallery."""
    try:
        return set(index.tables.read("images", generation.manifest.tables["images"], ["row", "id"])["id"].to_pylist())
    except IndexDamagedError:
        return set(open_sidecar(generation).gallery.ids())


def _sound_again(index: IndexFolder) -> str:
    """Tell whether the live generation is sound, now that what stood before its tables is out of the way."""
    try:
        live = index.current()
    except StoreError:
        return ""
    return "" if faults_of(index, live, full=True) else f"generation {live.manifest.generation} is sound as it is"


def _make_again(index: IndexFolder) -> str:
    """Derive a new generation from sound tables of the live one; return what was done, empty if that cannot be."""
    try:
        live = index.current()
    except StoreError:
        return ""
    if table_faults(index, live, ("images",), alone=True) or encoder_faults(index, live):
        return ""
    manifest = live.manifest
    origin = Origin(manifest.source, manifest.encoder, manifest.left_out, manifest.generation)
    try:
        made = assemble(index, recipe_from_dict(manifest.recipe), manifest.tables["images"], origin, Stages())
    except GeoindexError as error:
        log.warning("%s", error)
        return ""
    return f"made generation {made.manifest.generation} from the stored images of {manifest.generation}"


def _go_back(index: IndexFolder) -> tuple[str, frozenset[str]] | None:
    """Switch to the newest generation that is sound in full; return what was done and the ids that it has."""
    for generation in _readable(index):
        if not faults_of(index, generation, full=True):
            index.switch(generation)
            return f"went back to generation {generation.manifest.generation}", frozenset(_ids(index, generation))
    return None


def _go_on(index: IndexFolder) -> tuple[str, frozenset[str]]:
    """Switch to the newest generation whose own files are sound, though its tables are not."""
    for generation in _readable(index):
        try:
            generation.check()
            check_quickly(generation)
        except StoreError:
            continue
        index.switch(generation)
        kept = frozenset() if table_faults(index, generation, ("images",)) else frozenset(_ids(index, generation))
        done = f"generation {generation.manifest.generation} goes on answering from its own files"
        return f"{done}; restore the folder from a copy, or build again from '{generation.manifest.source}'", kept
    return "", frozenset()


def _readable(index: IndexFolder) -> list[Generation]:
    """Return the generations whose manifests are sound, the newest first."""
    found = []
    for name in reversed(index.names()):
        with suppress(StoreError):
            found.append(index.generation(name))
    return found


def _list_lost(folder: Path, lost: tuple[str, ...]) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "lost.txt"
    write_durably(path, "".join(f"{id}\n" for id in lost).encode())
    return f"listed the photos whose stored rows are lost in '{path}'"


def _fault_alone(fault: str) -> str:
    """Return a fault without the cure that its sentence ends with, which would be this repair."""
    return _CURES.split(fault)[0].rstrip(".")


def _hopeless(index: IndexFolder, why: str) -> IndexDamagedError:
    return IndexDamagedError(
        f"'{index.root}' cannot be repaired: {_fault_alone(why)}; restore it from a copy or build the index again."
    )
