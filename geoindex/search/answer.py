"""Ranked candidates -> a Prediction: the point, the radius, named candidates, evidence."""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from geoindex.errors import ConfigError
from geoindex.estimate import estimate_point, mass_radius_km
from geoindex.geo import coarsen, haversine_km
from geoindex.places import place_names
from geoindex.prediction import WITHHELD, Candidate, Evidence, Prediction
from geoindex.search.posterior import Ranking
from geoindex.search.searcher import Neighbour, Searcher


@dataclass(frozen=True, slots=True)
class QueryOptions:
    """How to answer.

    Attributes:
        top_k: candidates to name.
        top_cells: cells that are probed; None: the index's own number.
        rule: rule of estimation; None: the index's own.
        evidence: stored images to name.
        max_precision_km: round every point to this and name no evidence closer than it; None: do not round.
    """

    top_k: int = 5
    top_cells: int | None = None
    rule: str | None = None
    evidence: int = 5
    max_precision_km: float | None = None

    def __post_init__(self) -> None:
        for name, least in (("top_k", 1), ("top_cells", 1), ("evidence", 0)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ConfigError(f"{name} is {value}; it must be at least {least}.")
        if self.max_precision_km is not None and not self.max_precision_km > 0:
            raise ConfigError(f"max_precision_km is {self.max_precision_km}; it must be positive.")


class QueryKeywords(TypedDict, total=False):
    """Keywords of every query: the fields of `QueryOptions`."""

    top_k: int
    top_cells: int | None
    rule: str | None
    evidence: int
    max_precision_km: float | None


def query_options(options: QueryKeywords) -> QueryOptions:
    """Build query options from keywords.

    Raises:
        ConfigError: if there is no such option, or it cannot be meant.
    """
    known = [f.name for f in fields(QueryOptions)]
    for name in options:
        if name not in known:
            raise ConfigError(f"No query option '{name}'; known options: {', '.join(known)}.")
    return QueryOptions(**options)


def answer(
    searcher: Searcher, ranking: Ranking, query: NDArray[np.float32], rule: str, options: QueryOptions
) -> Prediction:
    """Turn the ranking of one query, (D,), into a prediction.

    Raises:
        ConfigError: if there is no such rule.
    """
    lat, lon = estimate_point(ranking.posterior, rule)
    distance_km = haversine_km(lat, lon, ranking.posterior.lat, ranking.posterior.lon)
    fact = _nearest_fact(searcher, ranking, distance_km)
    prediction = Prediction(
        lat=lat,
        lon=lon,
        place=fact["place"],
        confidence=None,
        # a cluster that holds half of the probability is itself no point
        radius_km=max(mass_radius_km(distance_km, ranking.posterior.probability), fact["radius_km"]),
        rule=rule,
        candidates=tuple(_candidates(searcher, ranking, options.top_k)),
        evidence=tuple(_evidence(searcher, searcher.neighbours(ranking, query, options.evidence), lat, lon)),
    )
    return prediction if options.max_precision_km is None else blur(prediction, options.max_precision_km)


def _nearest_fact(searcher: Searcher, ranking: Ranking, distance_km: NDArray[np.float64]) -> dict[str, Any]:
    """Return the facts of the cluster or cell whose centroid is nearest to the answer, by the distance of each."""
    row = int(np.argmin(distance_km))
    table, rows = searcher.sidecar.clusters, ranking.clusters
    if row >= len(rows):
        row -= len(rows)
        table, rows = searcher.sidecar.cells, ranking.unprobed
    return table.rows(rows[row : row + 1])[0]


def _candidates(searcher: Searcher, ranking: Ranking, count: int) -> list[Candidate]:
    rows = ranking.clusters[:count]
    return [
        Candidate(
            rank=rank + 1, lat=fact["lat"], lon=fact["lon"], probability=float(ranking.probability[rank]),
            score=float(ranking.scores[rank]), cell=fact["cell"], cluster=fact["cluster"],
            n_images=fact["n_images"], radius_km=fact["radius_km"], place=fact["place"],
        )
        for rank, fact in enumerate(searcher.sidecar.clusters.rows(rows))
    ]  # fmt: skip


def _evidence(searcher: Searcher, neighbours: list[Neighbour], lat: float, lon: float) -> Iterator[Evidence]:
    facts = searcher.sidecar.gallery.facts(np.array([neighbour.row for neighbour in neighbours], np.int64))
    for neighbour, fact in zip(neighbours, facts, strict=True):
        distance_km = float(haversine_km(lat, lon, fact["lat"], fact["lon"]))
        yield Evidence(fact["id"], fact["image"], fact["lat"], fact["lon"], neighbour.similarity, distance_km)


def blur(prediction: Prediction, precision_km: float) -> Prediction:
    """Round every point of a prediction and withhold what would tell more than the rounded points do.

    Names are those of the places nearest to the rounded points; ids of cells and clusters are withheld, since
    their centroids can be looked up in the index; evidence closer to the answer than `precision_km` is dropped.
    """
    lat, lon = coarsen(prediction.lat, prediction.lon, precision_km)
    points = [coarsen(c.lat, c.lon, precision_km) for c in prediction.candidates]
    names = [f"near {name}" for name in place_names([lat, *(p[0] for p in points)], [lon, *(p[1] for p in points)])]
    candidates = tuple(
        replace(
            c, lat=p[0], lon=p[1], place=name, cell=WITHHELD, cluster=WITHHELD, radius_km=max(c.radius_km, precision_km)
        )
        for c, p, name in zip(prediction.candidates, points, names[1:], strict=True)
    )
    evidence = (_blur_evidence(e, lat, lon, precision_km) for e in prediction.evidence)
    return replace(
        prediction,
        lat=lat,
        lon=lon,
        place=names[0],
        radius_km=max(prediction.radius_km, precision_km),
        candidates=candidates,
        evidence=tuple(e for e in evidence if e.distance_km >= precision_km),
        max_precision_km=precision_km,
    )


def _blur_evidence(evidence: Evidence, lat: float, lon: float, precision_km: float) -> Evidence:
    exact_km = float(haversine_km(lat, lon, evidence.lat, evidence.lon))
    evidence_lat, evidence_lon = coarsen(evidence.lat, evidence.lon, precision_km)
    rounded_km = float(haversine_km(lat, lon, evidence_lat, evidence_lon))
    return replace(evidence, lat=evidence_lat, lon=evidence_lon, distance_km=min(exact_km, rounded_km))
