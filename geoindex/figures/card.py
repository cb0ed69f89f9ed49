"""A prediction as a piece of a page, as notebooks show it: the answer in words, two maps, candidates."""

import hashlib
import math
from collections.abc import Iterator
from html import escape

import numpy as np

from geoindex.figures.vector_map import LEAST_SQUEEZE, Circle, Mark, draw_map, land_symbol
from geoindex.figures.worldmap import Extent, world_extent
from geoindex.geo import KM_PER_DEGREE, haversine_km
from geoindex.prediction import Candidate, Prediction
from geoindex.presentation import SHOWN_CANDIDATES, certainty_lines, spread_text, verdict

WIDEST_KM = 9000.0
"""Circles wider than this are not drawn: they would say "somewhere on Earth"."""

NEAREST_VIEW_KM, FARTHEST_VIEW_KM = 150.0, 2500.0
"""Reach of the map of the surroundings."""

ASPECT = 2.5
"""Width over height of the map of the surroundings, in km."""


LIGHT = (
    "--page:#fff;--ink:#22272b;--quiet:#5d676f;--line:#dbe1e5;--sea:#eef3f6;--land:#dad7cf;--border:#fff;"
    "--own:#b84f00;--dot:#e69f00"
)
DARK = (
    "--page:#1b2024;--ink:#e6eaed;--quiet:#a2adb5;--line:#39434a;--sea:#12171a;--land:#3b4248;--border:#20262a;"
    "--own:#ff9a52;--dot:#f0b83d"
)

STYLE = f"""
.geoindex-card{{{LIGHT};background:var(--page);color:var(--ink);border:1px solid var(--line);border-radius:8px;
padding:1rem;max-width:60rem;font:14px/1.45 system-ui,"Segoe UI","DejaVu Sans",sans-serif;position:relative}}
@media (prefers-color-scheme:dark){{.geoindex-card{{{DARK}}}}}
[data-jp-theme-light="true"] .geoindex-card,body.vscode-light .geoindex-card{{{LIGHT}}}
[data-jp-theme-light="false"] .geoindex-card,body.vscode-dark .geoindex-card{{{DARK}}}
.geoindex-card .place{{font-size:1.35rem;font-weight:650;line-height:1.25}}
.geoindex-card .verdict{{color:var(--own);font-weight:650}}
.geoindex-card .quiet{{color:var(--quiet)}}
.geoindex-card .maps{{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,17rem),1fr));gap:.6rem;
margin:.7rem 0;align-items:start}}
.geoindex-card .maps svg{{width:100%;height:auto;background:var(--sea);border-radius:6px;display:block}}
.geoindex-card path,.geoindex-card circle{{vector-effect:non-scaling-stroke}}
.geoindex-card .half{{fill:var(--own);fill-opacity:.16;stroke:var(--own);stroke-width:1.4px}}
.geoindex-card .most{{fill:var(--own);fill-opacity:.07;stroke:var(--own);stroke-width:1.2px;stroke-dasharray:5 4}}
.geoindex-card .candidate{{fill:var(--dot);stroke:var(--page);stroke-width:1px}}
.geoindex-card .answer{{fill:var(--own);stroke:var(--page);stroke-width:1.5px}}
.geoindex-card table{{border-collapse:collapse;width:100%;font-size:13px;font-variant-numeric:tabular-nums}}
.geoindex-card th,.geoindex-card td{{text-align:right;padding:.2rem .4rem;border-bottom:1px solid var(--line)}}
.geoindex-card th{{color:var(--quiet);font-weight:600}}
.geoindex-card .text{{text-align:left;width:99%}}
"""


def render_card(prediction: Prediction) -> str:
    """Return the card as HTML that needs no script and no network; names are escaped."""
    told = repr((prediction.lat, prediction.lon, prediction.generation, prediction.candidates))
    land = f"land-{hashlib.sha256(told.encode()).hexdigest()[:12]}"
    maps = "".join(_maps(prediction, land))
    lines = "".join(f"<div>{escape(line)}</div>" for line in _sentences(prediction))
    return (
        f'<div class="geoindex-card"><style>{STYLE}</style><div class="place">{escape(prediction.place)}</div>'
        f'<div class="quiet">{prediction.lat:.4f}, {prediction.lon:.4f}</div>'
        f'<div class="verdict">{verdict(prediction)}</div>{lines}{land_symbol(land)}'
        f'<div class="maps">{maps}</div>{_legend(prediction)}{_table(prediction.candidates)}</div>'
    )


