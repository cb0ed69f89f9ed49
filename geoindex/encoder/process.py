"""The one process that encoders compute in: a forked process waits for torch's threads, which stayed behind."""

import os

from geoindex.errors import ForkError
from geoindex.lookahead import available_cores

_computing: int | None = None
"""The process that made the first encoder; a forked one inherits the number, a spawned one does not."""


def check_process() -> None:
    """Refuse a process that was forked from one that has used an encoder.

    Raises:
        ForkError: if this is one.
    """
    global _computing
    if _computing is None:
        _computing = os.getpid()
    if _computing != os.getpid():
        raise ForkError(
            "This process was forked from one that has used an encoder, and torch would wait for threads that stayed "
            "behind; start processes with the method 'spawn'."
        )


def thread_count() -> int:
    """Return how many threads compute: one for each core of this process, or fewer if OMP_NUM_THREADS says so."""
    cores = available_cores()
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    return min(cores, int(wanted)) if wanted.isdigit() and int(wanted) else cores
