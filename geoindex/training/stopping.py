"""A fit that is asked to stop (Ctrl-C, SIGTERM) finishes its step and saves itself first."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from geoindex.signals import noting

EXIT_AFTER_SIGTERM = 128 + signal.SIGTERM


class StopRequest:
    """Whether somebody asked to stop, and how."""

    def __init__(self) -> None:
        self.signal = 0

    def __bool__(self) -> bool:
        return self.signal != 0

    def leave(self) -> None:
        """Stop as the signal would have done.

        Raises:
            KeyboardInterrupt: after Ctrl-C.
            SystemExit: after SIGTERM, with its usual exit code.
        """
        if self.signal == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(EXIT_AFTER_SIGTERM)


@contextmanager
def listening() -> Iterator[StopRequest]:
    """Note signals instead of obeying them; a second Ctrl-C stops at once."""
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():  # only that one may set handlers
        yield request
        return

    def note(number: int) -> None:
        if request and number == signal.SIGINT:
            raise KeyboardInterrupt
        request.signal = number

    with noting(note):
        yield request
