"""A generation on object storage -> a folder: what is not at hand yet, every byte compared with its checksum."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from geoindex.errors import StoreError
from geoindex.remote.index import RemoteIndex
from geoindex.remote.threads import Meter, transfer
from geoindex.store.copying import Part, bytes_of, new_index, parts_of
from geoindex.store.durable import Measure, share_file, storage_errors, sync
from geoindex.store.generations import IndexFolder
from geoindex.store.listing import Listing, damaged, object_of
from geoindex.store.space import require_space


def fetch(remote: RemoteIndex, listing: Listing, out: Path, aside: Path, at_hand: Mapping[str, Path]) -> None:
    """Make an index of a generation at a URL. A run that was stopped goes on with the files that it had.

    Args:
        remote: where it lies.
        listing: the generation.
        out: folder of the index, which is not there or is empty; it is there when it is whole.
        aside: folder for files until then, on the same disk.
        at_hand: files that may hold an object, by its name; these are shared with them instead of fetched.

    Raises:
        IndexDamagedError: if an object is not what was written.
        UnreachableError: if the service does not answer.
        StorageError: if it refuses, `out` is there already, or the disk has no room or refuses.
    """
    with storage_errors(out):
        missing = {n: p for n, p in listing.objects().items() if not _is_at_hand(n, p, _made(aside), at_hand)}
        require_space(out, bytes_of(tuple(missing.values())))
        _receive_all(remote, missing, aside)
    with new_index(out, listing.generation, 0) as index:
        for part in listing.parts:
            path = index.root / part.name
            path.parent.mkdir(parents=True, exist_ok=True)
            share_file(_place(aside, object_of(part.record)), path)
        _require_whole(remote, index, listing)
    shutil.rmtree(aside, ignore_errors=True)


def refetch(remote: RemoteIndex, listing: Listing, folder: Path, aside: Path) -> bool:
    """Fetch the files of an index again that are not what was written; tell whether there were any.

    Each takes its place at once, so whoever reads the old one goes on doing so.

    Args:
        remote: where it lies.
        listing: what it was made of.
        folder: the index.
        aside: folder for files until then, on the same disk.

    Raises:
        IndexDamagedError: if an object is not what was written.
        UnreachableError: if the service does not answer.
        StorageError: if it refuses, or the disk has no room or refuses.
    """
    with storage_errors(folder):
        hurt = [part for part in listing.parts if not _is_sound(part, folder / part.name)]
        objects = {object_of(part.record): part for part in hurt}
        missing = {n: p for n, p in objects.items() if not _is_at_hand(n, p, _made(aside), {})}
        require_space(folder, bytes_of(tuple(missing.values())))
        _receive_all(remote, missing, aside)
        for part in hurt:
            path, fresh = folder / part.name, aside / "fresh"
            path.parent.mkdir(parents=True, exist_ok=True)
            share_file(_place(aside, object_of(part.record)), fresh)
            fresh.replace(path)
            sync(path.parent)
    shutil.rmtree(aside, ignore_errors=True)
    return bool(hurt)


def _is_sound(part: Part, path: Path) -> bool:
    return path.is_file() and part.record.fits(path)


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _receive_all(remote: RemoteIndex, missing: Mapping[str, Part], aside: Path) -> None:
    """Fetch objects, by their names, into a folder."""

    def receive(name: str, part: Part, meter: Meter) -> None:
        _receive(remote, name, part, _place(aside, name), meter)

    transfer(missing.items(), receive, "fetching")


def _place(aside: Path, name: str) -> Path:
    return aside / name.rpartition("/")[2]


def _is_at_hand(name: str, part: Part, aside: Path, at_hand: Mapping[str, Path]) -> bool:
    """Tell whether a file need not be fetched; give it its place."""
    place = _place(aside, name)
    if place.exists():
        if part.record.fits(place):
            return True
        place.unlink()
    other = at_hand.get(name)
    if other is None or not _is_sound(part, other):
        return False
    share_file(other, place)
    return True


def _receive(remote: RemoteIndex, name: str, part: Part, place: Path, meter: Meter) -> None:
    """Write an object into a file, which is there when it is whole."""
    partial = place.with_name(f".{place.name}.{os.getpid()}.tmp")
    found = Measure(part.record.block_bytes)
    try:
        with partial.open("wb") as sink:
            for piece in remote.objects.read_pieces(name, part.record.bytes):
                found.update(piece)
                sink.write(piece)
                meter.count(len(piece))
        if found.record() != part.record:
            raise damaged(f"{remote.url}/{name}")
        partial.replace(place)
    finally:
        partial.unlink(missing_ok=True)


def _require_whole(remote: RemoteIndex, index: IndexFolder, listing: Listing) -> None:
    """Refuse files that are more, less or others than the generation stands on."""
    try:
        needed = parts_of(index, index.generation(listing.generation))
    except (StoreError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise damaged(f"{remote.url}/{listing.name}") from error
    if {(p.name, p.record) for p in needed} != {(p.name, p.record) for p in listing.parts}:
        raise damaged(f"{remote.url}/{listing.name}")
