"""Predictions -> text: table, JSON, JSON Lines, GeoJSON, CSV."""

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from geoindex.errors import UnreadableImageError
from geoindex.plain import plain_json
from geoindex.prediction import Prediction

COLUMNS = ("input", "lat", "lon", "place", "radius_km", "confidence", "probability", "error")

SHOWN_CANDIDATES = 8
"""Candidates that are shown to people, on maps and beside them."""

ANYWHERE = 0.05
"""Locatability below which an answer is said to mean nothing: the photo tells a 20th of what there is to tell."""

SAME_COSINE = 0.9995
"""Likeness from which a stored photo is taken for the one that was asked; half floats leave 0.9999 of 1."""

VERDICTS = (
    (0.8, "Almost certainly right"),
    (0.5, "More likely right than wrong"),
    (0.2, "An educated guess"),
    (0.0, "Little more than a guess"),
)
"""What a confidence is called, from the least that earns the words."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one input.

    Attributes:
        input: its name.
        result: a prediction, or why there is none.
    """

    input: str
    result: Prediction | UnreadableImageError

    @property
    def failed(self) -> bool:
        """Whether there is no prediction."""
        return isinstance(self.result, UnreadableImageError)

    def to_dict(self) -> dict[str, Any]:
        """Return input and prediction, or input and error, as plain JSON types."""
        if isinstance(self.result, UnreadableImageError):
            return {"input": self.input, "error": {"type": "UnreadableImageError", "message": str(self.result)}}
        return {"input": self.input, **self.result.to_dict()}


Outcomes = Iterable[Outcome]


def json_text(outcomes: Outcomes) -> Iterator[str]:
    """Yield one JSON list."""
    yield plain_json([outcome.to_dict() for outcome in outcomes], indent=1) + "\n"


def jsonl_text(outcomes: Outcomes) -> Iterator[str]:
    """Yield one JSON object a line, each as soon as it is known."""
    for outcome in outcomes:
        yield plain_json(outcome.to_dict()) + "\n"


def geojson_text(outcomes: Outcomes) -> Iterator[str]:
    """Yield one FeatureCollection; every feature names its input; failed inputs have no feature."""
    features = []
    for outcome in outcomes:
        if isinstance(outcome.result, Prediction):
            for feature in outcome.result.to_geojson()["features"]:
                feature["properties"] = {"input": outcome.input, **feature["properties"]}
                features.append(feature)
    yield plain_json({"type": "FeatureCollection", "features": features}) + "\n"


def csv_text(outcomes: Outcomes) -> Iterator[str]:
    """Yield a header and one line an input."""
    yield _csv_line(COLUMNS)
    for outcome in outcomes:
        result = outcome.result
        if isinstance(result, Prediction):
            confidence = "" if result.confidence is None else f"{result.confidence:.4f}"
            point = [f"{result.lat:.6f}", f"{result.lon:.6f}", result.place, f"{result.radius_km:.1f}", confidence]
            yield _csv_line([outcome.input, *point, f"{result.candidates[0].probability:.4f}", ""])
        else:
            yield _csv_line([outcome.input, *[""] * 6, str(result)])


def _csv_line(values: Iterable[str]) -> str:
    line = io.StringIO()
    # only characters of the terminator are sure to be quoted, and a name may hold either
    csv.writer(line, lineterminator="\r\n").writerow(values)
    return line.getvalue().removesuffix("\r\n") + "\n"


def table_text(outcomes: Outcomes) -> Iterator[str]:
    """Yield a paragraph an input, for people."""
    for outcome in outcomes:
        if isinstance(outcome.result, Prediction):
            lines = prediction_lines(outcome.result)
        else:
            lines = [f"not answered: {outcome.result.reason}"]
        yield "\n  ".join([outcome.input, *lines]) + "\n\n"


