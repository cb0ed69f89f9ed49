"""Signals that are noted or raised instead of obeyed, so that work ends in order."""

import os
import signal
import threading
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


class Terminated(KeyboardInterrupt):
    """SIGTERM; a Ctrl-C to all that does not tell the two apart."""


def forget_children() -> None:
    """Let children end without a word, at the end of a process: torch would raise for each of its workers."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)


@contextmanager
def raising_on_sigterm() -> Iterator[None]:
    """Let SIGTERM end work as Ctrl-C does; outside the main thread, or where it has a meaning already, as it was."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return
    owner = os.getpid()

    def stop(number: int, frame: FrameType | None) -> None:
        if os.getpid() == owner:
            raise Terminated
        signal.signal(number, signal.SIG_DFL)  # a fork of this process dies of it, as any other does
        os.kill(os.getpid(), number)

    signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
