"""The pictures of a report: errors on the map, error curves, countries, calibration, and confusion between cells."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from geoindex.evaluation.breakdown import Standing
from geoindex.evaluation.confidence import ConfidenceReport, Sureness, signed
from geoindex.evaluation.findings import Findings
from geoindex.evaluation.reliability import Bin, risk_coverage
from geoindex.figures.confusion import draw_confusion
from geoindex.figures.curves import ErrorCurve, draw_error_curves
from geoindex.figures.errors import draw_errors
from geoindex.figures.ranges import DrawnRange, draw_ranges
from geoindex.figures.reliability import DrawnBin, DrawnChance, draw_reliability
from geoindex.metrics import GEOSCORE_MAX

DRAWN_CELLS = 14
WEAKEST, STRONGEST = 15, 8
"""Countries that are drawn of those with enough queries."""


def draw_pictures(findings: Findings, folder: Path) -> dict[str, Path]:
    """Draw every picture of a report into a folder; return their files by name."""
    found, report = findings.predictions, findings.report
    pictures = {
        "errors": draw_errors(
            found.true_lat, found.true_lon, found.distance_km, folder / "errors.png",
            title=f"How far off each of {report.count:,} answers is, where the photo was taken",
        ),
        "curves": draw_error_curves(
            _curves(findings), folder / "curves.png", title="Error curves: this index, floors and rivals"
        ),
    }  # fmt: skip
    if any(each.judged for each in findings.countries):
        pictures["countries"] = _draw_countries(findings, folder / "countries.png")
    if findings.sureness is not None:
        title = f"Is confidence kept? What {report.count:,} answers told, and what came of it"
        pictures["calibration"] = draw_reliability(_chances(findings.sureness), folder / "calibration.png", title=title)
    cells = findings.confusion.busiest(DRAWN_CELLS)
    names = [findings.confusion.names[cell] for cell in cells.tolist()]
    title = f"Which cell is taken for which: the {len(names)} with most queries"
    pictures["confusion"] = draw_confusion(
        *findings.confusion.matrix(cells), names, folder / "confusion.png", title=title
    )
    return pictures


def _curves(findings: Findings) -> list[ErrorCurve]:
    """Return the systems but the index's other rules, the best by GeoScore first."""
    scores = {row.name: row.metrics.geoscore for row in findings.report.rows}
    systems = [system for system in findings.systems if system.kind != "other rule"]
    systems.sort(key=lambda system: -scores[system.name])
    return [ErrorCurve(system.name, system.kind, system.distance_km) for system in systems]


def _draw_countries(findings: Findings, path: Path) -> Path:
    judged = [each for each in findings.countries if each.judged]
    shown, title = judged, "GeoScore by country, the weakest first"
    if len(judged) > WEAKEST + STRONGEST:
        shown = [*judged[:WEAKEST], *judged[-STRONGEST:]]
        title = f"GeoScore by country: the {WEAKEST} weakest and the {STRONGEST} strongest of {len(judged)}"
    rows = _ranges(shown, {each.part.name for each in findings.weakest})
    label = "mean GeoScore with its 95 % interval, 5,000 is best"
    ends, overall = (0.0, GEOSCORE_MAX), findings.report.own.geoscore
    return draw_ranges(rows, path, title=title, label=label, ends=ends, overall=overall)


def _ranges(standings: Sequence[Standing], marked: set[str]) -> list[DrawnRange]:
    return [
        DrawnRange(
            each.part.name, each.geoscore.value, each.geoscore.low, each.geoscore.high,
            f"{each.part.metrics.count:,} photos", each.part.name in marked,
        )
        for each in standings
    ]  # fmt: skip


def _chances(sureness: Sureness) -> list[DrawnChance]:
    """Return the chance of each radius, beside what came of it."""
    found = []
    for told, measured in zip(sureness.within.T, ConfidenceReport.measure(sureness).chances, strict=True):
        wrong = np.asarray(sureness.distance_km >= measured.radius_km, np.float64)
        remarks = (
            f"told {measured.told:.1%}, right {measured.right:.1%} (the base rate)",
            f"calibration error (ECE) {measured.error:.3f}, {measured.kept_error:.3f} if all chances were kept",
            f"Brier skill {signed(measured.skill)}, risk saved {signed(measured.saved)}; "
            f"{_per_dot(measured.bins)} answers a dot",
        )
        bins = [DrawnBin(each.told, each.right, *each.interval) for each in measured.bins]
        curves = risk_coverage(told, wrong), risk_coverage(-wrong, wrong)
        name = f"Closer than {measured.radius_km:g} km"
        found.append(DrawnChance(name, remarks, told, measured.right, bins, *curves))
    return found


def _per_dot(bins: Sequence[Bin]) -> str:
    least, most = min(each.count for each in bins), max(each.count for each in bins)
    return f"{most:,}" if least == most else f"{least:,} to {most:,}"
