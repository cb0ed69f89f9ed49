"""Two systems on the same photos: differences with paired intervals, and paired tests."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoindex.errors import ConfigError
from geoindex.evaluation.intervals import ends, resampled
from geoindex.evaluation.predictions import Predictions
from geoindex.metrics import MEASURES, RADII_KM, Convention, convention_of, summaries

SIGNIFICANT = 0.05

NOTE = """\
difference = second - first, with its 95 % interval by resampling the photos, the same for both systems
p of median and mean: Wilcoxon's signed ranks of the distances; of GeoScore: of the scores; of shares: exact McNemar
one test in twenty is below 0.05 by chance"""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Difference:
    """One measure of two systems.

    Attributes:
        measure: out of `MEASURES`.
        first, second: its value for each.
        difference: second - first.
        low, high: ends of the 95 % interval of the difference.
        p: chance of a difference as large if the systems were equally good.
    """

    measure: str
    first: float
    second: float
    difference: float
    low: float
    high: float
    p: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two systems on the photos that both answered.

    Attributes:
        first, second: their names.
        queries: where the photos come from, by each.
        convention: how distances are taken and counted.
        count: photos that both answered.
        only_first, only_second: photos that one of them answered; they count for neither.
        nearer: photos on which the first was nearer, on which they tie, and on which the second was.
        differences: one a measure.
    """

    first: str
    second: str
    queries: tuple[str, str]
    convention: str
    count: int
    only_first: int
    only_second: int
    nearer: tuple[int, int, int]
    differences: tuple[Difference, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON types."""
        return {"schema": 1, **asdict(self)}

    def to_text(self) -> str:
        """Return a table for a terminal of 100 columns."""
        header = ["", "first", "second", "difference", "95 % from", "to", "p"]
        rows = [_cells(difference) for difference in self.differences]
        widths = [max(len(line[i]) for line in [header, *rows]) for i in range(len(header))]
        lines = [_line(line, widths) for line in [header, *rows]]
        return "\n".join([*self._title(), "", lines[0], "-" * len(lines[0]), *lines[1:], "", NOTE])

    def _title(self) -> list[str]:
        left_out = [
            f"{count} photos that only the {name} answered are left out"
            for name, count in (("first", self.only_first), ("second", self.only_second))
            if count
        ]
        first, ties, second = self.nearer
        return [
            f"first:  {self.first}",
            f"second: {self.second}",
            f"{self.count} photos ({self.queries[0]}); the first is nearer on {first}, the second on {second}, "
            f"{ties} tie",
            *left_out,
        ]


def compare_predictions(first: Predictions, second: Predictions, seed: int = 0, draws: int | None = None) -> Comparison:
    """Compare two systems on the photos that both answered.

    Args:
        first: what one answered.
        second: what the other answered.
        seed: of the resampling.
        draws: resamples; None: as many as are usual for so many photos.

    Raises:
        ConfigError: if they share no photo, or measured distances in different ways.
    """
    if seed < 0:
        raise ConfigError(f"Seed {seed} cannot be used; it must be 0 or more.")
    if first.convention != second.convention:
        raise ConfigError(
            f"'{first.name}' was measured as {first.convention} does and '{second.name}' as {second.convention}; "
            "write both with the same --convention."
        )
    one, other = _paired(first, second)
    distances = (first.distance_km[one], second.distance_km[other])
    convention = convention_of(first.convention)
    return Comparison(
        first.name, second.name, (first.queries, second.queries), first.convention, len(one),
        len(first.ids) - len(one), len(second.ids) - len(one), _nearer(*distances),
        _differences(*distances, convention, seed, draws),
    )  # fmt: skip


def _paired(first: Predictions, second: Predictions) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the rows of the photos that both answered, in the order of the first."""
    row_of = {id: row for row, id in enumerate(second.ids)}
    pairs = [(row, row_of[id]) for row, id in enumerate(first.ids) if id in row_of]
    if not pairs:
        raise ConfigError(
            f"'{first.name}' and '{second.name}' have no photo in common, by id; measure both on the same queries."
        )
    one, other = np.array(pairs, np.int64).T
    return one, other


def _nearer(first: Floats, second: Floats) -> tuple[int, int, int]:
    counts = [first < second, first == second, first > second]
    return int(counts[0].sum()), int(counts[1].sum()), int(counts[2].sum())


def _differences(
    first: Floats, second: Floats, convention: Convention, seed: int, draws: int | None
) -> tuple[Difference, ...]:
    once = np.ones((1, len(first)))
    a, b = (summaries(km, once, convention)[0] for km in (first, second))
    drawn = [
        summaries(second, counts, convention) - summaries(first, counts, convention)
        for counts in resampled(len(first), seed, draws)
    ]
    low, high = ends(np.concatenate(drawn))
    p = _p_values(first, second, convention)
    columns = zip(MEASURES, a.tolist(), b.tolist(), (b - a).tolist(), low.tolist(), high.tolist(), p, strict=True)
    return tuple(Difference(*column) for column in columns)


def _p_values(first: Floats, second: Floats, convention: Convention) -> list[float]:
    """Return the p of each of `MEASURES`."""
    by_rank = _wilcoxon(second - first)
    by_score = _wilcoxon(convention.geoscore(second) - convention.geoscore(first))
    hits = [[convention.within(km, radius) for km in (first, second)] for radius in RADII_KM]
    return [by_rank, by_rank, by_score, *(_mcnemar(a, b) for a, b in hits)]


def _wilcoxon(differences: Floats) -> float:
    """Return the p of the signed-rank test; 1 where nothing differs."""
    from scipy.stats import wilcoxon

    differences = differences[differences != 0.0]
    return float(wilcoxon(differences).pvalue) if len(differences) else 1.0


def _mcnemar(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    """Return the p of the exact test on the photos that only one of two systems got right."""
    from scipy.stats import binomtest

    gained, lost = int((second & ~first).sum()), int((first & ~second).sum())
    return float(binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0


def _cells(difference: Difference) -> list[str]:
    name, _, radius = difference.measure.partition(".")
    digits = 1 if radius else 0
    numbers = (difference.first, difference.second)
    signed = (difference.difference, difference.low, difference.high)
    label = f"% closer than {radius} km" if radius else {"geoscore": "GeoScore"}.get(name, name.replace("_km", ", km"))
    values = [*(f"{n:,.{digits}f}" for n in numbers), *(f"{n:+,.{digits}f}" for n in signed)]
    mark = " *" if difference.p < SIGNIFICANT else "  "
    return [label, *values, f"{difference.p:.3g}{mark}"]


def _line(cells: list[str], widths: list[int]) -> str:
    first, *rest = zip(cells, widths, strict=True)
    return "  ".join([first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in rest)]).rstrip()
