"""Photos that leave an index for good."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from geoindex.assembly.revision import Added
from geoindex.assembly.successor import succeed
from geoindex.errors import ConfigError, EmptyDatasetError
from geoindex.progress import Stages
from geoindex.store.address import folder_of
from geoindex.store.durable import storage_errors
from geoindex.store.generations import Generation, IndexFolder
from geoindex.store.sidecar import open_sidecar
from geoindex.store.tombstones import Tombstones


@dataclass(frozen=True, slots=True)
class Removal:
    """What was removed.

    Attributes:
        path: folder of the index.
        generation: the one that answers now.
        removed: photos that left it, of any split.
        images: photos in the gallery after it.
        unknown: ids that no photo has.
        timings_s: time of each step.
    """

    path: Path
    generation: str
    removed: int
    images: int
    unknown: tuple[str, ...]
    timings_s: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON types."""
        return {"schema": 1, **asdict(self), "path": str(self.path)}

    def to_text(self) -> str:
        """Return it as lines."""
        lines = [
            f"{self.path}: removed {self.removed:,}; generation {self.generation} has {self.images:,} in its gallery"
        ]
        if self.unknown:
            lines.append(f"{len(self.unknown)} ids are in no photo (such as {', '.join(self.unknown[:3])})")
        return "\n".join(lines)


def remove_images(index: str | PathLike[str], ids: Iterable[str] = (), *, where: str = "") -> Removal:
    """Remove photos from an index for good, and publish the generation without them.

    From the moment that their ids are on the disk no process names them any more, and neither a rollback, a rebuild, a
    clone, an import nor a new build brings them back. Their rows lie in older files until the index is compacted. What
    was learned from them, a projection or geo-embeddings, stays until the next rebuild.

    Args:
        index: folder of the index.
        ids: of the photos.
        where: a condition in SQL over the columns of the images table, such as "author = 'Kim'".

    Raises:
        ConfigError: if neither is given, the ids are no list of text, or the condition is not valid.
        EmptyDatasetError: if no photo of the gallery would be left.
        GeoindexError: if anything else fails; what was removed by then stays removed.
    """
    wanted, folder, stages = _wanted(ids), IndexFolder(folder_of(index)), Stages()
    if not wanted and not where:
        raise ConfigError("Nothing to remove: name ids, or a condition with where.")
    folder.current()
    with folder.writing():
        live, before = folder.current(), folder.tombstones()
        with stages("find"):
            found = _found(folder, live, wanted, where)
            gone = Tombstones(frozenset(found)) - before
            if gone:
                _check_left(folder, live, before | gone)
        with storage_errors(folder.root):
            (before | gone).write(folder.tombstones_path)  # from here on they are gone
        if folder.tombstones() - live.tombstones():
            nothing = Added.nothing(live.manifest.dim)
            live = succeed(folder, live, live.manifest.tables["images"], nothing, stages)
    unknown = tuple(sorted(wanted - set(found)))
    manifest = live.manifest
    return Removal(folder.root, manifest.generation, len(gone), manifest.counts["gallery"], unknown, stages.rounded())


def _wanted(ids: Iterable[str]) -> set[str]:
    """Return ids that were given as a list; of a lone text the letters would be taken for ids."""
    if isinstance(ids, str | bytes | bytearray):
        text = ids if isinstance(ids, str) else bytes(ids).decode(errors="replace")
        raise ConfigError(f"The ids of photos are the text {text!r}; give a list: remove([{text!r}]).")
    if not isinstance(ids, Iterable):
        raise ConfigError(f"The ids of photos are {ids!r}; give a list of ids, which are text.")
    wanted = list(ids)
    other = [id for id in wanted if not isinstance(id, str)]
    if other:
        raise ConfigError(f"An id to remove is {other[0]!r}, and ids are text; give them in quotes.")
    return set(wanted)


def _found(index: IndexFolder, live: Generation, wanted: set[str], where: str) -> dict[str, str]:
    """Return the split of each photo that is meant, by id."""
    version, columns = live.manifest.tables["images"], ["id", "split"]
    rows = index.tables.matching("images", version, columns, "id", sorted(wanted)).to_pylist() if wanted else []
    if where:
        index.tables.check_condition("images", version, where)
        rows += index.tables.read("images", version, columns, where).to_pylist()
    return {row["id"]: row["split"] for row in rows}


def _check_left(index: IndexFolder, live: Generation, removed: Tombstones) -> None:
    """Refuse to leave no photo in the gallery; some may be on the list that a stopped removal left in it."""
    if not open_sidecar(live).gallery.count_without((removed - live.tombstones()).ids):
        raise EmptyDatasetError(
            f"That would leave no photo in the gallery of '{index.root}'; delete the folder, or name fewer photos."
        )
