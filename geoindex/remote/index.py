"""An index on object storage: CURRENT, the lists of its generations, and the objects that these name."""

from dataclasses import dataclass

from geoindex.errors import IndexDamagedError, IndexNotFoundError
from geoindex.store.listing import LISTINGS, OBJECTS, Listing, damaged, label_of
from geoindex.store.objects import ObjectFolder, Stored
from geoindex.store.pointer import POINTER_NAME, parse_pointer, pointer_to


@dataclass(frozen=True, slots=True)
class Current:
    """What answers at a URL.

    Attributes:
        pointer: name of the generation, and sha256 of its list.
        stored: as it was read.
    """

    pointer: dict[str, str]
    stored: Stored


class RemoteIndex:
    """The index at a URL."""

    def __init__(self, url: str) -> None:
        """Remember where; nothing is asked yet.

        Raises:
            MissingExtraError: if the extra `objects` is not installed.
            StorageError: if the environment names no account, or one that is not valid.
        """
        self.url, self.objects = url, ObjectFolder(url)

    def current(self) -> Current | None:
        """Return what answers; None if nothing was published.

        Raises:
            IndexDamagedError: if CURRENT is not what was written.
            UnreachableError: if the service does not answer.
            StorageError: if it refuses, or there is no such bucket.
        """
        stored = self.objects.read(POINTER_NAME)
        if stored is None:
            return None
        try:
            return Current(parse_pointer(stored.data), stored)
        except ValueError as error:
            raise damaged(f"{self.url}/{POINTER_NAME}") from error

    def live(self) -> Current:
        """Return what answers.

        Raises:
            IndexNotFoundError: if nothing was published.
            StoreError: as `current`.
        """
        if (current := self.current()) is None:
            raise IndexNotFoundError(
                f"No index at '{self.url}'; build one with 'geoindex build SOURCE --out {self.url}', or name another."
            )
        return current

    def pointer(self, generation: str) -> dict[str, str]:
        """Return what names a generation.

        Args:
            generation: its name, as 000002; empty: what answers.

        Raises:
            IndexNotFoundError: if it was not published, or several of that name were.
            StoreError: as `current`.
        """
        current = self.live()
        if generation in ("", current.pointer["generation"]):
            return current.pointer
        names = sorted(self.objects.sizes(LISTINGS))
        found = [name for name in names if name.startswith(f"{LISTINGS}/{generation}-")]
        if len(found) != 1:
            there = ", ".join(name.removeprefix(f"{LISTINGS}/").removesuffix(".json") for name in names) or "none"
            raise IndexNotFoundError(f"'{self.url}' has no one generation '{generation}'; there are: {there}.")
        stored = self.objects.read(found[0])
        return pointer_to(generation, stored.data if stored else b"")

    def listing(self, pointer: dict[str, str]) -> Listing:
        """Return the list of a generation.

        Raises:
            IndexDamagedError: if it is not what was written.
            StoreError: as `current`.
        """
        name = f"{LISTINGS}/{label_of(pointer)}.json"
        stored = self.objects.read(name)
        if stored is None:
            raise IndexDamagedError(
                f"'{self.url}/{name}' is gone; publish the index again with 'geoindex clone FOLDER {self.url}'."
            )
        return Listing.parse(stored.data, pointer, f"{self.url}/{name}")

    def sizes(self) -> dict[str, int]:
        """Return the size in bytes of every object that holds a file, by name.

        Raises:
            StoreError: as `current`.
        """
        return self.objects.sizes(OBJECTS)
