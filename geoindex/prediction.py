"""The answer to a query as pure data: where, how sure, and why."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

SCHEMA_VERSION = 1
"""Version of the keys of `Prediction.to_dict`; raised when one changes its meaning or goes."""

WITHHELD = -1
"""Stands for the id of a cell or cluster that a rounded answer does not tell."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """A stored image that looks most like the query, out of the clusters that the search ranks first.

    Attributes:
        id: id of the image in the gallery.
        image: where its source finds it; empty if the index keeps no paths.
        lat, lon: its position in degrees.
        similarity: cosine of the angle between its embedding and the query's.
        distance_km: from the predicted point.
    """

    id: str
    image: str
    lat: float
    lon: float
    similarity: float
    distance_km: float


@dataclass(frozen=True, slots=True)
class Candidate:
    """A cluster that the search proposes.

    Attributes:
        rank: 1 for the most probable.
        lat, lon: centroid of the cluster in degrees.
        probability: p(m) = p(cell) p(cluster | cell); over all clusters of the index these sum to 1.
        score: cosine of the query and the cluster's geo-embedding.
        cell: id of the geocell.
        cluster: id of the cluster.
        n_images: gallery images in it.
        radius_km: distance from the centroid that holds 68 % of them.
        place: nearest named place, as "City, Region, Country".
    """

    rank: int
    lat: float
    lon: float
    probability: float
    score: float
    cell: int
    cluster: int
    n_images: int
    radius_km: float
    place: str

    @property
    def __geo_interface__(self) -> dict[str, Any]:
        return _point(self.lat, self.lon)


@dataclass(frozen=True, slots=True)
class Prediction:
    """Where a photo was taken, as far as the index can tell.

    Attributes:
        lat, lon: the answer in degrees.
        place: nearest named place.
        confidence: calibrated probability that the answer is right; None if never calibrated.
        radius_km: radius around the answer that holds half of the probability, unprobed cells included.
        rule: the rule of estimation that chose the point.
        candidates: clusters by falling probability.
        evidence: stored images nearest to the query inside the best clusters.
        timings_ms: time of each step: decode, prepare, encode, project, search, answer. Of a batch each has its share;
            photos of a batch are decoded side by side, and beside another batch, so less time may have passed.
        generation: generation of the index that answered.
        encoder: fingerprint of the encoder.
        max_precision_km: the answer was rounded to this; None: not rounded.
    """

    lat: float
    lon: float
    place: str
    confidence: float | None
    radius_km: float
    rule: str
    candidates: tuple[Candidate, ...]
    evidence: tuple[Evidence, ...] = ()
    timings_ms: Mapping[str, float] = field(default_factory=dict)
    generation: str = ""
    encoder: str = ""
    max_precision_km: float | None = None

    @property
    def between_candidates(self) -> bool:
        """Whether the point is that of none of the candidates: a rule weighed them all against each other."""
        return not any((c.lat, c.lon) == (self.lat, self.lon) for c in self.candidates)

    def __str__(self) -> str:
        sure = "None" if self.confidence is None else f"{self.confidence:.2f}"
        return f"Prediction(lat={self.lat:.4f}, lon={self.lon:.4f}, place={self.place!r}, confidence={sure})"

    def to_dict(self) -> dict[str, Any]:
        """Return the prediction as plain JSON types, with stable keys."""
        from dataclasses import asdict

        values = asdict(self)
        values["candidates"] = [asdict(c) for c in self.candidates]
        values["evidence"] = [asdict(e) for e in self.evidence]
        values["timings_ms"] = dict(self.timings_ms)
        return {"schema": SCHEMA_VERSION, **values}

    def to_geojson(self) -> dict[str, Any]:
        """Return an RFC 7946 FeatureCollection: the answer first, then candidates, then evidence."""
        answer = {"kind": "prediction", "place": self.place, "radius_km": self.radius_km}
        features = [_feature(self.lat, self.lon, answer | {"confidence": self.confidence})]
        features += [_feature(c.lat, c.lon, {"kind": "candidate"} | _properties(c)) for c in self.candidates]
        features += [_feature(e.lat, e.lon, {"kind": "evidence"} | _properties(e)) for e in self.evidence]
        return {"type": "FeatureCollection", "features": features}

    @property
    def __geo_interface__(self) -> dict[str, Any]:
        return _point(self.lat, self.lon)


def _properties(item: Candidate | Evidence) -> dict[str, Any]:
    from dataclasses import asdict

    return {key: value for key, value in asdict(item).items() if key not in ("lat", "lon")}


def _point(lat: float, lon: float) -> dict[str, Any]:
    return {"type": "Point", "coordinates": [round(lon, 7), round(lat, 7)]}


def _feature(lat: float, lon: float, properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "Feature", "geometry": _point(lat, lon), "properties": properties}
