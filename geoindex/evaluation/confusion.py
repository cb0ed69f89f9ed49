"""Which geocell a photo is from, and which one is most probable: how often each is taken for which."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoindex.evaluation.answers import Answers
from geoindex.search.searcher import Searcher

Floats = NDArray[np.float64]
Cells = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Mistake:
    """Queries of one geocell that were put into another.

    Attributes:
        true, answered: names of the two cells.
        count: queries.
        of: queries of the true cell.
    """

    true: str
    answered: str
    count: int
    of: int


@dataclass(frozen=True, slots=True, eq=False)
class Confusion:
    """True and most probable cells of Q queries.

    Attributes:
        true: (Q,); the cell of a position is that of the nearest cluster.
        answered: (Q,).
        names: of the cells, (C,): the nearest place, and their number where two have the same.
    """

    true: Cells
    answered: Cells
    names: Sequence[str]

    @classmethod
    def of(cls, searcher: Searcher, answers: Answers) -> "Confusion":
        """Compare the most probable cells with the true ones."""
        return cls(answers.true_cell, answers.cell, _distinct(searcher.sidecar.cells["place"].to_pylist()))

    @property
    def right(self) -> float:
        """Share of queries whose cell is the most probable one."""
        return float((self.true == self.answered).mean())

    def busiest(self, count: int) -> Cells:
        """Return the cells with most queries, true ones and answered ones counted, most first."""
        queries = np.bincount(np.concatenate([self.true, self.answered]), minlength=len(self.names))
        order = np.argsort(-queries, kind="stable")[:count]
        return order[queries[order] > 0]

    def matrix(self, cells: Cells) -> tuple[Cells, Cells]:
        """Return the queries of each of some cells, (n,), by answered cell, (n, n), and those put elsewhere, (n,)."""
        place = np.full(len(self.names), len(cells))
        place[cells] = np.arange(len(cells))
        counts = np.zeros((len(cells) + 1, len(cells) + 1), np.int64)
        np.add.at(counts, (place[self.true], place[self.answered]), 1)
        return counts[:-1, :-1], counts[:-1, -1]

    def mistakes(self, count: int) -> list[Mistake]:
        """Return the most frequent mistakes."""
        wrong = self.true != self.answered
        pairs, counts = np.unique(
            np.stack([self.true[wrong], self.answered[wrong]], axis=1), axis=0, return_counts=True
        )
        order = np.argsort(-counts, kind="stable")[:count]
        of = np.bincount(self.true, minlength=len(self.names))
        return [
            Mistake(self.names[true], self.names[answered], int(n), int(of[true]))
            for (true, answered), n in zip(pairs[order].tolist(), counts[order].tolist(), strict=True)
        ]


def _distinct(names: Sequence[str]) -> list[str]:
    """Return names of cells, with the number of the cell where several have the same."""
    seen: dict[str, int] = {}
    for name in names:
        seen[name] = seen.get(name, 0) + 1
    return [name if seen[name] == 1 and name else f"{name} (cell {cell})" for cell, name in enumerate(names)]
