"""Removal of versions of a Lance table with the files that only they stand on.

Lance removes by age alone, which a clock that was set makes wrong, refuses beside tags, and, as `lancedb` offers it,
first merges small files into new ones, so that a disk gets fuller by it. Here nothing is written.
"""

from collections.abc import Iterable
from pathlib import Path

from geoindex.store.durable import sync
from geoindex.store.references import TRANSACTIONS, VERSIONS, files_of, manifests

FOLDERS = ("data", "_deletions", TRANSACTIONS)
"""Folders of a Lance table with files that versions stand on, beside the manifests."""


def needed_files(folder: Path, kept: Iterable[int]) -> frozenset[str]:
    """Return what some versions of the table in a folder stand on, by path below it.

    Raises:
        OSError: if anything of it is gone: nothing is to be removed from a damaged table.
        ValueError: if a manifest is damaged, or of a Lance that is not known here.
    """
    needed = frozenset[str]().union(*(files_of(folder, version) for version in kept))
    for file in needed:
        if not file.startswith(TRANSACTIONS) and not (folder / file).is_file():
            raise FileNotFoundError(f"'{folder / file}' is gone")
    return needed


def remove_others(folder: Path, needed: frozenset[str]) -> None:
    """Remove every manifest, and then every other file, that is not needed; nobody may be writing.

    Raises:
        OSError: if the disk refuses; what is needed is whole then.
    """
    for path in manifests(folder).values():
        if f"{VERSIONS}/{path.name}" not in needed:
            path.unlink()
    sync(folder / VERSIONS)  # no version that is seen again after a power cut may lack a file
    for part in FOLDERS:
        for path in (folder / part).glob("*"):
            if f"{part}/{path.name}" not in needed and path.is_file():
                path.unlink()
