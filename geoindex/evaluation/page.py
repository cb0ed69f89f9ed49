"""The report of an evaluation as one HTML page that needs nothing else: no network, no other file, no script to read.

What comes from outside, such as names of files, is escaped.
"""

import json
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from typing import Any

from geoindex.evaluation.breakdown import FEWEST, Standing
from geoindex.evaluation.cases import Case
from geoindex.evaluation.confidence import NOTE as CONFIDENCE_NOTE
from geoindex.evaluation.confidence import Chance, Radius, signed
from geoindex.evaluation.findings import MISTAKES, Findings
from geoindex.evaluation.page_style import SORTING, STYLE
from geoindex.evaluation.report import Row
from geoindex.evaluation.rivals import ABOUT
from geoindex.geo import haversine_km
from geoindex.metrics import Metrics
from geoindex.prediction import Evidence
from geoindex.presentation import distance_text

SECTIONS = {
    "systems": "Beside floors and rivals", "map": "Where it errs", "countries": "By country",
    "calibration": "Calibration", "confusion": "Confusion between cells", "worst": "Worst answers",
    "best": "Best answers", "settings": "Settings and fingerprints",
}  # fmt: skip

WORDS = ("true cell", "taken for")
"""Heads of columns of words."""

RULES = {
    "nearest": "the centroid of the cluster with the closest geo-embedding",
    "posterior": "the centroid of the most probable cluster",
    "distance": "the point with the least expected distance",
    "score": "the point with the largest expected GeoScore, or one as good with more of the probability near it",
}


def render_page(findings: Findings, pictures: Mapping[str, bytes]) -> str:
    """Return the page.

    Args:
        findings: what the evaluation found.
        pictures: PNGs by name: errors, curves, confusion, and countries and calibration where there is one.
    """
    links = "".join(f'<a href="#{key}">{title}</a>' for key, title in SECTIONS.items())
    contents = {
        "systems": _systems(findings, pictures), "map": _picture(pictures, "errors", "World map of the errors"),
        "countries": _countries(findings, pictures), "calibration": _calibration(findings, pictures),
        "confusion": _confusion(findings, pictures),
        "worst": _cases(findings.cases.worst), "best": _cases(findings.cases.best),
        "settings": _settings(findings.settings),
    }  # fmt: skip
    sections = [f'<section id="{key}"><h2>{SECTIONS[key]}</h2>{text}</section>' for key, text in contents.items()]
    return "\n".join(
        [
            '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<link rel="icon" href="data:,">',
            f"<title>{_title(findings)}</title><style>{STYLE}</style></head><body>",
            _head(findings), _weakest(findings), f"<nav>{links}</nav>", *sections,
            f"<script>{SORTING}</script></body></html>\n",
        ]
    )  # fmt: skip


def _title(findings: Findings) -> str:
    return escape(f"How good is {findings.report.index}?")


def _head(findings: Findings) -> str:
    report = findings.report
    told = (
        f"{report.count:,} queries ({report.queries}) against {report.gallery:,} photos in {report.cells:,} cells and "
        f"{report.clusters:,} clusters; encoder {report.encoder or 'none'}."
    )
    warning = ""
    if report.in_gallery:
        text = f"{report.in_gallery:,} of the queries are in the gallery themselves; these figures flatter."
        warning = f'<p class="warning">{escape(text)}</p>'
    if report.queries == "split val":
        warning += '<p class="warning">Scales and rule were fitted on these queries; ask for --split test.</p>'
    return f"<h1>{_title(findings)}</h1><p>{escape(told)}</p>{warning}{_tiles(findings)}"


def _tiles(findings: Findings) -> str:
    own, spread = findings.report.own, next(r.spread for r in findings.report.rows if r.kind == "own")
    facts = [("median error", distance_text(own.median_km)), ("GeoScore, of 5,000", f"{own.geoscore:,.0f}")]
    facts += [(f"closer than {radius} km", f"{own.accuracy[radius]:.1f} %") for radius in ("25", "200", "750")]
    others = [row for row in findings.report.rows if row.kind in ("floor", "rival")]
    best = max(others, key=lambda row: row.metrics.geoscore)
    facts.append((f"GeoScore of the best other: {best.name}", f"{best.metrics.geoscore:,.0f}"))
    tiles = [f'<div class="tile"><b>{escape(value)}</b>{escape(name)}</div>' for name, value in facts]
    sure = ""
    if spread is not None:
        text = f"95 % interval of the GeoScore: {spread.low.geoscore:,.0f} to {spread.high.geoscore:,.0f}; of the "
        text += f"median error: {distance_text(spread.low.median_km)} to {distance_text(spread.high.median_km)}."
        sure = f'<p class="quiet">{escape(text)}</p>'
    return f'<div class="tiles">{"".join(tiles)}</div>{sure}'


