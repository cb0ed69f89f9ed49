"""How loops are compiled; numba takes seconds to import, so only modules that are imported late use this."""

from collections.abc import Callable
from typing import TypeVar

from numba import njit

F = TypeVar("F", bound=Callable[..., object])


def compiled(function: F) -> F:
    """Compile a function without the interpreter's lock; keep it on the disk where a folder may hold the cache."""
    try:
        quick: F = njit(nogil=True, cache=True)(function)
    except RuntimeError:  # no folder that may hold the cache
        quick = njit(nogil=True)(function)
    return quick
