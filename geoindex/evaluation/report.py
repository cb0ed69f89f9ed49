"""What an evaluation found, as data and as a table that a terminal can show."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoindex.evaluation.breakdown import Part
from geoindex.evaluation.confidence import ConfidenceReport
from geoindex.evaluation.intervals import Estimate, Spread
from geoindex.evaluation.leakage import Leak
from geoindex.metrics import CONVENTIONS, GEOINDEX, Metrics

NOTE = """\
median and mean error in km; GeoScore 0 to 5000; then the percentage of queries closer than so many km
* how the index answers by default; below it, the 95 % interval by resampling the queries"""

PARTS = ("country", "continent")


@dataclass(frozen=True, slots=True, eq=False)
class System:
    """One way to answer, and how far off it is photo by photo.

    Attributes:
        name: of the system.
        kind: own (how the index answers by default), other rule, floor (needs less than the index), or rival (a
            published way to answer).
        distance_km: (Q,), or (R Q,) for R answers to each of Q queries.
    """

    name: str
    kind: str
    distance_km: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Row:
    """One system and how far off it is.

    Attributes:
        name: of the system.
        metrics: over all queries.
        kind: as of `System`.
        spread: how sure they are, and with every country counted alike.
    """

    name: str
    metrics: Metrics
    kind: str
    spread: Spread | None = None


@dataclass(frozen=True, slots=True)
class Detail:
    """More about the answers that an index gives by default.

    Attributes:
        places: where the named places come from that say which region a position is in.
        regions: percentage of answers in the right country, region, ... of the queries that have one, by level.
        information_bits: what a photo told of its geocell over the gallery's distribution, in bits; below 0 the
            probabilities are worse than that distribution.
        countries, continents: metrics of the queries of each, the most queries first.
    """

    places: str
    regions: dict[str, Estimate]
    information_bits: Estimate | None
    countries: tuple[Part, ...]
    continents: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """An index's answers beside floors and rivals.

    Attributes:
        index, generation, encoder: what was measured.
        queries: where the queries come from.
        count: queries that were answered.
        unreadable: images of the source that are missing or could not be read, and rows without a position.
        gallery, cells, clusters: what the index holds.
        rule: rule by which the index answers by default.
        in_gallery: queries whose id is also in the gallery; above 0 the figures flatter.
        rows: floors first, then rivals, then the rules.
        convention: how distances are taken and counted.
        detail: more about the answers that the index gives by default.
        leaks: what queries share with the gallery, and the metrics of every row without them; if it was asked.
        confidence: how well the index knows how good its answers are; None if it was never calibrated.
    """

    index: str
    generation: str
    encoder: str
    queries: str
    count: int
    unreadable: int
    gallery: int
    cells: int
    clusters: int
    rule: str
    in_gallery: int
    rows: tuple[Row, ...]
    convention: str = GEOINDEX.name
    detail: Detail | None = None
    leaks: tuple[Leak, ...] = ()
    confidence: ConfidenceReport | None = None

    @property
    def own(self) -> Metrics:
        """Metrics of the index as it answers by default."""
        return next(row.metrics for row in self.rows if row.kind == "own")

    def row(self, start: str) -> Metrics:
        """Return the metrics of the first row whose name starts so."""
        return next(row.metrics for row in self.rows if row.name.startswith(start))

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain JSON types."""
        values = asdict(self) | {"rows": [asdict(row) for row in self.rows]}
        return {"schema": 1, "earth_radius_km": CONVENTIONS[self.convention].radius_km, **values}

    def to_text(self) -> str:
        """Return a table for a terminal of 100 columns."""
        lines = [line for row in self.rows for line in _row_lines(row)]
        sure = [] if self.confidence is None else ["", self.confidence.to_text()]
        told = [*self._detail_lines(), *self._leak_lines(), "", NOTE, *sure]
        return "\n".join([self._title(), "", *_table("", lines), *told])

    def parts_text(self, by: str) -> str:
        """Return a table with a line a country or continent, the most queries first."""
        detail = self.detail
        parts = () if detail is None else detail.countries if by == "country" else detail.continents
        return "\n".join(_table(f"queries of a {by}", [(f"{p.name} ({p.metrics.count})", p.metrics) for p in parts]))

    def _leak_lines(self) -> list[str]:
        """Return a line a kind of leak: the queries that share something, and the metrics of all the others."""
        if not self.leaks:
            return []
        own, near = (next(r.name for r in self.rows if test(r)) for test in (_is_own, _is_nearest))
        told = [leak for leak in self.leaks if leak.known and leak.without]
        lines = [(f"{leak.kind} ({leak.queries})", leak.without[own]) for leak in told]
        lines += [("  1-NN, same embeddings", leak.without[near]) for leak in told[-1:]]
        hidden = [leak.kind for leak in self.leaks if not leak.known]
        every = [leak.kind for leak in self.leaks if leak.known and not leak.without]
        notes = [f"not known of queries or gallery: {', '.join(hidden)}"] * bool(hidden)
        notes += [f"shared by all queries: {', '.join(every)}"] * bool(every)
        return ["", *_table("* without those that share", lines), *notes]

    def _detail_lines(self) -> list[str]:
        if self.detail is None:
            return []
        named = {level: _range(share) for level, share in self.detail.regions.items()}
        by_shape = [
            f"% in the right one of the {level} {named.pop(level)}" for level in list(named) if "polyg" in level
        ]
        shares = [f"{level.replace('_', '-')} {text}" for level, text in named.items()]
        bits = self.detail.information_bits
        told = [] if bits is None else [f"a photo tells {_range(bits, 2)} bits of its cell beyond the gallery's shares"]
        return ["", f"% in the right {', '.join(shares)}", *by_shape, *told]

    def _title(self) -> str:
        title = (
            f"{self.count} queries ({self.queries}) against {self.gallery} images, {self.cells} cells, "
            f"{self.clusters} clusters; encoder {self.encoder or 'none'}"
        )
        if self.unreadable:
            title += f"\nWarning: {self.unreadable} of its photos are missing or cannot be read."
        if self.convention != GEOINDEX.name:
            title += f"\nMeasured as {self.convention} does."
        if self.queries == "split val":
            title += "\nNote: scales and rule were fitted on these queries; ask for --split test."
        if self.in_gallery:
            title += (
                f"\nWarning: {self.in_gallery} of the queries are in the gallery themselves; these figures flatter."
            )
        return title