def _weakest(findings: Findings) -> str:
    if not findings.weakest:
        text = f"No country has {FEWEST} queries or more, which it takes to call one weak."
        return f'<div class="weak"><h2>Weakest countries</h2><p>{text}</p></div>'
    items = "".join(
        f"<li><b>{escape(each.part.name)}</b>: GeoScore {each.geoscore.value:,.0f} "
        f'<span class="quiet">({each.geoscore.low:,.0f} to {each.geoscore.high:,.0f})</span>, median error '
        f"{distance_text(each.part.metrics.median_km)}, {each.part.metrics.count:,} photos</li>"
        for each in findings.weakest
    )
    note = f'<p class="quiet">By GeoScore, of the countries with at least {FEWEST} queries; '
    note += 'in brackets the 95 % interval. <a href="#countries">All countries</a></p>'
    return f'<div class="weak"><h2>Weakest countries</h2><ol>{items}</ol>{note}</div>'


def _systems(findings: Findings, pictures: Mapping[str, bytes]) -> str:
    lead = (
        "All answer the same queries with the same embeddings and gallery. Floors need less than the index does; "
        "rivals are published ways to answer, with published settings. Intervals are by resampling the "
        "queries; the last columns hold the percentage of answers closer than so many km."
    )
    rows = sorted(findings.report.rows, key=lambda row: -row.metrics.geoscore)
    table = _table(["system", "GeoScore", "95 %", *_metric_heads(rows[0].metrics)], map(_system_row, rows))
    return f"<p>{lead}</p>{_picture(pictures, 'curves', 'Error curves of all systems')}{table}"


def _system_row(row: Row) -> str:
    about = next((text for start, text in ABOUT.items() if row.name.startswith(start)), "")
    if not about:
        rule = RULES.get(row.name.rpartition(", ")[2], "")
        about = rule + (": how this index answers by default" if row.kind == "own" else "")
    span = "" if row.spread is None else f"{row.spread.low.geoscore:,.0f} – {row.spread.high.geoscore:,.0f}"
    name = f"{escape(row.name)}<small>{escape(about)}</small>"
    cells = [_cell(name, row.name), _number(row.metrics.geoscore, 0), f"<td>{span}</td>", *_metric_cells(row.metrics)]
    return f"<tr{' class=own' if row.kind == 'own' else ''}>{''.join(cells)}</tr>"


def _countries(findings: Findings, pictures: Mapping[str, bytes]) -> str:
    lead = "The weakest first. Click a head to sort."
    judged = _standings("country", [each for each in findings.countries if each.judged])
    few = [each for each in findings.countries if not each.judged]
    folded = _folded(f"{len(few):,} countries with fewer than {FEWEST} queries", _standings("country", few))
    picture = _picture(pictures, "countries", "GeoScore by country") if "countries" in pictures else ""
    continents = _standings("continent", findings.continents)
    return f"{picture}<p>{lead}</p>{judged}{folded if few else ''}<h3>By continent</h3>{continents}"


def _standings(head: str, standings: Sequence[Standing]) -> str:
    if not standings:
        return ""
    heads = [head, "photos", "GeoScore", "95 %", *_metric_heads(standings[0].part.metrics)]
    return _table(heads, map(_standing_row, standings), "sortable")


def _standing_row(standing: Standing) -> str:
    part, score = standing.part, standing.geoscore
    cells = [_cell(escape(part.name), part.name), _number(part.metrics.count, 0), _number(score.value, 0)]
    span = f"{score.low:,.0f} – {score.high:,.0f}" if standing.judged else ""
    cells.append(_cell(span, f"{score.low:.3f}"))
    return f"<tr{'' if standing.judged else ' class=few'}>{''.join([*cells, *_metric_cells(part.metrics)])}</tr>"


def _calibration(findings: Findings, pictures: Mapping[str, bytes]) -> str:
    """Say how well the index knew how good its answers were."""
    told = findings.report.confidence
    if told is None:
        return "<p>The confidence of this index was never calibrated, so its answers carry none.</p>"
    lead = (
        "Every answer tells its chance of being close, learned when the index was built from photos that are not asked "
        "here. A dot on the dotted line was kept: of the answers that told 10 %, one in ten was right. Dots below it "
        "told too much. The lower curves say how many answers are wrong if only the surest are given. Intervals take "
        "photos for independent; those of one photographer are not, so they are too narrow."
    )
    chances = _table(
        ["closer than", "right %", "told %", "ECE", "ECE if kept", "Brier skill", "risk saved"],
        map(_chance, told.chances),
    )
    radii = _table(["radius", "holds %", "median km", "around the best constant, km"], map(_radius, told.radii))
    saved = f"Of the GeoScore that is lost, an order by the 50 % radius saves {signed(told.saved)}."
    notes = f'<p class="quiet">{escape(CONFIDENCE_NOTE)}. {saved}</p>'
    return f"<p>{lead}</p>{_picture(pictures, 'calibration', 'Reliability and risk')}{chances}{notes}{radii}"


def _chance(chance: Chance) -> str:
    cells = [_cell(f"{chance.radius_km:g} km", f"{chance.radius_km:g}")]
    cells += [_number(100.0 * share, 1) for share in (chance.right, chance.told)]
    cells += [
        _number(chance.error, 3),
        _number(chance.kept_error, 3),
        *(f"<td>{signed(value)}</td>" for value in (chance.skill, chance.saved)),
    ]
    return f"<tr>{''.join(cells)}</tr>"


