"""The answer to a query as pure data: where, how sure, and why."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from geoindex.errors import ConfigError

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
        confidence: calibrated probability that the answer is right, closer than 200 km, 0 to 1. None if the index was
            never calibrated, or was asked otherwise than that was done: with another rule, part of the index, refined,
            or rounded.
        radius_km: radius around the answer that holds half of the probability, unprobed cells included.
        rule: the rule of estimation that chose the point.
        candidates: clusters by falling probability.
        evidence: stored images nearest to the query inside the best clusters.
        timings_ms: time of each step: decode, prepare, encode, project, search, answer. Of a batch each has its share;
            photos of a batch are decoded side by side, and beside another batch, so less time may have passed.
        generation: generation of the index that answered.
        encoder: fingerprint of the encoder.
        max_precision_km: the answer was rounded to this; None: not rounded.
        within_km: calibrated probability that the truth is closer than 25, 200 and 750 km, by radius.
        radius50_km, radius90_km: calibrated radii that hold the truth of half, and of nine in ten, such answers. Like
            `within_km` they are None where `confidence` is.
        locatability: how much the photo tells, from 0, "anywhere in the gallery", to 1, "one cell".

    Raises:
        ConfigError: if a probability is not between 0 and 1.
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
    within_km: Mapping[str, float] | None = None
    radius50_km: float | None = None
    radius90_km: float | None = None
    locatability: float | None = None

    def __post_init__(self) -> None:
        for name, value in (("confidence", self.confidence), ("locatability", self.locatability)):
            if value is not None and not 0.0 <= value <= 1.0:
                raise ConfigError(f"Prediction.{name} is {value}; give a probability from 0 to 1, or None.")
        for radius, value in (self.within_km or {}).items():
            if not 0.0 <= value <= 1.0:
                raise ConfigError(f"Prediction.within_km['{radius}'] is {value}; give a probability from 0 to 1.")

    @property
    def between_candidates(self) -> bool:
        """Whether the point is that of none of the candidates: a rule weighed them all against each other."""
        return not any((c.lat, c.lon) == (self.lat, self.lon) for c in self.candidates)

    def __str__(self) -> str:
        sure = "None" if self.confidence is None else f"{self.confidence:.2f}"
        return f"Prediction(lat={self.lat:.4f}, lon={self.lon:.4f}, place={self.place!r}, confidence={sure})"

    def to_dict(self) -> dict[str, Any]:
        """Return the prediction as plain JSON types, with stable keys."""
        values = _values(self)
        values["candidates"] = [_values(c) for c in self.candidates]
        values["evidence"] = [_values(e) for e in self.evidence]
        values["timings_ms"] = dict(self.timings_ms)
        values["within_km"] = None if self.within_km is None else dict(self.within_km)
        return {"schema": SCHEMA_VERSION, **values}

    def to_geojson(self) -> dict[str, Any]:
        """Return an RFC 7946 FeatureCollection: the answer first, then candidates, then evidence."""
        answer = {"kind": "prediction", "place": self.place, "radius_km": self.radius_km, "confidence": self.confidence}
        sure = {"radius50_km": self.radius50_km, "radius90_km": self.radius90_km, "locatability": self.locatability}
        within = {f"within_{radius}_km": chance for radius, chance in (self.within_km or {}).items()}
        features = [_feature(self.lat, self.lon, answer | sure | within)]
        features += [_feature(c.lat, c.lon, {"kind": "candidate"} | _properties(c)) for c in self.candidates]
        features += [_feature(e.lat, e.lon, {"kind": "evidence"} | _properties(e)) for e in self.evidence]
        return {"type": "FeatureCollection", "features": features}

    @property
    def __geo_interface__(self) -> dict[str, Any]:
        return _point(self.lat, self.lon)

    def _repr_html_(self) -> str:
        """Return the answer with a map, as notebooks show it."""
        from geoindex.figures.card import render_card

        return render_card(self)


def _values(item: Prediction | Candidate | Evidence) -> dict[str, Any]:
    """Return the fields of an item; `asdict` copies all that is in them, which takes longer than a search."""
    return {each.name: getattr(item, each.name) for each in fields(item)}


def _properties(item: Candidate | Evidence) -> dict[str, Any]:
    return {key: value for key, value in _values(item).items() if key not in ("lat", "lon")}


def _point(lat: float, lon: float) -> dict[str, Any]:
    return {"type": "Point", "coordinates": [round(lon, 7), round(lat, 7)]}


def _feature(lat: float, lon: float, properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "Feature", "geometry": _point(lat, lon), "properties": properties}
