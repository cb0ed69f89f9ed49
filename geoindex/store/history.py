"""What an index was before: its generations, a way back to each, and the removal of those that nobody needs."""

import os
import shutil
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import accumulate
from os import PathLike
from pathlib import Path
from time import time
from typing import Any

from geoindex.errors import ConfigError, StoreError
from geoindex.store.address import folder_of
from geoindex.store.durable import reading_errors, storage_errors, sync
from geoindex.store.generations import Generation, IndexFolder
from geoindex.store.manifest import MANIFEST_NAME, check_parts
from geoindex.store.tables import TABLES

HOUR_S = 3600.0

LOOKS = 8
"""Looks at the generations, if a writer removes some each time."""


@dataclass(frozen=True, slots=True)
class PastGeneration:
    """One generation in a list.

    Attributes:
        name: six digits.
        live: whether it answers now.
        parent: the one that it replaced, or empty.
        created: UTC time, ISO 8601; empty if the manifest cannot be read.
        bytes: of its own files; tables are shared.
        counts: images, gallery, val, test, cells, clusters.
        geoscore: of its rule on validation; None without validation.
        damage: what is wrong with its manifest or the sizes of its files; empty if nothing is.
    """

    name: str
    live: bool
    parent: str
    created: str
    bytes: int
    counts: dict[str, int]
    geoscore: float | None
    damage: str