def _radius(radius: Radius) -> str:
    cells = [_cell(f"of {radius.share:.0%} of the truths", f"{radius.share:g}"), _number(100.0 * radius.held, 1)]
    return f"<tr>{''.join([*cells, _number(radius.median_km, 0), _number(radius.constant_km, 0)])}</tr>"


def _confusion(findings: Findings, pictures: Mapping[str, bytes]) -> str:
    lead = (
        f"The most probable cell is the true one for {findings.confusion.right:.1%} of the queries. A row holds the "
        "queries of one cell; the frame marks those that are right."
    )
    mistakes = findings.confusion.mistakes(MISTAKES)
    rows = [
        f'<tr><td>{escape(each.true)}</td><td class="text">{escape(each.answered)}</td>{_number(each.count, 0)}'
        f"{_number(100.0 * each.count / each.of, 0)}</tr>"
        for each in mistakes
    ]
    table = _table(["true cell", "taken for", "queries", "% of the cell"], rows) if rows else ""
    return f"<p>{lead}</p>{_picture(pictures, 'confusion', 'Matrix of confused cells')}{table}"


def _cases(cases: Sequence[Case]) -> str:
    return f'<div class="cases">{"".join(map(_case, cases))}</div>' if cases else "<p>There are none.</p>"


def _case(case: Case) -> str:
    answer = case.prediction
    facts = {
        "photo": case.id,
        "truth": f"{case.place} ({case.lat:.3f}, {case.lon:.3f})",
        "answer": f"{answer.place} ({answer.lat:.3f}, {answer.lon:.3f})",
        "likeliest": ", ".join(f"{c.place} {c.probability:.0%}" for c in answer.candidates[:2]),
    }
    items = "".join(f"<dt>{name}</dt><dd>{escape(text)}</dd>" for name, text in facts.items())
    evidence = "".join(_evidence(case, each, picture) for each, picture in case.evidence)
    return (
        f'<article class="case">{_photo(case.picture, case.id)}'
        f'<div class="error">{distance_text(case.error_km)} off</div>'
        f'<dl>{items}</dl><p class="quiet">Most similar stored photos</p>'
        f'<div class="evidence">{evidence}</div></article>'
    )


def _evidence(case: Case, evidence: Evidence, picture: bytes | None) -> str:
    off_km = float(haversine_km(case.lat, case.lon, evidence.lat, evidence.lon))
    told = f"{distance_text(off_km)} from the truth, cosine {evidence.similarity:.2f}"
    return f"<div>{_photo(picture, evidence.id)}{escape(told)}</div>"


def _photo(picture: bytes | None, name: str) -> str:
    if picture is None:
        return '<div class="nothing">no picture at hand</div>'
    return f'<img alt="{escape(name)}" loading="lazy" src="data:image/jpeg;base64,{b64encode(picture).decode()}">'


def _picture(pictures: Mapping[str, bytes], name: str, text: str) -> str:
    data = b64encode(pictures[name]).decode()
    return f'<figure><img alt="{escape(text)}" src="data:image/png;base64,{data}"></figure>'


def _settings(settings: Mapping[str, Any]) -> str:
    shown = {name: facts for name, facts in settings.items() if name not in ("files", "recipe")}
    rows = [
        f"<tr><td>{escape(f'{section}: {key}')}</td><td>{escape(_plain(value))}</td></tr>"
        for section, facts in shown.items()
        for key, value in facts.items()
    ]
    more = {"Fingerprints of the files (sha256)": settings["files"], "Recipe of the index": settings["recipe"]}
    folded = "".join(_folded(title, _listing(facts)) for title, facts in more.items())
    return f'<table class="facts"><tbody>{"".join(rows)}</tbody></table>{folded}'


def _folded(title: str, contents: str) -> str:
    return f"<details><summary>{title}</summary>{contents}</details>"


def _listing(facts: Mapping[str, Any]) -> str:
    return f"<pre>{escape(json.dumps(facts, indent=1, ensure_ascii=False))}</pre>"


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _table(heads: Iterable[str], rows: Iterable[str], kind: str = "") -> str:
    head = "".join(f"<th{' class=text' if name in WORDS else ''}>{escape(name)}</th>" for name in heads)
    start = f'<div class="scroll"><table class="{kind}"><thead><tr>{head}</tr></thead>'
    return f"{start}<tbody>{''.join(rows)}</tbody></table></div>"


def _metric_heads(metrics: Metrics) -> list[str]:
    return ["median km", "mean km", *(f"<{radius}" for radius in metrics.accuracy)]


def _metric_cells(metrics: Metrics) -> Iterator[str]:
    yield _number(metrics.median_km, 0)
    yield _number(metrics.mean_km, 0)
    yield from (_number(share, 1) for share in metrics.accuracy.values())


def _number(value: float, digits: int) -> str:
    return _cell(f"{value:,.{digits}f}", f"{value:.6g}")


def _cell(text: str, value: str) -> str:
    """Return a cell with what it is sorted by."""
    return f'<td data-value="{escape(value)}">{text}</td>'
