"""The first stage: inner products with every cell.

Reading the cells as float32 is what the stage costs: 34 MB for 11,000 cells of 768 numbers. Many cells are therefore
read as bytes, 8 MB, whose products are exact whole numbers; how far those can be off is known, so that only the few
cells that may be among the best are read again as float32.
"""

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

PACKED_CELLS = 512
"""Cells from which bytes are read: below, all of them take less than the second look."""

PAIRS = 512
"""Exact products at a time: their copies of both vectors stay in the cache, however many cells are alike."""

TOP = 127
"""Largest magnitude of a byte."""


class CellScan:
    """Inner products of queries with cells. Safe in threads."""

    def __init__(self, vectors: Floats, cells: NDArray[np.int64] | None = None) -> None:
        """Keep the geo-embeddings of the cells without a copy.

        Args:
            vectors: of all cells, (C, D).
            cells: those that are scanned, (n,); None: all.
        """
        self.vectors, self._cells = vectors, cells

    def only(self, cells: NDArray[np.int64]) -> "CellScan":
        """Return one that reads nothing but some cells, (n,), which it numbers from 0 to n - 1."""
        return CellScan(self.vectors, cells)

    def __len__(self) -> int:
        return len(self.vectors) if self._cells is None else len(self._cells)

    def exact(self, queries: Floats) -> Floats:
        """Return the inner product of each query, (Q, D), with every cell, (Q, C)."""
        return np.asarray(queries @ self._aligned.T)

    def estimate(self, queries: Floats) -> tuple[Floats, Floats]:
        """Return inner products that may be off, and by how much at most.

        Args:
            queries: (Q, D).

        Returns:
            Estimates, (Q, C), and for each query the largest difference to the exact product, (Q,): 0 for few cells.
        """
        if len(self) < PACKED_CELLS:
            return self.exact(queries), np.zeros(len(queries), np.float32)
        return self._packed.products(np.ascontiguousarray(queries, np.float32))

    def some(self, queries: Floats, rows: NDArray[np.int64], cells: NDArray[np.int64]) -> Floats:
        """Return exact products of query `rows[i]` and cell `cells[i]`, (n,)."""
        chosen = cells if self._cells is None else self._cells[cells]
        products = np.empty(len(rows), np.float32)
        for start in range(0, len(rows), PAIRS):
            part = slice(start, start + PAIRS)
            np.einsum("ij,ij->i", self.vectors[chosen[part]], queries[rows[part]], out=products[part])
        return products

    @cached_property
    def _aligned(self) -> Floats:
        """The vectors where numbers may lie: in a mapped file they begin anywhere, and each product would copy them."""
        return np.require(self._scanned(), np.float32, ["A"])

    @cached_property
    def _packed(self) -> "_Bytes":
        return _Bytes(self._scanned())

    def _scanned(self) -> Floats:
        return self.vectors if self._cells is None else self.vectors[self._cells]


class _Bytes:
    """Vectors as bytes with a factor each, laid out for the processor's whole-number products."""

    def __init__(self, vectors: Floats) -> None:
        import numkong

        codes, self._factor = _quantize(vectors)
        self._packed: Any = numkong.dots_pack(codes, "int8")
        self._count, self._norm = len(vectors), float(_norms(vectors).max())
        self._error = float(_norms(vectors - codes * self._factor[:, None]).max())

    def products(self, queries: Floats) -> tuple[Floats, Floats]:
        """Return products with all vectors, (Q, C), and the most by which they are off, (Q,)."""
        import numkong

        codes, factor = _quantize(queries)
        whole = np.asarray(numkong.dots_packed(codes, self._packed))
        products = np.multiply(whole, factor[:, None], dtype=np.float32)
        products *= self._factor
        # |<q,g> - <q',g'>| <= |q - q'| |g| + |q'| |g - g'|
        unseen = _norms(queries - codes * factor[:, None])
        return products, unseen * self._norm + (_norms(queries) + unseen) * self._error


def _quantize(vectors: Floats) -> tuple[NDArray[np.int8], Floats]:
    """Return bytes, (N, D), and the factor that makes each row of them nearest to its vector, (N,)."""
    factor = np.abs(vectors).max(axis=1) / np.float32(TOP)
    return np.rint(vectors / np.maximum(factor, np.float32(1e-30))[:, None]).astype(np.int8), factor


def _norms(vectors: Floats) -> Floats:
    return np.asarray(np.sqrt(np.einsum("ij,ij->i", vectors, vectors)))


def top_columns(scores: NDArray[np.floating], count: int) -> NDArray[np.int64]:
    """Return the columns of the `count` largest scores of each row, largest first, ties to the lowest column."""
    if count < scores.shape[1]:
        least = np.partition(scores, -count, axis=1)[:, -count, None]
        above, tied = scores > least, scores == least
        chosen = above | (tied & (tied.cumsum(axis=1) <= count - above.sum(axis=1, keepdims=True)))
        columns = np.nonzero(chosen)[1].reshape(len(scores), count)
    else:
        columns = np.broadcast_to(np.arange(scores.shape[1]), scores.shape)
    order = np.argsort(-np.take_along_axis(scores, columns, axis=1), axis=1, kind="stable")
    return np.ascontiguousarray(np.take_along_axis(columns, order, axis=1), np.int64)
