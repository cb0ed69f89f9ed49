"""The one progress bar: on stderr, with rate and remaining time; into a file or a pipe, a line a minute."""

import sys
from collections.abc import Iterable, Iterator, Sized
from time import perf_counter
from typing import Any, Protocol, TextIO, TypeVar

T = TypeVar("T")


LINE_S = 60.0
"""Seconds between two lines where nobody sees a bar."""


class Progress:
    """A counter that draws itself; use it as a context manager and call `advance`."""

    def __init__(self, label: str, total: int | None, unit: str, done: int = 0) -> None:
        self._bar: Any = _Lines(label, total, unit, done)
        if sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(
                desc=label, total=total, unit=f" {unit}", initial=done, file=sys.stderr, dynamic_ncols=True, leave=True
            )

    def advance(self, count: int = 1) -> None:
        """Count `count` more units as done."""
        self._bar.update(count)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *exc: object) -> None:
        self._bar.close()


class _Lines:
    """Tells a log how far a step has come, for steps of more than `LINE_S`."""

    def __init__(self, label: str, total: int | None, unit: str, done: int) -> None:
        self._label, self._total, self._unit, self._done = label, total, unit, done
        self._told = perf_counter()

    def update(self, count: int) -> None:
        self._done += count
        if perf_counter() - self._told >= LINE_S:
            self._told = perf_counter()
            of = f" of {self._total:,} ({self._done / self._total:.0%})" if self._total else ""
            sys.stderr.write(f"{self._label}: {self._unit} {self._done:,}{of}\n")

    def close(self) -> None: ...


def track(items: Iterable[T], label: str, *, total: int | None = None, unit: str = "item") -> Iterator[T]:
    """Yield `items` while a bar counts them."""
    if total is None and isinstance(items, Sized):
        total = len(items)
    with Progress(label, total, unit) as bar:
        for item in items:
            yield item
            bar.advance()


class _Rows(Protocol):
    @property
    def num_rows(self) -> int: ...


B = TypeVar("B", bound=_Rows)


def track_rows(batches: Iterable[B], label: str, total: int, unit: str) -> Iterator[B]:
    """Yield batches of rows while a bar counts their rows."""
    with Progress(label, total, unit) as bar:
        for batch in batches:
            yield batch
            bar.advance(batch.num_rows)


def write(text: str, stream: TextIO) -> None:
    """Write text and flush; bars on the same terminal make room for it and come back below."""
    from tqdm import tqdm

    with tqdm.external_write_mode(file=stream):
        stream.write(text)
        stream.flush()


class Stages:
    """Times of named steps, in the order in which they first ran; a step that runs again adds up."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def __call__(self, name: str) -> "_Step":
        """Time one step, in a `with` statement."""
        return _Step(self.seconds, name)

    def add(self, other: "Stages") -> None:
        """Count the times of another as well."""
        for name, seconds in other.seconds.items():
            self.seconds[name] = self.seconds.get(name, 0.0) + seconds

    def rounded(self) -> dict[str, float]:
        """Return the times in seconds, to the millisecond."""
        return {name: round(seconds, 3) for name, seconds in self.seconds.items()}

    def milliseconds(self) -> dict[str, float]:
        """Return the times in ms."""
        return {name: round(1000.0 * seconds, 3) for name, seconds in self.seconds.items()}


class _Step:
    """Adds what passes in a `with` statement to the times of steps."""

    def __init__(self, seconds: dict[str, float], name: str) -> None:
        self._seconds, self._name = seconds, name

    def __enter__(self) -> None:
        self._started = perf_counter()

    def __exit__(self, *exc: object) -> None:
        self._seconds[self._name] = self._seconds.get(self._name, 0.0) + perf_counter() - self._started