@dataclass(frozen=True, slots=True)
class History:
    """The generations of an index, oldest first."""

    path: Path
    generations: tuple[PastGeneration, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return them as plain JSON types."""
        return {"schema": 1, "path": str(self.path), "generations": [asdict(each) for each in self.generations]}

    def to_text(self) -> str:
        """Return them as a table."""
        titles = f"{'images':>9}{'cells':>7}{'clusters':>10}{'GeoScore':>10}{'MB':>9}"
        head = f"  {'generation':<12}{'created':<27}{'parent':<9}{titles}"
        note = "* live; GeoScore on validation, of the rule that answers"
        return "\n".join([head, *map(_line, self.generations), "", note])


@dataclass(frozen=True, slots=True)
class Collected:
    """What a collection removed.

    Attributes:
        path: folder of the index.
        removed: names of generations.
        kept: names of the others.
        freed_bytes: on the disk.
    """

    path: Path
    removed: tuple[str, ...]
    kept: tuple[str, ...]
    freed_bytes: int

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON types."""
        return {"schema": 1, **asdict(self), "path": str(self.path)}

    def to_text(self) -> str:
        """Return it as a line."""
        names = ", ".join(self.removed) or "nothing"
        return f"{self.path}: removed {names}; kept {', '.join(self.kept)}; {self.freed_bytes / 1e6:,.1f} MB freed"


def list_generations(path: str | PathLike[str]) -> History:
    """List the generations of an index.

    Raises:
        IndexNotFoundError: if there is no index.
    """
    index = IndexFolder(folder_of(path))
    for _ in range(LOOKS):
        names = index.names()
        with reading_errors(index.root):
            found = _found(index, names, live_name(index))
        if index.names() == names:
            break
    return History(index.root, tuple(each for each in found if each.name in index.names()))


def _found(index: IndexFolder, names: list[str], live: str) -> list[PastGeneration]:
    """Return what can be told of some generations; a writer may remove any of them meanwhile."""
    found = []
    for name in names:
        with suppress(FileNotFoundError):
            found.append(_facts(index, name, live))
    return found


def live_name(index: IndexFolder) -> str:
    """Return the name of the live generation; empty if CURRENT or its manifest is damaged.

    Raises:
        IndexNotFoundError: if there is no index.
    """
    try:
        return index.current().manifest.generation
    except StoreError:
        if not index.names():
            raise
        return ""


def collect(path: str | PathLike[str], *, keep: int = 2, grace_hours: float = 24.0) -> Collected:
    """Remove generations that are neither live, nor among the newest, nor replaced so lately that one may be open.

    Args:
        path: folder of the index.
        keep: newest generations to keep.
        grace_hours: time for which a generation is kept after another one went live, as it may be open somewhere.

    Raises:
        ConfigError: if a number is not valid.
        StoreError: if the live generation is damaged; nothing is removed then.
    """
    if keep < 1 or not grace_hours >= 0:
        raise ConfigError(f"keep {keep} must be at least 1, and the grace of {grace_hours} hours 0 or more.")
    index = IndexFolder(folder_of(path))
    index.current()
    with index.writing(), storage_errors(index.root):
        live, before = index.current().manifest.generation, folder_bytes(index.root)
        ages = _ages_s(index)
        old = [name for name in index.names()[:-keep] if ages[name] >= grace_hours * HOUR_S]
        removed = [name for name in old if name != live]
        kept = [index.generation(name) for name in index.names() if name not in removed]
        for generation in kept:
            check_parts(generation.manifest, generation.folder)
        sweep(index)
        for name in removed:
            remove_generation(index, name)
        clean_tables(index, kept)
        _remove_encoders(index, kept)
        return Collected(index.root, tuple(removed), tuple(index.names()), before - folder_bytes(index.root))


def remove_generation(index: IndexFolder, name: str) -> None:
    """Remove a generation; it is gone at once or still whole."""
    folder = index.root / "generations" / name
    gone = folder.with_name(f".{name}.gone")
    folder.rename(gone)
    sync(folder.parent)
    shutil.rmtree(gone)


def sweep(index: IndexFolder) -> None:
    """Remove what a killed run left."""
    for pattern in (".*.gone", ".*.partial"):
        for leftover in (index.root / "generations").glob(pattern):
            shutil.rmtree(leftover)


def clean_tables(index: IndexFolder, kept: list[Generation]) -> None:
    """Remove versions of tables that no generation names."""
    tags = {f"gen-{generation.manifest.generation}" for generation in kept}
    for table in TABLES:
        index.tables.untag(table, lambda tag: tag in tags or not tag.startswith("gen-"))
        index.tables.clean(table, [generation.manifest.tables[table] for generation in kept])


def _remove_encoders(index: IndexFolder, kept: list[Generation]) -> None:
    used = {generation.manifest.encoder["fingerprint"] for generation in kept}
    parent = index.root / "encoder"
    for folder in parent.iterdir() if parent.is_dir() else ():
        if folder.name not in used:
            shutil.rmtree(folder)


def _facts(index: IndexFolder, name: str, live: str) -> PastGeneration:
    size = folder_bytes(index.root / "generations" / name)
    try:
        generation = index.generation(name)
        manifest = check_parts(generation.manifest, generation.folder)
        for file in manifest.files:
            generation.file(file)
    except StoreError as error:
        return PastGeneration(name, name == live, "", "", size, {}, None, str(error))
    facts = (manifest.parent, manifest.created, size, manifest.counts, manifest.geoscore)
    return PastGeneration(name, name == live, *facts, "")


def _ages_s(index: IndexFolder) -> dict[str, float]:
    """Return for how long each generation has not been live, as far as times tell; 0 for the newest.

    It was until its folder was touched, as is done when another one goes live, and where an older geoindex did not do
    that, until the next one was made. None is older than one before it, whatever the clock said.
    """
    now, folders = time(), [index.root / "generations" / name for name in index.names()]
    made = [*(_made_s(folder) for folder in folders[1:]), now]
    left = [max(folder.stat().st_mtime, following) for folder, following in zip(folders, made, strict=True)]
    return {folder.name: max(0.0, now - until) for folder, until in zip(folders, accumulate(left, max), strict=True)}


def _made_s(folder: Path) -> float:
    """Return when a generation was made: its manifest is never touched again."""
    manifest = folder / MANIFEST_NAME
    return (manifest if manifest.exists() else folder).stat().st_mtime


def folder_bytes(folder: Path) -> int:
    """Return how many bytes the files of a folder take; one that has several names counts once."""
    sizes = {}
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):  # a writer removed it
                facts = Path(parent, name).stat()
                sizes[facts.st_dev, facts.st_ino] = facts.st_size
    return sum(sizes.values())


def _line(each: PastGeneration) -> str:
    mark = "*" if each.live else " "
    if each.damage:
        return f"{mark} {each.name:<12}damaged: {each.damage}"
    counts, score = each.counts, "-" if each.geoscore is None else f"{each.geoscore:,.0f}"
    numbers = (
        f"{counts['images']:>9,}{counts['cells']:>7,}{counts['clusters']:>10,}{score:>10}{each.bytes / 1e6:>9,.1f}"
    )
    return f"{mark} {each.name:<12}{each.created:<27}{each.parent or '-':<9}{numbers}"
