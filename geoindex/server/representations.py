"""A prediction in the form that a request accepts."""

import json
from collections.abc import Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from geoindex.errors import RequestError
from geoindex.prediction import Prediction

JSON, GEOJSON, JSON_LINES = "application/json", "application/geo+json", "application/jsonl"


def accepted_type(request: Request, offered: Sequence[str] = (JSON, GEOJSON)) -> str:
    """Return the type of answer that a request likes best; of those that it likes alike, the first offered.

    Raises:
        RequestError: if it accepts none.
    """
    accept = ",".join(request.headers.getlist("accept")) or "*/*"
    ranges = [_range(text) for text in accept.split(",") if text.strip()]
    liked = {kind: _quality(kind, ranges) for kind in offered}
    best = max(offered, key=lambda kind: liked[kind])
    if liked[best] <= 0:
        raise RequestError(f"This address answers with {' or '.join(offered)}; accept one of them.", status=406)
    return best


def _range(text: str) -> tuple[str, float]:
    """Return a range of types, such as `image/*`, and how much it is liked, from 0 to 1."""
    kind, *parameters = (part.strip().lower() for part in text.split(";"))
    weights = [value for name, _, value in (each.partition("=") for each in parameters) if name == "q"]
    try:
        return kind, float(weights[0]) if weights else 1.0
    except ValueError:
        return kind, 0.0


def _quality(kind: str, ranges: Sequence[tuple[str, float]]) -> float:
    """Return how much a type is liked, by the closest range that it falls into."""
    for closest in (kind, f"{kind.partition('/')[0]}/*", "*/*"):
        for name, weight in ranges:
            if name == closest:
                return weight
    return 0.0


def prediction_response(prediction: Prediction, kind: str) -> Response:
    """Return a prediction as JSON or GeoJSON."""
    return json_response(prediction.to_geojson() if kind == GEOJSON else prediction.to_dict(), kind)


def json_response(value: Any, kind: str = JSON) -> Response:
    """Return JSON types as a response."""
    return Response(json.dumps(value, ensure_ascii=False, allow_nan=False), media_type=kind)
