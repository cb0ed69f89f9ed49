"""What an open index answers from: the snapshot of one generation, exchanged whole when another one is live."""

import logging
import os
import threading
from typing import TYPE_CHECKING

from geoindex.errors import ForkError, GeoindexError
from geoindex.snapshot import Snapshot, open_snapshot
from geoindex.store.generations import IndexFolder

if TYPE_CHECKING:
    from geoindex.encoder import Encoder

log = logging.getLogger(__name__)


class LiveSnapshot:
    """The snapshot that answers now. Safe in threads; an error when used in a process that was forked since.

    Attributes:
        index: folder of the index.
        device: where its encoder computes.
        given: an encoder that was loaded already; None: the index's own.
        backend: what computes in the encoder.
        follow: whether `get` looks for another generation first.
        open: the snapshot, as it was last moved to.
    """

    def __init__(
        self, index: IndexFolder, device: str, given: "Encoder | None", follow: bool, backend: str = "torch"
    ) -> None:
        """Open the live generation.

        Raises:
            ConfigError: if there is no such backend.
            MissingExtraError: if it is not installed.
            StoreError: if there is no index, or it is damaged.
            ModelMismatchError: if `given` is not the encoder that built it.
        """
        self.index, self.device, self.given, self.follow, self.backend = index, device, given, follow, backend
        self._process, self._moving = os.getpid(), threading.Lock()
        self._seen, self._buried = index.stamp(), index.tombstones_stamp()
        self.open = self._opened(None)

    def get(self) -> Snapshot:
        """Return what the next query works on, to its end.

        Raises:
            ForkError: if this is not the process that opened it.
            IndexDamagedError: if photos were removed since, and their list is not what was written.
        """
        self.check_process()
        if self.follow and self.index.stamp() != self._seen:
            self._catch_up()
        if self.index.tombstones_stamp() != self._buried:
            self._bury()
        return self.open

    def following(self, before: Snapshot) -> Snapshot:
        """Return what answers a query whose pixels were prepared for `before`.

        It is the present generation if the same encoder built it, else `before`; what was removed since is in neither.
        """
        now = self.get()
        if now.encoder.fingerprint == before.encoder.fingerprint:
            return now
        return before.without(self.index.tombstones())

    def reload(self) -> bool:
        """Move on to the live generation; tell whether it is another one.

        Raises:
            StoreError: if it cannot be opened; the old one goes on answering.
            ForkError: if this is not the process that opened it.
        """
        self.check_process()
        with self._moving:
            before = self.open
            self.open = self._opened(before)
            return self.open.manifest.generation != before.manifest.generation

    def move_to(self, index: IndexFolder) -> None:
        """Answer from another folder, which holds a copy of another generation of the same index.

        Raises:
            StoreError: if it cannot be opened; the old one goes on answering.
            ForkError: if this is not the process that opened the old one.
        """
        self.check_process()
        with self._moving:
            seen, buried = index.stamp(), index.tombstones_stamp()
            before = self.open if self.open.encoder.device else None  # one that is not loaded would be read from there
            self.open = open_snapshot(index, self.device, self.given, before, self.backend)
            self.index, self._seen, self._buried = index, seen, buried

    def _opened(self, before: Snapshot | None) -> Snapshot:
        return open_snapshot(self.index, self.device, self.given, before, self.backend)

    def _catch_up(self) -> None:
        """Move on to what `CURRENT` names now; a generation that cannot be opened is told once and passed over."""
        with self._moving:
            stamp, before = self.index.stamp(), self.open
            if stamp == self._seen:
                return  # another thread did it
            try:
                if self.index.current().manifest != before.manifest:
                    self.open = self._opened(before)
            except GeoindexError as error:
                if self.index.stamp() != stamp:
                    return  # it was replaced meanwhile, and perhaps collected: the next query looks again
                log.warning("%s Generation %s goes on answering.", error, before.manifest.generation)
            self._seen = stamp

    def _bury(self) -> None:
        """Drop photos that another process removed: they leave every answer at once, whatever generation this is."""
        with self._moving:
            stamp = self.index.tombstones_stamp()
            self.open = self.open.without(self.index.tombstones())
            self._buried = stamp

    def check_process(self) -> None:
        """Refuse a process that was forked from the one that opened the index.

        Raises:
            ForkError: if this is one.
        """
        if os.getpid() != self._process:
            raise ForkError(
                f"The index at '{self.index.root}' was opened before this process was forked, and its threads stayed "
                "behind; start processes with the method 'spawn', or open the index in each of them."
            )
