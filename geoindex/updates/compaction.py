"""An index without what it no longer needs: rows of removed photos, and galleries and tables in pieces."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any

from geoindex.assembly.purge import PurgedImages, draft_purged, purge_images
from geoindex.progress import Stages, track
from geoindex.store.address import folder_of
from geoindex.store.durable import storage_errors
from geoindex.store.gallery import ADDED
from geoindex.store.generations import Generation, IndexFolder
from geoindex.store.history import clean_tables, folder_bytes, remove_generation, sweep
from geoindex.store.sidecar import open_sidecar
from geoindex.store.space import MAKE_ROOM, require_space


@dataclass(frozen=True, slots=True)
class Compaction:
    """What a compaction did.

    Attributes:
        path: folder of the index.
        generation: the one that answers now.
        renewed: name of the generation that took the place of each that was written anew.
        emptied: generations that are gone, as all photos of their galleries were removed.
        purged: rows of removed photos that are gone from the images table of the live generation.
        freed_bytes: on the disk; below 0 if there was little to free.
    """

    path: Path
    generation: str
    renewed: dict[str, str]
    emptied: tuple[str, ...]
    purged: int
    freed_bytes: int

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON types."""
        return {"schema": 1, **asdict(self), "path": str(self.path)}

    def to_text(self) -> str:
        """Return it as lines."""
        if not self.renewed:
            return f"{self.path}: nothing to compact; generation {self.generation} answers"
        pairs = ", ".join(f"{old} as {new}" for old, new in self.renewed.items())
        size = f"{abs(self.freed_bytes) / 1e6:,.1f} MB"
        # what generations shared is written for each of them
        space = f"{size} freed" if self.freed_bytes >= 0 else f"{size} more on the disk; 'geoindex gc' frees the old"
        head = f"{self.path}: generation {self.generation} answers; wrote {pairs}"
        if self.emptied:
            head += f"; deleted {', '.join(self.emptied)}, whose photos were all removed"
        return f"{head}\n{self.purged:,} rows of removed photos are gone, {space}"


def compact_index(path: str | PathLike[str]) -> Compaction:
    """Purge the rows of removed photos from every generation, and write galleries and tables in one piece.

    Every generation is written anew under a new name, and the old ones are deleted, as is one whose photos were all
    removed; answers stay as they are. Ids of removed photos stay listed, so that no source brings them back.

    Raises:
        GeoindexError: if anything fails; the live generation is then as it was, and a second run does the rest.
    """
    index = IndexFolder(folder_of(path))
    index.current()
    with index.writing(), storage_errors(index.root):
        live, before = index.current(), folder_bytes(index.root)
        old = _old(index, live)
        kept = [each for each in old if each.folder == live.folder or _has_photos(index, each)]
        require_space(index.root, _needed_bytes(index, kept), MAKE_ROOM)
        renewed = _renew(index, kept, {each.manifest.generation: each.manifest.parent for each in old})
        if renewed:
            index.switch(index.generation(renewed[live.manifest.generation]))
        emptied = tuple(each.manifest.generation for each in old if each not in kept)
        _remove(index, (*renewed, *emptied))
        now, freed = index.current().manifest, before - folder_bytes(index.root)
    purged = live.manifest.counts["images"] + live.manifest.counts["removed"] - now.counts["images"]
    return Compaction(index.root, now.generation, renewed, emptied, purged, freed)


def _remove(index: IndexFolder, names: Iterable[str]) -> None:
    """Remove generations, and what only they needed."""
    sweep(index)
    for name in names:
        remove_generation(index, name)
    clean_tables(index, [index.generation(name) for name in index.names()])


def _old(index: IndexFolder, live: Generation) -> list[Generation]:
    """Return the generations to write anew, oldest first: all of them if there is anything to gain."""
    generations = [index.generation(name) for name in index.names()]
    removed = sorted(index.tombstones().ids)
    pieces = f"{ADDED}.npy" in live.manifest.files or _superseded(index, live)
    if not (pieces or any(_holds(index, generation, removed) for generation in generations)):
        return []
    return generations


def _superseded(index: IndexFolder, live: Generation) -> bool:
    """Tell whether tables of the live generation hold rows that later ones took the place of."""
    lists = (index.tables.checksums.of(name, version) for name, version in live.manifest.tables.items())
    return any("/_deletions/" in file for records in lists for file in records)


def _needed_bytes(index: IndexFolder, old: list[Generation]) -> int:
    """Return what they take again, in bytes; images that several share are written once."""
    own = sum(record.bytes for generation in old for record in generation.manifest.files.values())
    versions = {pair for generation in old for pair in generation.manifest.tables.items()}
    lists = (index.tables.checksums.of(name, version) for name, version in versions)
    return own + sum(record.bytes for records in lists for record in records.values())


def _holds(index: IndexFolder, generation: Generation, removed: list[str]) -> bool:
    """Tell whether the tables of a generation hold rows of removed photos."""
    version = generation.manifest.tables["images"]
    return bool(removed) and index.tables.matching("images", version, ["id"], "id", removed).num_rows > 0


def _has_photos(index: IndexFolder, generation: Generation) -> bool:
    """Tell whether any photo of the gallery of a generation was not removed."""
    removed = index.tombstones() - generation.tombstones()
    return open_sidecar(generation).gallery.count_without(removed.ids) > 0


def _renew(index: IndexFolder, old: list[Generation], parents: dict[str, str]) -> dict[str, str]:
    """Write generations anew, each after its parent; return the new names."""
    renewed: dict[str, str] = {}
    images: dict[int, PurgedImages] = {}
    for generation in track(old, "compacting", unit="generation"):
        version = generation.manifest.tables["images"]
        images[version] = images.get(version) or purge_images(index, version)
        name, folder = index.begin()
        try:
            draft = draft_purged(index, name, folder, generation, images[version], Stages())
            parent = _renewed_parent(generation.manifest.parent, renewed, parents)
            draft = replace(draft, manifest=replace(draft.manifest, parent=parent))
            index.keep(draft)
        except BaseException:
            index.abandon(folder)
            raise
        renewed[generation.manifest.generation] = name
    return renewed


def _renewed_parent(parent: str, renewed: dict[str, str], parents: dict[str, str]) -> str:
    """Return the new name of a parent, or of what came before it where it is not written anew."""
    while parent in parents and parent not in renewed:
        parent = parents[parent]
    return renewed.get(parent, parent)
