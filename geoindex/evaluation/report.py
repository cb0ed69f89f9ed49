"""What an evaluation found, as data and as a table that a terminal can show."""

from dataclasses import asdict, dataclass
from typing import Any

from geoindex.evaluation.confidence import ConfidenceReport
from geoindex.geo import EARTH_RADIUS_KM
from geoindex.metrics import Metrics

NOTE = """\
median and mean error in km; GeoScore 0 to 5000; then the percentage of queries closer than so many km
* how the index answers by default"""


@dataclass(frozen=True, slots=True)
class Row:
    """One system and how far off it is.

    Attributes:
        name: of the system.
        metrics: over all queries.
        kind: own (how the index answers by default), other rule, or floor.
    """

    name: str
    metrics: Metrics
    kind: str


@dataclass(frozen=True, slots=True)
class Report:
    """An index's answers beside the floors.

    Attributes:
        index, generation, encoder: what was measured.
        queries: where the queries come from.
        count: queries that were answered.
        unreadable: images of the source that could not be read.
        gallery, cells, clusters: what the index holds.
        rule: rule by which the index answers by default.
        in_gallery: queries whose id is also in the gallery; above 0 the figures flatter.
        rows: floors first, then the rules.
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
        return {"schema": 1, "earth_radius_km": EARTH_RADIUS_KM, **values}

    def to_text(self) -> str:
        """Return a table for a terminal of 100 columns."""
        header = ["", "median", "mean", "GeoScore", *(f"<{radius}" for radius in self.rows[0].metrics.accuracy)]
        lines = [[_mark(row) + row.name, *_cells(row.metrics)] for row in self.rows]
        widths = [max(len(line[i]) for line in [header, *lines]) for i in range(len(header))]
        text = [_line(header, widths), "-" * len(_line(header, widths)), *(_line(line, widths) for line in lines)]
        sure = [] if self.confidence is None else ["", self.confidence.to_text()]
        return "\n".join([self._title(), "", *text, "", NOTE, *sure])

    def _title(self) -> str:
        title = (
            f"{self.count} queries ({self.queries}) against {self.gallery} images, {self.cells} cells, "
            f"{self.clusters} clusters; encoder {self.encoder or 'none'}"
        )
        if self.queries == "split val":
            title += "\nNote: scales and rule were fitted on these queries; ask for --split test."
        if self.in_gallery:
            title += (
                f"\nWarning: {self.in_gallery} of the queries are in the gallery themselves; these figures flatter."
            )
        return title


def _mark(row: Row) -> str:
    return "* " if row.kind == "own" else "  "


def _cells(metrics: Metrics) -> list[str]:
    numbers = [metrics.median_km, metrics.mean_km, metrics.geoscore]
    return [f"{number:,.0f}" for number in numbers] + [f"{share:.1f}" for share in metrics.accuracy.values()]


def _line(cells: list[str], widths: list[int]) -> str:
    first, *rest = zip(cells, widths, strict=True)
    return "  ".join([first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in rest)]).rstrip()