def circles_of(prediction: Prediction) -> list[Circle]:
    """Return the calibrated circles of an answer, the wider one first, or else the one of half of the probability."""
    radii = [(prediction.radius90_km, "most"), (prediction.radius50_km, "half")]
    if prediction.radius90_km is None:
        radii = [(prediction.radius_km, "half")]
    shown = [(radius, kind) for radius, kind in radii if radius is not None and 0.0 < radius < WIDEST_KM]
    return [Circle(prediction.lat, prediction.lon, radius, kind) for radius, kind in shown]


def _sentences(prediction: Prediction) -> Iterator[str]:
    for line in (*certainty_lines(prediction), spread_text(prediction)):
        yield f"{line[0].upper()}{line[1:]}."


def _maps(prediction: Prediction, land: str) -> Iterator[str]:
    shown, circles = prediction.candidates[:SHOWN_CANDIDATES], circles_of(prediction)
    extent = world_extent([prediction.lat, *(c.lat for c in shown)])
    yield draw_map(extent, _marks(prediction, 1.0), circles, land, f"World map: {prediction.place}")
    window = surroundings(prediction)
    yield draw_map(window, _marks(prediction, 1.6), circles, land, f"Surroundings of {prediction.place}")


def _marks(prediction: Prediction, grow: float) -> list[Mark]:
    marks = [
        Mark(c.lat, c.lon, "candidate", grow * (0.5 + 1.2 * c.probability**0.5), _told(c))
        for c in reversed(prediction.candidates[:SHOWN_CANDIDATES])
    ]
    return [*marks, Mark(prediction.lat, prediction.lon, "answer", grow * 0.85, f"Answer: {prediction.place}")]


def _told(candidate: Candidate) -> str:
    return f"Candidate {candidate.rank}: {candidate.place}, {candidate.probability:.1%}"


def surroundings(prediction: Prediction) -> Extent:
    """Return the surroundings of the answer: its circles, and the candidates that are not far away."""
    lats, lons = np.array([(c.lat, c.lon) for c in prediction.candidates[:SHOWN_CANDIDATES]] or [(0.0, 0.0)]).T
    off_km = haversine_km(prediction.lat, prediction.lon, lats, lons)
    near = off_km[off_km < FARTHEST_VIEW_KM / 1.5].tolist()
    reach_km = 1.2 * max([NEAREST_VIEW_KM, *near, *(circle.radius_km for circle in circles_of(prediction))])
    north = min(reach_km, FARTHEST_VIEW_KM) / KM_PER_DEGREE
    middle = float(np.clip(prediction.lat, north - 90.0, 90.0 - north))
    east = min(ASPECT * north / max(math.cos(math.radians(middle)), LEAST_SQUEEZE), 170.0)
    return middle - north, middle + north, prediction.lon - east, prediction.lon + east


def _legend(prediction: Prediction) -> str:
    if prediction.radius90_km is None:
        told = "The circle holds half of the probability."
    else:
        told = "The truth of half of such answers lies in the inner circle, of nine in ten in the dashed one."
    return f'<div class="quiet">{told} Dots are candidates, larger where more probable.</div>'


def _table(candidates: tuple[Candidate, ...]) -> str:
    rows = "".join(
        f'<tr><td>{c.rank}</td><td class="text">{escape(c.place)}</td><td>{c.probability:.1%}</td>'
        f"<td>{c.lat:.3f}</td><td>{c.lon:.3f}</td><td>{c.n_images:,}</td></tr>"
        for c in candidates[:SHOWN_CANDIDATES]
    )
    heads = '<th></th><th class="text">candidate</th><th>probability</th><th>lat</th><th>lon</th><th>images</th>'
    return f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"
