"""Ranked candidates -> a Prediction: the point, the radius, named candidates, evidence."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoindex.calibration import CONFIDENCE_KM, Calibration
from geoindex.estimate import Posterior, estimate_point
from geoindex.geo import coarsen, distance_km
from geoindex.mass import MassAround
from geoindex.nearest_place import place_name
from geoindex.places import place_names
from geoindex.prediction import WITHHELD, Candidate, Evidence, Prediction
from geoindex.search.options import QueryOptions
from geoindex.search.posterior import Ranking
from geoindex.search.refinement import refined_posterior
from geoindex.search.searcher import Neighbour, Searcher

NEAREST = ("radius_km",)
NAMED = ("cell", "cluster", "n_images", "radius_km", "place")
SHOWN = ("id", "image", "lat", "lon")
"""What is asked of the nearest cluster or cell, of each candidate and of evidence: a fact takes a microsecond."""


@dataclass(frozen=True, slots=True)
class Origin:
    """What answers come from.

    Attributes:
        generation: of the index.
        encoder: its fingerprint.
        timings_ms: time of each step; filled in when the last one, the answer itself, is over.
    """

    generation: str
    encoder: str
    timings_ms: dict[str, float] = field(default_factory=dict)


def answer(
    searcher: Searcher, ranking: Ranking, query: NDArray[np.float32], rule: str, options: QueryOptions, origin: Origin
) -> Prediction:
    """Turn the ranking of one query, (D,), into a prediction.

    Raises:
        ConfigError: if there is no such rule.
    """
    posterior = _posterior(searcher, ranking, query, options)
    # a point between those of a region may lie outside of it
    lat, lon = estimate_point(posterior, rule, between=options.within is None)
    away_km = posterior.distance_km(lat, lon)
    mass = MassAround.of(away_km, posterior.probability)
    fact = _nearest_fact(searcher, ranking, away_km[: len(ranking.posterior.lat)])
    prediction = Prediction(
        lat=lat,
        lon=lon,
        place=place_name(lat, lon),
        # a cluster that holds half of the probability is itself no point
        radius_km=max(mass.radius_km(), fact["radius_km"]),
        rule=rule,
        candidates=tuple(_candidates(searcher, ranking, posterior, options.top_k)),
        evidence=tuple(_evidence(searcher, searcher.neighbours(ranking, query, options.evidence), lat, lon)),
        locatability=ranking.locatability,
        timings_ms=origin.timings_ms,
        generation=origin.generation,
        encoder=origin.encoder,
        **_certainty(searcher.calibration, mass, rule, options),
    )
    return prediction if options.max_precision_km is None else blur(prediction, options.max_precision_km)


def _certainty(calibration: Calibration | None, mass: MassAround, rule: str, options: QueryOptions) -> dict[str, Any]:
    """Return what a prediction tells of how sure it is: nothing where that was not learned of such answers."""
    if calibration is None or calibration.rule != rule or not options.plain:
        return {"confidence": None}
    sure = calibration.certainty(mass)
    return {
        "confidence": sure.within_km[CONFIDENCE_KM], "within_km": sure.within_km,
        "radius50_km": sure.radius50_km, "radius90_km": sure.radius90_km,
    }  # fmt: skip


def _posterior(searcher: Searcher, ranking: Ranking, query: NDArray[np.float32], options: QueryOptions) -> Posterior:
    if options.refine == "images":
        return refined_posterior(searcher, ranking, query, options.within)
    # an image may lie outside of a region whose clusters it is in
    return ranking.posterior if options.within is not None else searcher.posterior(ranking, query)


def _nearest_fact(searcher: Searcher, ranking: Ranking, distance_km: NDArray[np.float64]) -> dict[str, Any]:
    """Return the facts of the cluster or cell whose centroid is nearest to the answer, by the distance of each."""
    row = int(np.argmin(distance_km))
    table, rows = searcher.sidecar.clusters, ranking.clusters
    if row >= len(rows):
        row, rows, stand_in = row - len(rows), ranking.unprobed, ranking.geography.stand_in
        if stand_in is None or stand_in[rows[row]] < 0:
            table = searcher.sidecar.cells
        else:
            rows = stand_in[rows]
    return table.rows(rows[row : row + 1], NEAREST)[0]


def _candidates(searcher: Searcher, ranking: Ranking, posterior: Posterior, count: int) -> Iterator[Candidate]:
    numbers = posterior.lat, posterior.lon, ranking.probability, ranking.scores
    facts = searcher.sidecar.clusters.rows(ranking.clusters[:count], NAMED)
    columns = zip(*(each[: len(facts)].tolist() for each in numbers), strict=True)
    for rank, ((lat, lon, probability, score), fact) in enumerate(zip(columns, facts, strict=True)):
        yield Candidate(
            rank + 1, lat, lon, probability, score, fact["cell"], fact["cluster"], fact["n_images"], fact["radius_km"],
            fact["place"],
        )  # fmt: skip


def _evidence(searcher: Searcher, neighbours: list[Neighbour], lat: float, lon: float) -> Iterator[Evidence]:
    rows = np.array([neighbour.row for neighbour in neighbours], np.int64)
    facts = searcher.sidecar.gallery.facts(rows, SHOWN)
    for neighbour, fact in zip(neighbours, facts, strict=True):
        away_km = distance_km(lat, lon, fact["lat"], fact["lon"])
        yield Evidence(fact["id"], fact["image"], fact["lat"], fact["lon"], neighbour.similarity, away_km)


def blur(prediction: Prediction, precision_km: float) -> Prediction:
    """Round every point of a prediction and withhold what would tell more than the rounded points do.

    Names are those of the places nearest to the rounded points; ids of cells and clusters are withheld, since
    their centroids can be looked up in the index; evidence closer to the answer than `precision_km` is dropped. No
    confidence is told, for that was of the exact point.
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
    evidence = tuple(e for each in prediction.evidence for e in _blur_evidence(each, lat, lon, precision_km))
    return replace(
        prediction,
        lat=lat,
        lon=lon,
        place=names[0],
        confidence=None,
        radius_km=max(prediction.radius_km, precision_km),
        candidates=candidates,
        evidence=evidence,
        max_precision_km=precision_km,
        within_km=None,
        radius50_km=None,
        radius90_km=None,
    )


def _blur_evidence(evidence: Evidence, lat: float, lon: float, precision_km: float) -> Iterator[Evidence]:
    """Yield evidence as it is told; nothing of what is too close, before it is rounded or after.

    The distance is that of the rounded point: three distances of the exact one would tell where it lies.
    """
    exact_km = distance_km(lat, lon, evidence.lat, evidence.lon)
    evidence_lat, evidence_lon = coarsen(evidence.lat, evidence.lon, precision_km)
    rounded_km = distance_km(lat, lon, evidence_lat, evidence_lon)
    if min(exact_km, rounded_km) >= precision_km:
        yield replace(evidence, lat=evidence_lat, lon=evidence_lon, distance_km=rounded_km)
