"""The best and the worst answers of an evaluation, with photos and the evidence that they rest on."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoindex.evaluation.queries import Queries
from geoindex.index import GeoIndex
from geoindex.places import place_names
from geoindex.prediction import Evidence, Prediction

BEST, WORST, EVIDENCE = 4, 6, 3
"""Cases of each kind, and stored photos that are shown with each."""

Floats = NDArray[np.float64]
Picture = Callable[[str], bytes | None]
"""Returns a small JPEG of an image, or None."""


@dataclass(frozen=True, slots=True)
class Case:
    """A query, its answer, and why.

    Attributes:
        id: of the query.
        picture: small JPEG; None if the photo cannot be read.
        lat, lon: true position in degrees.
        place: nearest named place.
        error_km: of the answer from it.
        prediction: the answer.
        evidence: stored photos most like the query, with their pictures.
    """

    id: str
    picture: bytes | None
    lat: float
    lon: float
    place: str
    error_km: float
    prediction: Prediction
    evidence: tuple[tuple[Evidence, bytes | None], ...]

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON types, without pictures and times, which differ between runs."""
        keys = ("id", "lat", "lon", "place", "error_km")
        prediction = self.prediction.to_dict()
        del prediction["timings_ms"]
        return {key: getattr(self, key) for key in keys} | {"prediction": prediction}


@dataclass(frozen=True, slots=True)
class Cases:
    """The farthest answers, farthest first, and the nearest, nearest first."""

    worst: tuple[Case, ...]
    best: tuple[Case, ...]


def find_cases(
    index: GeoIndex, queries: Queries, distance_km: Floats, query_picture: Picture, stored_picture: Picture
) -> Cases:
    """Choose the best and the worst answers, and ask the index for them again with evidence.

    Args:
        index: that was measured.
        queries: Q of them.
        distance_km: of the answers from the truth, (Q,).
        query_picture: pictures of the queries.
        stored_picture: pictures of the index's own photos.
    """
    order = np.argsort(distance_km, kind="stable")
    best = order[: min(BEST, len(order) // 2)]
    worst = order[::-1][: min(WORST, len(order) - len(best))]

    def cases(rows: NDArray[np.int64]) -> tuple[Case, ...]:
        answers = index.query_embeddings(queries.embeddings[rows], evidence=EVIDENCE) if len(rows) else []
        places = place_names(queries.lat[rows], queries.lon[rows]) if len(rows) else []
        return tuple(
            Case(
                queries.ids[row], query_picture(queries.images[row]) if queries.images else None,
                float(queries.lat[row]), float(queries.lon[row]), place, float(distance_km[row]), answer,
                _shown(answer.evidence, stored_picture),
            )
            for row, place, answer in zip(rows.tolist(), places, answers, strict=True)
        )  # fmt: skip

    return Cases(cases(worst), cases(best))


def _shown(evidence: Sequence[Evidence], picture: Picture) -> tuple[tuple[Evidence, bytes | None], ...]:
    return tuple((each, picture(each.image)) for each in evidence)
