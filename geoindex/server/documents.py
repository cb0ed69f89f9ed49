"""What the OpenAPI document says of bodies and answers, with examples."""

from dataclasses import dataclass
from typing import Any

from geoindex.prediction import SCHEMA_VERSION, Prediction
from geoindex.server.embeddings import MAX_DIM
from geoindex.server.representations import GEOJSON, JSON, JSON_LINES

Content = dict[str, Any]
Responses = dict[int | str, dict[str, Any]]

BINARY = {"type": "string", "format": "binary", "minLength": 1}
GIVEN = {
    "type": "object", "required": ["embedding"], "additionalProperties": False,
    "properties": {"embedding": {"type": "array", "items": {"type": "number"}, "minItems": 1, "maxItems": MAX_DIM}},
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Answer(Prediction):
    """A prediction as JSON; `Prediction.to_dict` makes it."""

    schema: int = SCHEMA_VERSION


@dataclass(frozen=True, slots=True)
class Refusal:
    """What is wrong.

    Attributes:
        type: kind of error, as the library names it.
        message: one sentence, with the cure.
    """

    type: str
    message: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The answer to a request that is not answered."""

    error: Refusal


CANDIDATE = {
    "rank": 1, "lat": 52.0, "lon": 5.1, "probability": 0.41, "score": 0.83, "cell": 17, "cluster": 204,
    "n_images": 38, "radius_km": 12.4, "place": "Utrecht, Utrecht, Netherlands",
}  # fmt: skip
EVIDENCE = {"id": "nl-0042", "image": "nl/0042.jpg", "lat": 52.1, "lon": 5.0, "similarity": 0.88, "distance_km": 13.0}
PREDICTION = {
    "schema": 1, "lat": 52.0, "lon": 5.1, "place": "Utrecht, Utrecht, Netherlands", "confidence": 0.62,
    "radius_km": 41.0, "rule": "score",
    "candidates": [CANDIDATE], "evidence": [EVIDENCE],
    "timings_ms": {"decode": 2.1, "prepare": 1.0, "queue": 0.3, "encode": 9.8, "project": 0.1, "search": 0.4,
                   "answer": 0.9},
    "generation": "000012", "encoder": "098948a4613a8cab", "max_precision_km": None,
    "within_km": {"25": 0.4, "200": 0.62, "750": 0.8}, "radius50_km": 60.0, "radius90_km": 2100.0,
    "locatability": 0.7,
}  # fmt: skip
POINT = {"type": "Point", "coordinates": [5.1, 52.0]}
FEATURES = {
    "type": "FeatureCollection",
    "features": [
        {"type": "Feature", "geometry": POINT, "properties": {"kind": "prediction", "place": PREDICTION["place"]}}
    ],
}
COLLECTION = {
    "type": "object", "required": ["type", "features"],
    "properties": {"type": {"const": "FeatureCollection"}, "features": {"type": "array", "items": {"type": "object"}}},
}  # fmt: skip


def _json(schema: Content | None, example: Any, kind: str = JSON) -> Content:
    return {kind: ({"schema": schema} if schema else {}) | {"example": example}}


def _ok(description: str, content: Content, **more: Any) -> Responses:
    return {200: {"description": description, "content": content, **more}}


ANSWER = _ok("Where it was taken.", _json(None, PREDICTION) | _json(COLLECTION, FEATURES, GEOJSON), model=Answer)
LINES = _ok("A line for each photo.", {JSON_LINES: {"schema": {"type": "string"}}})
EMBEDDING = _ok("Its embedding.", _json(
    GIVEN | {"additionalProperties": True}, {"embedding": [0.6, 0.8], "dim": 2, "encoder": "098948a4613a8cab"}
))  # fmt: skip
CELLS = _ok("The geocells.", _json(COLLECTION, FEATURES | {"features": []}, GEOJSON))
FACTS = _ok("What is known.", _json({"type": "object"}, {"generation": "000012", "counts": {"gallery": 2368}}))
CLUSTER = _ok("What is known.", _json({"type": "object"}, CANDIDATE))
PICTURE = _ok("A small picture.", {"image/jpeg": {"schema": BINARY}})
COUNTS = _ok("Counts.", {"text/plain": {"schema": {"type": "string"}}})
STATE = _ok("It is.", _json({"type": "object"}, {"status": "ok"}))


def _form(**bounds: int) -> Content:
    images = {"type": "array", "items": BINARY, "minItems": 1, **bounds}
    form = {"type": "object", "required": ["image"], "additionalProperties": False, "properties": {"image": images}}
    return {"multipart/form-data": {"schema": form}}


def _body(content: Content) -> Content:
    return {"requestBody": {"required": True, "content": content}}


PHOTO = {"image/jpeg": {"schema": BINARY}, "application/octet-stream": {"schema": BINARY}}
IMAGE = _body(PHOTO | _form(maxItems=1))
IMAGES = _body(PHOTO | _form())
IMAGE_OR_EMBEDDING = _body(PHOTO | _form() | _json(GIVEN, {"embedding": [0.6, 0.8]}))

REASONS = {
    400: "The body cannot be read.", 401: "The token is missing or wrong.", 403: "The server may not tell this.",
    404: "There is no such thing.", 406: "No type that the request accepts.", 408: "The body came too slowly.",
    413: "The body is too large.", 415: "The body is of another type.",
    421: "The server is not called by this name.", 422: "An image cannot be decoded, or an option is not valid.",
    429: "Too many requests; try again after Retry-After seconds.", 503: "The server cannot answer now.",
    504: "No answer in time.",
}  # fmt: skip

OF_BODIES = (400, 406, 408, 413, 415, 422, 429, 503, 504)
"""Refusals of addresses that take photos."""


def refusals(*statuses: int) -> Responses:
    """Return what is said of these refusals, and of those that any address may give."""
    return {status: {"model": Refused, "description": REASONS[status]} for status in (*statuses, 401, 421)}
