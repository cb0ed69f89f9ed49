"""Queries -> what an index answers, and what rivals make of the same search, some queries at a time.

A ranking knows every cell, and its posterior every point: those of 200,000 queries at once would take 100 GB and more.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoindex.calibration import Calibration
from geoindex.estimate import Posterior, rule_points
from geoindex.evaluation.confidence import Sureness
from geoindex.evaluation.queries import Queries
from geoindex.evaluation.rivals import best_constant, ranked_rival_points
from geoindex.geo import haversine_km, nearest
from geoindex.index import GeoIndex
from geoindex.metrics import information_gain_bits
from geoindex.progress import Progress
from geoindex.search.posterior import RANKED_TOGETHER, Breadth, Geography, Ranking

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]
Names = dict[str, Floats]


@dataclass(frozen=True, slots=True)
class Answers:
    """What is answered to Q queries.

    Attributes:
        points: by rule of estimation, (Q, 2) degrees each.
        rivals: by name of those that answer from the index's own search, likewise.
        cell: the most probable geocell, (Q,).
        true_cell: that of the nearest cluster to the true position, (Q,).
        bits: told of the geocell over the gallery's shares, (Q,); NaN where it holds no photo.
        sureness: how sure the answers are, and how far off; None if the index was never calibrated.
    """

    points: Names
    rivals: Names
    cell: Rows
    true_cell: Rows
    bits: Floats
    sureness: Sureness | None

    @classmethod
    def of(cls, index: GeoIndex, queries: Queries, seed: int) -> "Answers":
        """Ask an index as it answers by default.

        Args:
            index: that is asked.
            queries: one or more.
            seed: of the best constant point, which confidence is held against.
        """
        gallery_lat, gallery_lon = index.searcher.sidecar.gallery.positions()
        constant = best_constant(gallery_lat, gallery_lon, seed)
        constant_km = haversine_km(*constant, gallery_lat, gallery_lon)
        true_cell = true_cells(index.searcher.geography, queries.lat, queries.lon)
        parts = []
        with Progress("answering", len(queries.lat), "query") as bar:
            for rows, rankings in ranked(index, queries):
                parts.append(_answers(index, queries, rows, rankings, true_cell[rows], constant_km))
                bar.advance(len(rankings))
        return cls._joined(parts)

    @classmethod
    def _joined(cls, parts: "Sequence[Answers]") -> "Answers":
        sure = [part.sureness for part in parts if part.sureness is not None]
        return cls(
            _names([part.points for part in parts]), _names([part.rivals for part in parts]),
            np.concatenate([part.cell for part in parts]), np.concatenate([part.true_cell for part in parts]),
            np.concatenate([part.bits for part in parts]), Sureness.joined(sure) if sure else None,
        )  # fmt: skip


def _names(parts: Sequence[Names]) -> Names:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def ranked(index: GeoIndex, queries: Queries) -> Iterator[tuple[slice, list[Ranking]]]:
    """Search for queries as the index does by default, `RANKED_TOGETHER` at a time; yield which, and their rankings."""
    breadth = Breadth(int(index.manifest.recipe["search"]["top_cells"]))
    for start in range(0, len(queries.lat), RANKED_TOGETHER):
        rows = slice(start, start + RANKED_TOGETHER)
        yield rows, index.searcher.rank(queries.embeddings[rows], breadth)


def posteriors(index: GeoIndex, queries: Queries) -> Iterator[Posterior]:
    """Yield where each photo may have been taken, as the index has it: by cells, clusters and stored images."""
    for rows, rankings in ranked(index, queries):
        yield from map(index.searcher.posterior, rankings, queries.embeddings[rows])


def _answers(
    index: GeoIndex, queries: Queries, rows: slice, rankings: list[Ranking], true_cell: Rows, constant_km: Floats
) -> Answers:
    vectors, searcher = queries.embeddings[rows], index.searcher
    own = list(map(searcher.posterior, rankings, vectors))
    return Answers(
        rule_points(own), ranked_rival_points(searcher, vectors, rankings),
        np.array([ranking.logits.argmax() for ranking in rankings], np.int64), true_cell,
        information_bits(rankings, true_cell),
        _sureness(searcher.calibration, own, queries.lat[rows], queries.lon[rows], constant_km),
    )  # fmt: skip


def _sureness(
    calibration: Calibration | None, own: list[Posterior], lat: Floats, lon: Floats, constant_km: Floats
) -> Sureness | None:
    return None if calibration is None else Sureness.of(calibration, own, lat, lon, constant_km)


def true_cells(geography: Geography, lat: Floats, lon: Floats) -> Rows:
    """Return the geocells of positions in degrees, (Q,): those of the nearest clusters."""
    return geography.cell[nearest(geography.lat, geography.lon, lat, lon)[0]]


def information_bits(rankings: list[Ranking], true_cell: Rows) -> Floats:
    """Return how many bits each photo told of its geocell, (Q,), over the share of the gallery in it, (Q,).

    NaN where that holds no photo of the gallery.
    """
    geography = rankings[0].geography
    prior = geography.cell_images[true_cell] / geography.cell_images.sum()
    logits = np.array([ranking.logits[c] for ranking, c in zip(rankings, true_cell, strict=True)], np.float64)
    p_true = np.exp(logits - np.array([ranking.log_total for ranking in rankings]))
    return np.where(prior > 0, information_gain_bits(p_true, prior), np.nan)
