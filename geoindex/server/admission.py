"""A bounded number of requests under way; one more is refused at once."""

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import Gauge

from geoindex.errors import OverloadedError


class Admission:
    """Places for requests of one kind, in one event loop."""

    def __init__(self, places: int, what: str, taken: Gauge) -> None:
        self._places, self._what, self._gauge, self._taken = places, what, taken, 0

    @contextmanager
    def place(self) -> Iterator[None]:
        """Hold a place.

        Raises:
            OverloadedError: if all are taken.
        """
        if self._taken >= self._places:
            raise OverloadedError(
                f"{self._taken} {self._what} are under way, which is all that this server takes; ask again.",
                headers={"Retry-After": "1"},
            )
        self._change(1)
        try:
            yield
        finally:
            self._change(-1)

    def _change(self, by: int) -> None:
        self._taken += by
        self._gauge.set(self._taken)
