"""Is an index on object storage what was published? Its list, the size of every object, or every byte of them."""

from threading import Lock

from geoindex.errors import IndexDamagedError
from geoindex.remote.index import RemoteIndex
from geoindex.remote.threads import Meter, transfer
from geoindex.store.copying import Part
from geoindex.store.durable import Measure
from geoindex.store.listing import Listing


def look_at(remote: RemoteIndex, full: bool) -> tuple[str, list[str]]:
    """Return the name of the generation that answers, empty if none can be told, and what is wrong with it.

    Args:
        remote: the index.
        full: read every byte; else sizes alone.

    Raises:
        IndexNotFoundError: if nothing was published.
        UnreachableError: if the service does not answer.
        StorageError: if it refuses, or there is no such bucket.
    """
    try:
        pointer = remote.live().pointer
    except IndexDamagedError as error:
        return "", [str(error)]
    try:
        listing = remote.listing(pointer)
    except IndexDamagedError as error:
        return pointer["generation"], [str(error)]
    faults = _faults_of_sizes(remote, listing)
    others = [(name, part) for name, part in listing.objects().items() if name not in faults]
    if full:
        faults |= _faults_of_bytes(remote, others)
    return listing.generation, [faults[name] for name in sorted(faults)]


def _faults_of_sizes(remote: RemoteIndex, listing: Listing) -> dict[str, str]:
    sizes, faults = remote.sizes(), {}
    for name, part in listing.objects().items():
        if name not in sizes:
            faults[name] = f"'{remote.url}/{name}' is gone; it held '{part.name}'"
        elif sizes[name] != part.record.bytes:
            faults[name] = f"'{remote.url}/{name}' has {sizes[name]} bytes, '{part.name}' has {part.record.bytes}"
    return faults


def _faults_of_bytes(remote: RemoteIndex, parts: list[tuple[str, Part]]) -> dict[str, str]:
    faults: dict[str, str] = {}
    lock = Lock()

    def read(name: str, part: Part, meter: Meter) -> None:
        found = Measure(part.record.block_bytes)
        for piece in remote.objects.read_pieces(name, part.record.bytes):
            found.update(piece)
            meter.count(len(piece))
        if found.record() != part.record:
            with lock:
                faults[name] = f"'{remote.url}/{name}' does not have its checksum; it held '{part.name}'"

    transfer(parts, read, "verifying")
    return faults
