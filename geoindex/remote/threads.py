"""A few transfers at once; the first that fails stops the others."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Event, Lock
from typing import TypeVar

from geoindex.progress import Progress
from geoindex.store.copying import POURED_BYTES, Part, bar_of

T = TypeVar("T")

THREADS = 4


class Stopped(Exception):
    """Another transfer failed, the user interrupted, or the process ends."""


_ended: ContextVar[Event | None] = ContextVar("_ended", default=None)


@contextmanager
def ended_by(event: Event) -> Iterator[None]:
    """Have an event end the transfers that this thread begins; they raise `Stopped`."""
    before = _ended.set(event)
    try:
        yield
    finally:
        _ended.reset(before)


class Meter:
    """What transfers report to: it fills a bar, and ends those that are of no use any more. Safe in threads."""

    def __init__(self, bar: Progress, ended: Event | None = None) -> None:
        """Report to a bar; `ended` ends all as well."""
        self._bar, self._lock, self._bytes = bar, Lock(), 0
        self._stop, self._ended = Event(), ended or Event()

    def count(self, size: int) -> None:
        """Count bytes as transferred.

        Raises:
            Stopped: if the rest is of no use.
        """
        if self._stop.is_set() or self._ended.is_set():
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
        meter = Meter(bar, _ended.get())
        waiting = [pool.submit(work, name, part, meter) for name, part in items]
        try:
            for done in as_completed(waiting):
                done.result()
        except BaseException:
            meter.stop()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
