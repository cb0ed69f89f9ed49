"""Scaled queries -> the cells that are probed, and the log-odds of all: the first stage of a search."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoindex.ann import NO_CELL
from geoindex.ann.cells import CellScan

Floats = NDArray[np.float64]

LEAST = np.finfo(np.float32).min

GROUPS = 512
"""Columns whose largest logits stand for all of a row's, to find one that the best reach."""


@dataclass(frozen=True, slots=True)
class ProbedCells:
    """What the first stage says of Q queries.

    Attributes:
        logits: of every cell, (Q, C).
        log_total: log of the sum of their exponentials, (Q,).
        probed: the most probable cells by falling probability, (Q, k), `NO_CELL` behind the last.
    """

    logits: NDArray[np.float32]
    log_total: Floats
    probed: NDArray[np.int64]

    @property
    def log_p(self) -> Floats:
        """Log p(c) of the probed cells, (Q, k)."""
        return _along(self.logits, self.probed) - self.log_total[:, None]

    def among(self, cells: NDArray[np.int64], count: int) -> "ProbedCells":
        """Return the same among `count` cells, of which these are some, (n,), and the others have no chance."""
        logits = np.full((len(self.logits), count), -np.inf, np.float32)
        logits[:, cells] = self.logits
        return ProbedCells(logits, self.log_total, np.where(self.probed == NO_CELL, NO_CELL, cells[self.probed]))


class FirstStage:
    """Chooses the cells that are probed. Safe in threads."""

    def __init__(self, scan: CellScan, weight: NDArray[np.float32]) -> None:
        """Read the cells that may be the answer, and no others.

        Args:
            scan: of all cells.
            weight: added to the logit of each, (C,); -inf for one that cannot be the answer.
        """
        cells = np.flatnonzero(np.isfinite(weight))
        self._count, self._cells = len(weight), cells if 0 < len(cells) < len(weight) else None
        self._scan = scan if self._cells is None else scan.only(self._cells)
        self._weight = weight if self._cells is None else weight[self._cells]

    def probe(self, scaled: NDArray[np.float32], top_cells: int, top_p: float) -> ProbedCells:
        """Choose cells for queries, times the scale of cells, (Q, D).

        Args:
            scaled: what products with the cells are logits of.
            top_cells: most cells that are probed.
            top_p: fewer are probed once they hold this share of the probability.
        """
        logits, slack = self._scan.estimate(scaled)
        logits += self._weight
        count = min(top_cells, logits.shape[1])
        # one of the best has at least the logit of the last of them, less what both may be off
        least = np.maximum(_reached(logits, count) - 2 * slack, LEAST)
        rows, near = np.divmod(np.flatnonzero(logits >= least[:, None]), logits.shape[1])
        if slack.any():
            logits[rows, near] = self._scan.some(scaled, rows, near) + self._weight[near]
        probed = _first_of_rows(rows, near, logits[rows, near], (len(scaled), count))
        highest = _along(logits, probed[:, :1])
        likelihood = np.subtract(logits, highest)
        np.exp(likelihood, out=likelihood)
        log_total = highest[:, 0] + np.log(likelihood.sum(axis=1)).astype(np.float64)
        found = ProbedCells(logits, log_total, _within_mass(probed, logits, log_total, top_p))
        return found if self._cells is None else found.among(self._cells, self._count)


def _reached(logits: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """Return what the `count` largest of each row, (Q, C), reach, (Q,): the last of them, or a little less."""
    if 16 * count <= GROUPS <= logits.shape[1] // 8:
        # as many groups hold one as large, and these few are found in a seventh of the time
        whole = logits.shape[1] // GROUPS * GROUPS
        logits = logits[:, :whole].reshape(len(logits), -1, GROUPS).max(axis=1)
    return np.asarray(np.partition(logits, -count, axis=1)[:, -count])


def _along(values: NDArray[np.float32], columns: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return the values, (Q, C), in some columns of each row, (Q, k)."""
    return values[np.arange(len(values))[:, None], columns]


def _first_of_rows(
    rows: NDArray[np.int64], columns: NDArray[np.int64], values: NDArray[np.float32], shape: tuple[int, int]
) -> NDArray[np.int64]:
    """Return the columns of the largest values of each row, largest first, in this shape, `NO_CELL` behind the last.

    Args:
        rows: ascending, (n,).
        columns: (n,).
        values: (n,).
        shape: Q rows, k columns.
    """
    order = np.lexsort((-values, rows))
    place = np.arange(len(rows)) - np.searchsorted(rows, np.arange(shape[0]))[rows]
    kept = place < shape[1]
    out = np.full(shape, NO_CELL)
    out[rows[kept], place[kept]] = columns[order[kept]]
    return out


def _within_mass(
    probed: NDArray[np.int64], logits: NDArray[np.float32], log_total: Floats, top_p: float
) -> NDArray[np.int64]:
    """Return the probed cells, (Q, k), without those behind the first ones that hold `top_p` of the probability."""
    if top_p >= 1.0:
        return probed
    p = np.exp(_along(logits, probed) - log_total[:, None]) * (probed != NO_CELL)
    return np.where(np.cumsum(p, axis=1) - p < top_p, probed, NO_CELL)
