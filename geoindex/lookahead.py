"""Items -> results in threads, a few batches ahead of whoever takes them: images decoded while others are encoded."""

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

BATCHES_AHEAD = 2
"""Batches that are read and worked on while one is in use; bounds the memory of what waits."""


def work_ahead(batches: Iterable[Sequence[T]], work: Callable[[T], R]) -> Generator[list[R], None, None]:
    """Apply `work` to every item in threads, and yield the results batch by batch, in order.

    Nothing is read of `batches` before the first result is asked for, and never more than `BATCHES_AHEAD` batches
    beyond the one that was yielded last. Closing the iterator drops what has not begun and waits for the rest.

    Args:
        batches: what to work on.
        work: safe in threads; what it raises is raised in the turn of its batch.
    """
    todo, waiting = iter(batches), deque[list[Future[R]]]()
    pool = ThreadPoolExecutor(available_cores())
    try:
        while True:
            more = islice(todo, 1 + BATCHES_AHEAD - len(waiting))
            waiting.extend([pool.submit(work, item) for item in batch] for batch in more)
            if not waiting:
                return
            yield [future.result() for future in waiting.popleft()]
    finally:
        pool.shutdown(cancel_futures=True)


def available_cores() -> int:
    """Return the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
