"""All that an evaluation found, as its report for people needs it."""

import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoindex.evaluation.answers import Answers
from geoindex.evaluation.breakdown import Origins, Standing, standings_of
from geoindex.evaluation.cases import Cases, find_cases
from geoindex.evaluation.confidence import Sureness
from geoindex.evaluation.confusion import Confusion
from geoindex.evaluation.intervals import DRAWS
from geoindex.evaluation.predictions import Predictions
from geoindex.evaluation.queries import Queries
from geoindex.evaluation.report import Report, System
from geoindex.evaluation.thumbnails import Thumbnails
from geoindex.index import GeoIndex
from geoindex.metrics import convention_of
from geoindex.recipe import Recipe
from geoindex.version import VERSION

MISTAKES = 15
"""Most frequent mistakes between cells that are told."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Findings:
    """What an evaluation found.

    Attributes:
        report: its figures.
        systems: how far off each system is, in the order of the report's rows.
        predictions: what the index answers by default, query by query.
        countries, continents: how well the queries of each are answered: those with enough queries first, then the
            weakest.
        confusion: between cells.
        cases: the best and the worst answers.
        settings: what was measured, how, and by which fingerprints it can be told from others, by section.
        sureness: how sure the index was of each answer; None if it was never calibrated.
    """

    report: Report
    systems: Sequence[System]
    predictions: Predictions
    countries: Sequence[Standing]
    continents: Sequence[Standing]
    confusion: Confusion
    cases: Cases
    settings: dict[str, Any]
    sureness: Sureness | None

    @property
    def own(self) -> System:
        """The index as it answers by default."""
        return next(system for system in self.systems if system.kind == "own")

    @property
    def weakest(self) -> list[Standing]:
        """The countries with the lowest GeoScore, at most three, out of those with enough queries."""
        return [each for each in self.countries if each.judged][:3]

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON types, without pictures; single queries are in the predictions."""
        return {
            **self.report.to_dict(),
            "weakest_countries": [each.part.name for each in self.weakest],
            "country_geoscores": {each.part.name: asdict(each.geoscore) for each in self.countries},
            "right_cell": self.confusion.right,
            "mistaken_cells": [asdict(mistake) for mistake in self.confusion.mistakes(MISTAKES)],
            "worst": [case.to_dict() for case in self.cases.worst],
            "best": [case.to_dict() for case in self.cases.best],
            "settings": self.settings,
        }


def gather(
    index: GeoIndex, queries: Queries, answers: Answers, systems: Sequence[System], predictions: Predictions,
    report: Report, *, seed: int, source: str | None, columns: dict[str, str],
) -> Findings:  # fmt: skip
    """Put together what a report for people needs.

    Args:
        index: that was measured.
        queries: that it was asked.
        answers: what it answered.
        systems: how far off each system is.
        predictions: what the index answers by default.
        report: the figures.
        seed: of the resampling.
        source: where the queries come from; None: they are the index's own.
        columns: of that source.
    """
    manifest, convention = index.manifest, convention_of(report.convention)
    stored = Thumbnails.of(manifest.source, Recipe(column=tuple(manifest.recipe.get("column", ()))).columns)
    asked = stored if source is None else Thumbnails.of(source, columns)
    origins, off_km = Origins.of(queries.lat, queries.lon), predictions.distance_km
    return Findings(
        report, systems, predictions,
        standings_of(off_km, origins.country, convention, seed),
        standings_of(off_km, origins.continent, convention, seed),
        Confusion.of(index.searcher, answers),
        find_cases(index, queries, off_km, asked.jpeg, stored.jpeg),
        _settings(index, queries, report, seed), answers.sureness,
    )  # fmt: skip


def _settings(index: GeoIndex, queries: Queries, report: Report, seed: int) -> dict[str, Any]:
    m = index.manifest
    return {
        "index": {
            "folder": str(index.path), "generation": m.generation, "created": m.created, "source": m.source,
            "dim": m.dim, **m.counts,
        },
        "encoder": m.encoder,
        "answers": {"rule": m.rule["name"], **m.posterior, "top_cells": m.recipe["search"]["top_cells"]},
        "evaluation": {
            "queries": queries.name, "count": report.count, "unreadable": report.unreadable,
            "convention": report.convention, "earth_radius_km": report.to_dict()["earth_radius_km"], "seed": seed,
            "resamples": DRAWS, "geoindex": VERSION, "python": platform.python_version(), "numpy": np.__version__,
        },
        "files": {name: record.sha256 for name, record in m.files.items()},
        "recipe": m.recipe,
    }  # fmt: skip
