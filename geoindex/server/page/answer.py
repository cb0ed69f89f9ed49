"""An answer as HTML of the page: where, how sure, which else, and why. What comes from outside is escaped."""

from collections.abc import Callable, Iterator, Mapping
from html import escape

from geoindex.prediction import Candidate, Evidence, Prediction
from geoindex.presentation import (
    SHOWN_CANDIDATES,
    certainty_lines,
    copy_lines,
    could_be_anywhere,
    distance_text,
    position_text,
    spread_text,
    verdict,
)

Address = Callable[[Evidence], str | None]
"""Returns where the page finds the picture of a stored image; None if it has none."""


def render_summary(prediction: Prediction) -> str:
    """Return where, and how sure."""
    unsure = could_be_anywhere(prediction)
    lines = [f"<li>{escape(_sentence(line))}</li>" for line in _lines(prediction)]
    return (
        f'<article class="answer{" unsure" * unsure}">'
        f'<p class="verdict">{verdict(prediction)}</p><h2>{escape(prediction.place)}</h2>'
        f'<p class="position">{escape(position_text(prediction.lat, prediction.lon))}</p>'
        f'{_chances(prediction.within_km)}<ul class="facts">{"".join(lines)}</ul></article>'
    )


def render_details(prediction: Prediction, picture_of: Address) -> str:
    """Return which else, why, and how fast.

    Args:
        prediction: the answer.
        picture_of: where pictures of stored images are.
    """
    return (
        f"{_candidates(prediction.candidates[:SHOWN_CANDIDATES])}{_evidence(prediction, picture_of)}"
        '<p class="actions"><button type="button" class="plain" data-download>Download GeoJSON</button></p>'
        f"{_timings(prediction.timings_ms)}"
    )


def _sentence(line: str) -> str:
    return f"{line[0].upper()}{line[1:]}."


def _chances(within_km: Mapping[str, float] | None) -> str:
    """Return how likely the truth is within each radius."""
    tiles = "".join(
        f"<div><dt>within {r} km</dt><dd>{chance:.0%}</dd></div>" for r, chance in (within_km or {}).items()
    )
    return f'<dl class="within" aria-label="Chance that the answer is right">{tiles}</dl>' if tiles else ""


def _lines(prediction: Prediction) -> Iterator[str]:
    """Yield what is to be said of the answer, beside its chances."""
    for line in certainty_lines(prediction):
        if not line.startswith("right within"):
            yield line.removeprefix("it could be anywhere: ")
    if prediction.radius90_km is None:
        yield spread_text(prediction)
    yield from copy_lines(prediction)
    if prediction.between_candidates:
        yield "no single place is likely enough: the answer lies between the candidates"
    if prediction.max_precision_km is not None:
        yield f"this server rounds its answers to {prediction.max_precision_km:g} km"


def _candidates(candidates: tuple[Candidate, ...]) -> str:
    items = "".join(f"<li>{_candidate(c)}</li>" for c in candidates)
    return (
        f'<section aria-labelledby="cands"><h3 id="cands">Candidates</h3><ol class="candidates">{items}</ol></section>'
    )


def _candidate(candidate: Candidate) -> str:
    """Return a button that flies to a candidate."""
    name, _, rest = candidate.place.partition(", ")
    chance = f"{candidate.probability:.1%}"
    label = f"Show candidate {candidate.rank} on the map: {candidate.place}, probability {chance}"
    return (
        f'<button type="button" data-lat="{candidate.lat:.6f}" data-lon="{candidate.lon:.6f}" '
        f'data-rank="{candidate.rank}" aria-label="{escape(label)}" style="--share:{candidate.probability:.3f}">'
        f'<span class="rank">{candidate.rank}</span><span class="name">{escape(name)}'
        f'<small>{escape(rest)}</small></span><span class="chance">{chance}</span></button>'
    )


def _evidence(prediction: Prediction, picture_of: Address) -> str:
    if not prediction.evidence:
        return ""
    shown = "".join(_stored(each, picture_of(each)) for each in prediction.evidence)
    title = "Stored photos most like yours"
    return f'<section aria-labelledby="like"><h3 id="like">{title}</h3><div class="evidence">{shown}</div></section>'


def _stored(evidence: Evidence, address: str | None) -> str:
    picture = ""
    if address is not None:
        picture = f'<img src="{escape(address)}" alt="">'
    told = f"{distance_text(evidence.distance_km)} off, likeness {evidence.similarity:.2f}"
    label = f"Show the stored photo {evidence.id} on the map, {told}"
    return (
        f'<button type="button" data-lat="{evidence.lat:.6f}" data-lon="{evidence.lon:.6f}" '
        f'aria-label="{escape(label)}">{picture}<span>{escape(evidence.id)}</span><small>{told}</small></button>'
    )


def _timings(timings_ms: Mapping[str, float]) -> str:
    rows = "".join(f"<tr><th scope=row>{escape(step)}</th><td>{ms:.1f} ms</td></tr>" for step, ms in timings_ms.items())
    total = sum(timings_ms.values())
    return f'<details class="timings"><summary>Answered in {total:.0f} ms</summary><table>{rows}</table></details>'
