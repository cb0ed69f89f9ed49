"""A generation of a folder -> object storage: what is not there yet, then the list, then CURRENT."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from geoindex.errors import StorageError, StoreError
from geoindex.remote.index import Current, RemoteIndex
from geoindex.remote.threads import Meter, transfer
from geoindex.store.copying import POURED_BYTES, Part
from geoindex.store.durable import Measure
from geoindex.store.generations import IndexFolder
from geoindex.store.listing import Listing
from geoindex.store.manifest import MANIFEST_NAME, digest
from geoindex.store.pointer import POINTER_NAME


def publish(remote: RemoteIndex, root: Path, listing: Listing, before: Current | None) -> None:
    """Let a generation answer at a URL. What is there already is not sent again.

    Args:
        remote: where.
        root: folder of the index.
        listing: the generation.
        before: what answered when it was begun; None: nothing did.

    Raises:
        IndexDamagedError: if a file is not what was written.
        ConflictError: if something else answers by now; it goes on to.
        UnreachableError: if the service does not answer; what was sent stays for the next run.
        StorageError: if it refuses, or there is no such bucket.
    """
    there = remote.sizes()
    missing = [(name, part) for name, part in listing.objects().items() if there.get(name) != part.record.bytes]

    def send(name: str, part: Part, meter: Meter) -> None:
        remote.objects.write_pieces(name, _pieces(part, root, meter), part.record.bytes)

    transfer(missing, send, "publishing")
    remote.objects.write(listing.name, listing.to_json())
    remote.objects.exchange(POINTER_NAME, listing.to_pointer(), before.stored if before else None)


def _pieces(part: Part, root: Path, meter: Meter) -> Iterator[bytes]:
    """Yield the bytes of a file, and fail at its end if they are not those of its record."""
    found = Measure(part.record.block_bytes)
    with part.open(root) as source:
        while piece := source.read(POURED_BYTES):
            found.update(piece)
            meter.count(len(piece))
            yield piece
    if found.record() != part.record:
        raise part.differs(root)


def require_descent(remote: RemoteIndex, current: Current, index: IndexFolder, listing: Listing) -> None:
    """Refuse to publish one index over another, whose photos and removed photos it does not know.

    Args:
        remote: where.
        current: what answers there.
        index: the index that is to be published.
        listing: the generation of it.

    Raises:
        StorageError: if `index` does not have the generation that answers.
        IndexDamagedError: if the list of that one is not what was written.
    """
    if current.pointer == listing.pointer():
        return  # however damaged it is there
    theirs = remote.listing(current.pointer)
    with suppress(StoreError):
        known = index.generation(theirs.generation)
        if digest((known.folder / MANIFEST_NAME).read_bytes()) == theirs.manifest:
            return
    raise StorageError(
        f"'{remote.url}' holds generation {theirs.generation} of an index that '{index.root}' was not made from; name "
        f"another URL, or run 'geoindex clone {remote.url} FOLDER' and work on that."
    )
