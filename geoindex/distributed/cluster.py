"""A Ray cluster: found or started, left as it was found, and its errors in one sentence."""

import logging
import os
import socket
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from geoindex.errors import ClusterError, GeoindexError, MissingExtraError
from geoindex.geocells.clusters import GROUPS_AT_ONCE
from geoindex.progress import Stages

R = TypeVar("R")

QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
"""Nothing is reported to anyone, errors come as exceptions, and no task hides the GPUs of others."""

KNOCK_S = 10.0

AHEAD, MOST_CALLS = 2, 1024
"""Calls in tasks for each core, enough that none waits for the next, and in all."""

TAKEN_BACK_S = 60.0
"""How long tasks that are at work may take to end: a group of rows is written in a few seconds."""


@contextmanager
def cluster(address: str, stages: Stages) -> Iterator[None]:
    """Connect to a cluster; without one that is up, start one on this machine that ends with the work.

    Args:
        address: of its head, as 10.0.0.1:6379; empty: what RAY_ADDRESS says, or one that this machine is a node of.
        stages: counts the time until it is there.

    Raises:
        MissingExtraError: if Ray is not installed.
        ClusterError: if there is no cluster at this address, or it stops.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    try:
        import ray
    except ImportError as error:
        raise MissingExtraError("A build on Ray needs an extra: pip install 'geoindex[ray]'.") from error
    with stages("ray start"):
        joined = ray.is_initialized()
        if not joined:
            _connect(address)
    try:
        with ray_errors():
            yield
    finally:
        if not joined:
            ray.shutdown()


def _connect(address: str) -> None:
    """Connect to what is named, what is up, or a cluster of this machine's own."""
    address = address or os.environ.get("RAY_ADDRESS", "")
    try:
        _require_answer(address)
        with warnings.catch_warnings():
            # it forks only to start a program, which Lance warns of
            warnings.filterwarnings("ignore", "lancedb fork support", RuntimeWarning)
            warnings.filterwarnings("ignore", "lance is not fork-safe", UserWarning)
            _init(address)
    except Exception as error:  # Ray has no error of its own for it
        raise ClusterError(
            f"No Ray cluster answers at '{address or 'this machine'}' "
            f"({first_line(error)}); start it with 'ray start --head', or name another address."
        ) from error


def _init(address: str) -> None:
    import ray

    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    logging.getLogger("ray").setLevel("ERROR")
    try:
        if address or _is_member():
            ray.init(address=address or "auto", **options)
            return
    except ConnectionError:
        if address:
            raise
    ray.init(address="local", include_dashboard=False, **options)


def _is_member() -> bool:
    """Tell whether the cluster that this machine was a node of may still be there: Ray itself waits for minutes."""
    note = Path(os.environ.get("RAY_TMPDIR", "/tmp")) / "ray" / "ray_current_cluster"
    try:
        _require_answer(note.read_text().strip())
    except OSError:
        return False
    return True


def _require_answer(address: str) -> None:
    """Knock where a cluster should be: Ray itself waits for minutes.

    Raises:
        OSError: if nobody opens.
    """
    host, _, port = address.rpartition("//")[2].partition(":")
    if port.isdecimal():
        socket.create_connection((host, int(port)), KNOCK_S).close()


@contextmanager
def ray_errors() -> Iterator[None]:
    """Raise an error of ours that a worker raised as itself, and any other of Ray's in one sentence.

    Raises:
        ClusterError: if it is one of Ray's.
    """
    from ray.exceptions import RayError

    try:
        yield
    except (RayError, GeoindexError) as error:
        causes = list(_causes(error))
        own = next((cause for cause in causes if isinstance(cause, GeoindexError) and type(cause) in _tree()), None)
        if own is error:
            raise
        if own is not None:
            raise own from None
        raise ClusterError(
            f"The work on the Ray cluster stopped ({first_line(causes[-1])}); run the same again, what is finished is "
            "kept."
        ) from error


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and what it came of."""
    while error is not None:
        yield error
        error = getattr(error, "cause", None) or error.__cause__


def _tree() -> set[type]:
    """Return the errors of ours; Ray makes others that inherit from them."""
    import geoindex.errors

    return {kind for kind in vars(geoindex.errors).values() if isinstance(kind, type)}


def map_groups(function: Callable[..., R], *columns: Iterator[Any]) -> Iterator[R]:
    """Apply a function to the items of columns side by side, some at a time in a task; the results are in order."""
    import ray

    task = ray.remote(num_cpus=1)(_apply)
    handle, rows = ray.put(function), zip(*columns, strict=True)
    waiting = [task.remote(handle, some) for some in iter(lambda: list(islice(rows, GROUPS_AT_ONCE)), [])]
    for reference in waiting:
        yield from ray.get(reference)


def _apply(function: Callable[..., R], rows: list[tuple[Any, ...]]) -> list[R]:
    return [function(*row) for row in rows]


def in_order(
    function: Callable[..., R], calls: Iterable[tuple[Any, ...]], most: int = MOST_CALLS
) -> Generator[R, None, None]:
    """Call a function in tasks and yield the results in order; who stops early takes back what is not done.

    Args:
        function: what to call.
        calls: its arguments, which are made when their turn comes.
        most: calls at a time; no more than some for each core.
    """
    import ray

    task, waiting = ray.remote(num_cpus=1)(function), deque[Any]()
    most = min(most, AHEAD * max(1, int(ray.cluster_resources().get("CPU", 1))))
    try:
        for call in calls:
            if len(waiting) == most:
                yield ray.get(waiting.popleft())
            waiting.append(task.remote(*call))
        while waiting:
            yield ray.get(waiting.popleft())
    finally:
        _take_back(list(waiting))


def _take_back(tasks: list[Any]) -> None:
    """Cancel tasks, and wait for those that are at work."""
    import ray

    if not tasks:
        return
    with suppress(Exception):  # the cluster may be why they are taken back
        for task in tasks:
            ray.cancel(task)
        ray.wait(tasks, num_returns=len(tasks), timeout=TAKEN_BACK_S)


def first_line(error: BaseException) -> str:
    """Return the first line of what an error says."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200].rstrip(".")
