"""A large file that is filled for long before it counts: under a name of its own until it is whole."""

import errno
import fcntl
import os
import uuid
import weakref
from contextlib import suppress
from pathlib import Path

from geoindex.store.durable import sync

NAME = ".{}.{}.part"

UNKNOWN = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)
"""What a file system says that cannot take room before it is written to."""


class UnfinishedFile:
    """An empty file beside the one that it will be; if this is let go of before it is finished, it is removed.

    What processes that were killed left of the same file is removed when one is made.

    Attributes:
        path: where it lies until then.
    """

    def __init__(self, final: Path) -> None:
        """Make one.

        Args:
            final: its name when it is whole.

        Raises:
            OSError: if the disk refuses.
        """
        _remove_abandoned(final)
        self.path, self._final = final.with_name(NAME.format(final.name, uuid.uuid4().hex)), final
        self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        _hold(self._descriptor)
        self._let_go = weakref.finalize(self, _remove, self.path, self._descriptor)

    def take_room(self) -> None:
        """Take on the disk what the file is long, before a map of it is written to: one without room kills a process.

        Raises:
            OSError: if there are fewer; the file is then removed.
        """
        if not hasattr(os, "posix_fallocate"):  # macOS
            return
        try:
            os.posix_fallocate(self._descriptor, 0, os.fstat(self._descriptor).st_size)
        except OSError as error:
            if error.errno not in UNKNOWN:
                self._let_go()
                raise

    def finish(self) -> None:
        """Give the whole file its name, for good; what had it is replaced.

        Raises:
            OSError: if the disk refuses.
        """
        sync(self.path)
        self.path.replace(self._final)
        sync(self._final.parent)
        self._let_go()


def _remove_abandoned(final: Path) -> None:
    """Remove unfinished files that no process holds."""
    for path in final.parent.glob(NAME.format(final.name, "*")):
        with suppress(OSError):  # gone, or somebody else's
            descriptor = os.open(path, os.O_RDWR)
            try:
                if _hold(descriptor):
                    path.unlink()
            finally:
                os.close(descriptor)


def _hold(descriptor: int) -> bool:
    """Hold an open file until it is closed, if nobody else does."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # or the file system knows no locks
        return False
    return True


def _remove(path: Path, descriptor: int) -> None:
    path.unlink(missing_ok=True)
    os.close(descriptor)
