"""Signals that are noted instead of obeyed, for as long as something must end in order."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def noting(note: Callable[[int], None]) -> Iterator[None]:
    """Give Ctrl-C and SIGTERM to a function; only the main thread may ask for it."""

    def handle(number: int, frame: FrameType | None) -> None:
        note(number)

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