def prediction_lines(prediction: Prediction) -> list[str]:
    """Return a prediction as lines of text: the answer, then candidates and evidence as columns."""
    sure = "not calibrated" if prediction.confidence is None else f"{prediction.confidence:.0%}"
    lines = [
        f"{prediction.lat:.4f}, {prediction.lon:.4f}   {prediction.place}",
        *certainty_lines(prediction),
        f"{spread_text(prediction)}   confidence {sure}   rule {prediction.rule}",
    ]
    if prediction.between_candidates:
        lines.append(f"no single place is likely enough: rule {prediction.rule} answers between the candidates")
    lines.append("candidates, with their images")
    for c in prediction.candidates:
        lines.append(
            f"  {c.rank:>2}  p {c.probability:.3f}  cos {c.score:+.3f}  {c.lat:>9.4f} {c.lon:>10.4f}"
            f"  {c.n_images:>5} within {_km(c.radius_km):>5} km  {c.place}"
        )
    lines += copy_lines(prediction)
    lines += ["evidence, with its distance from the answer"] * bool(prediction.evidence)
    for e in prediction.evidence:
        lines.append(
            f"      cos {e.similarity:+.3f}  {e.lat:>9.4f} {e.lon:>10.4f}  {_km(e.distance_km):>6} km off  {e.id}"
        )
    return lines


def copy_lines(prediction: Prediction) -> list[str]:
    """Say if a stored photo is the one that was asked: an answer is an estimate from all, not the place of that one."""
    same = [e for e in prediction.evidence[:1] if e.similarity >= SAME_COSINE]
    return [f"this photo or a copy is in the index: {e.id} at {e.lat:.4f}, {e.lon:.4f}" for e in same]


def could_be_anywhere(prediction: Prediction) -> bool:
    """Tell whether the photo says so little that the answer means nothing."""
    return prediction.locatability is not None and prediction.locatability < ANYWHERE


def verdict(prediction: Prediction) -> str:
    """Return in a few words how sure the answer is."""
    if could_be_anywhere(prediction):
        return "It could be anywhere"
    if prediction.confidence is None:
        return "Its certainty was not measured"
    return next(words for least, words in VERDICTS if prediction.confidence >= least)


def certainty_lines(prediction: Prediction) -> list[str]:
    """Return how sure the answer is, in words; nothing where that was never calibrated."""
    lines = []
    if could_be_anywhere(prediction):
        lines.append("it could be anywhere: the photo hardly tells one part of the gallery from another")
    if prediction.within_km is not None:
        chances = ", ".join(f"{radius} km {chance:.0%}" for radius, chance in prediction.within_km.items())
        lines.append(f"right within {chances}")
    if prediction.radius50_km is not None and prediction.radius90_km is not None:
        radii = f"{_km(prediction.radius50_km)} km for half, {_km(prediction.radius90_km)} km for nine in ten"
        lines.append(f"of such answers the truth lies within {radii}")
    return lines


def spread_text(prediction: Prediction) -> str:
    """Return how far the probability is spread; one cluster that holds half of it has no radius of its own."""
    if prediction.radius_km == 0.0:
        return "half of the probability lies in the cluster of the answer"
    return f"half of the probability lies within {_km(prediction.radius_km)} km"


def _km(distance_km: float) -> str:
    return f"{distance_km:.1f}" if distance_km < 9.95 else f"{distance_km:,.0f}"


FORMATS: Mapping[str, Callable[[Outcomes], Iterator[str]]] = {
    "table": table_text,
    "json": json_text,
    "jsonl": jsonl_text,
    "geojson": geojson_text,
    "csv": csv_text,
}


def position_text(lat: float, lon: float) -> str:
    """Return a position as people write it."""
    return f"{abs(lat):.4f}° {'N' if lat >= 0 else 'S'}, {abs(lon):.4f}° {'E' if lon >= 0 else 'W'}"


def distance_text(distance_km: float) -> str:
    """Return a distance as people say it."""
    return f"{distance_km:,.0f} km" if distance_km >= 10.0 else f"{distance_km:.1f} km"
