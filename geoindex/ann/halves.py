"""Inner products with vectors that are kept as float16, without a float32 copy of them: that would cost tenfold."""

import numpy as np
from numpy.typing import NDArray

LOW = 2.0**11
"""Factor on what float16 leaves of a number: without it that is among the smallest, which take eight times as long."""


def half_products(vectors: NDArray[np.float16], query: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the inner product of a query, (D,), with each vector, (n, D), as exact as float32 has it.

    The query counts as the sum of two float16 numbers, which hold 22 bits of its 24.

    Args:
        vectors: in C order, (n, D).
        query: of numbers up to 1 in magnitude, as those of unit vectors are.
    """
    import numkong

    if len(vectors) == 0:
        return np.zeros(0, np.float32)
    parts = np.empty((2, len(query)), np.float16)
    parts[0] = query
    parts[1] = (query - parts[0]) * np.float32(LOW)
    high, low = np.asarray(numkong.cdist(parts, vectors, "dot"))
    return np.asarray(high + low / LOW, np.float32)