def _is_own(row: Row) -> bool:
    return row.kind == "own"


def _is_nearest(row: Row) -> bool:
    return row.name.startswith("1-NN")


def _row_lines(row: Row) -> list[tuple[str, Metrics]]:
    if row.kind != "own":
        return [("  " + row.name, row.metrics)]
    lines = [("* " + row.name, row.metrics)]
    if row.spread is not None:
        lines += [("    95 % from", row.spread.low), ("    to", row.spread.high)]
        lines += [("    every country alike", row.spread.balanced)]
    return lines


def _table(corner: str, lines: list[tuple[str, Metrics]]) -> list[str]:
    shares = [f"<{radius}" for radius in lines[0][1].accuracy] if lines else []
    header = [corner, "median", "mean", "GeoScore", *shares]
    cells = [[name, *_cells(metrics)] for name, metrics in lines]
    widths = [max(len(line[i]) for line in [header, *cells]) for i in range(len(header))]
    return [_line(header, widths), "-" * len(_line(header, widths)), *(_line(line, widths) for line in cells)]


def _range(share: Estimate, digits: int = 1) -> str:
    return f"{share.value:.{digits}f} ({share.low:.{digits}f} to {share.high:.{digits}f})"


def _cells(metrics: Metrics) -> list[str]:
    numbers = [metrics.median_km, metrics.mean_km, metrics.geoscore]
    return [f"{number:,.0f}" for number in numbers] + [f"{share:.1f}" for share in metrics.accuracy.values()]


def _line(cells: list[str], widths: list[int]) -> str:
    first, *rest = zip(cells, widths, strict=True)
    return "  ".join([first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in rest)]).rstrip()
