"""A few transfers at once; the first that fails stops the others."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from threading import Event, Lock
from typing import TypeVar

from geoindex.progress import Progress
from geoindex.store.copying import POURED_BYTES, Part, bar_of

T = TypeVar("T")

THREADS = 4


class Stopped(Exception):
    """Another transfer failed, or the user interrupted."""


class Meter:
    """What transfers report to: it fills a bar, and ends those that are of no use any more. Safe in threads."""

    def __init__(self, bar: Progress) -> None:
        self._bar, self._lock, self._stop, self._bytes = bar, Lock(), Event(), 0

    def count(self, size: int) -> None:
        """Count bytes as transferred.

        Raises:
            Stopped: if the rest is of no use.
        """
        if self._stop.is_set():
            raise Stopped
        with self._lock:
            before, self._bytes = self._bytes, self._bytes + size
            self._bar.advance(self._bytes // POURED_BYTES - before // POURED_BYTES)

    def stop(self) -> None:
        """End all transfers."""
        self._stop.set()


def transfer(parts: Iterable[tuple[str, Part]], work: Callable[[str, Part, Meter], None], label: str) -> None:
    """Do some work for each object, a few at once.

    Args:
        parts: objects by name, each with a file that it holds.
        work: what to do with one; it counts the bytes.
        label: what the bar says.

    Raises:
        Exception: what the first that fails raises, when the others have ended.
    """
    items = tuple(parts)
    with bar_of(tuple(part for _, part in items), label) as bar, ThreadPoolExecutor(THREADS) as pool:
        meter = Meter(bar)
        waiting = [pool.submit(work, name, part, meter) for name, part in items]
        try:
            for done in as_completed(waiting):
                done.result()
        except BaseException:
            meter.stop()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
