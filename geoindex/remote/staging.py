"""Where an index for a URL is built: a folder of the cache, whose live generation is what answers at the URL.

The folder is an index like any other, so a build that is stopped goes on where it was. What is built and not yet
published is noted beside it, with what it was built from, and is published by the next run that would build the same.
"""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from geoindex.errors import StoreError
from geoindex.remote.cache import STAGING, files_at_hand
from geoindex.remote.fetching import fetch
from geoindex.remote.index import Current, RemoteIndex
from geoindex.remote.publishing import publish
from geoindex.store.address import cache_of
from geoindex.store.durable import storage_errors, write_durably
from geoindex.store.generations import Generation, IndexFolder
from geoindex.store.listing import Listing
from geoindex.store.lock import locked
from geoindex.store.pointer import POINTER_NAME

STAYS = ("work", ".lock")
"""What is not replaced: features that were embedded already belong to whichever generation comes next."""


@dataclass(frozen=True, slots=True)
class Staging:
    """The folder that an index for a URL is built in.

    Attributes:
        remote: where it is to be published.
        home: folder of the cache that belongs to the URL.
        before: what answers there; None: nothing does.
    """

    remote: RemoteIndex
    home: Path
    before: Current | None

    @property
    def folder(self) -> Path:
        """The folder itself."""
        return self.home / STAGING

    @property
    def _note(self) -> Path:
        return self.home / ".unpublished"

    def unpublished(self, key: str) -> Generation | None:
        """Return the generation that an earlier run built and could not publish, if it can be now.

        Args:
            key: what it must have been built from.
        """
        with suppress(OSError, ValueError, StoreError):
            live = IndexFolder(self.folder).current()
            if json.loads(self._note.read_bytes()) == self._facts(key, live):
                return live
        return None

    def _facts(self, key: str, generation: Generation) -> dict[str, object]:
        before = self.before.pointer if self.before else None
        return {"key": key, "generation": generation.manifest.generation, "before": before}

    def catch_up(self) -> None:
        """Let what answers at the URL be the live generation here too.

        Raises:
            StoreError: if it cannot be fetched; what was here may be gone then, but for features.
        """
        listing = self.remote.listing(self.before.pointer) if self.before else None
        with storage_errors(self.folder):
            if listing is not None and self._has(listing):
                return
            new = self.home / ".build.new"
            shutil.rmtree(new, ignore_errors=True)
            if listing is not None:
                fetch(self.remote, listing, new, self.home / ".build.fetched", files_at_hand(self.home))
            self._replace(new)

    def _has(self, listing: Listing) -> bool:
        try:
            index = IndexFolder(self.folder)
            return Listing.of(index, index.current()).pointer() == listing.pointer()
        except StoreError:
            return False

    def _replace(self, new: Path) -> None:
        """Put what lies in another folder here. A run that is killed meanwhile leaves what the next one replaces."""
        self.folder.mkdir(exist_ok=True)
        for path in sorted(self.folder.iterdir(), key=lambda path: path.name != POINTER_NAME):
            if path.name in STAYS:
                continue
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
        if new.exists():
            for path in sorted(new.iterdir(), key=lambda path: path.name == POINTER_NAME):
                if path.name not in STAYS:
                    path.rename(self.folder / path.name)
            shutil.rmtree(new)

    def publish(self, key: str) -> None:
        """Let the live generation of the folder answer at the URL.

        Args:
            key: what it was built from.

        Raises:
            ConflictError: if something else answers there by now; it goes on to.
            StoreError: if it cannot be sent; the next run sends what is missing.
        """
        index = IndexFolder(self.folder)
        live = index.current()
        listing = Listing.of(index, live)
        with storage_errors(self.home):
            write_durably(self._note, json.dumps(self._facts(key, live)).encode())
            write_durably(self.home / f"{STAGING}.json", listing.to_json())
        publish(self.remote, self.folder, listing, self.before)
        self._note.unlink()


@contextmanager
def staging(url: str) -> Iterator[Staging]:
    """Open the folder that an index for a URL is built in; one process at a time.

    Raises:
        IndexLockedError: if another process on this machine builds for the same URL.
        StoreError: if the service does not answer or refuses, or the disk of the cache does.
    """
    remote, home = RemoteIndex(url), cache_of(url)
    with locked(home):
        yield Staging(remote, home, remote.current())
