"""All systems on the same queries: an index by its default and by every rule, its floors, and published rivals."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from geoindex.evaluation.answers import Answers
from geoindex.evaluation.confidence import Sureness
from geoindex.evaluation.protocol import Yardstick, measure_systems
from geoindex.evaluation.queries import Queries
from geoindex.evaluation.rivals import NEAREST_IMAGE
from geoindex.index import GeoIndex
from geoindex.metrics import accuracy, geoscore, measure

OWN = "geoindex, its default"
RADII_KM = (25.0, 200.0, 750.0)
BOOTSTRAPS = 2_000


@dataclass(frozen=True)
class Answered:
    """How far off every system is on some queries.

    Attributes:
        errors_km: (R, Q) by system, for R answers to each query; the index's default first.
        bits: what each photo told of its cell over the gallery's shares, (Q,).
        sureness: of the default.
        group: author or block of each query, (Q,), whose photos are not independent.
        rule: of the default; several where parts differ.
    """

    errors_km: dict[str, np.ndarray]
    bits: np.ndarray
    sureness: Sureness
    group: np.ndarray
    rule: str

    @classmethod
    def pooled(cls, parts: "Sequence[Answered]") -> "Answered":
        """Put the queries of several indexes together."""
        errors = {name: np.concatenate([part.errors_km[name] for part in parts], axis=1) for name in parts[0].errors_km}
        bits, group = (np.concatenate([getattr(part, name) for part in parts]) for name in ("bits", "group"))
        rules = " or ".join(sorted({part.rule for part in parts}))
        return cls(errors, bits, Sureness.joined([part.sureness for part in parts]), group, rules)


def ask_all(index: GeoIndex, queries: Queries, group: np.ndarray) -> Answered:
    """Ask an index, its floors and its rivals."""
    answers = Answers.of(index, queries, 0)
    assert answers.sureness is not None, "too few validation photos to calibrate"
    systems = measure_systems(index, queries, answers, Yardstick.of("geoindex", None, None, 0, None))
    errors = {system.name.split(" (")[0]: system.distance_km.reshape(-1, len(group)) for system in systems}
    rule = str(index.manifest.rule["name"])
    return Answered({OWN: errors[f"geoindex, {rule}"], **errors}, answers.bits, answers.sureness, group, rule)


class Resampling:
    """Resamples groups of queries, for intervals of means over the queries."""

    def __init__(self, group: np.ndarray) -> None:
        """Draw the resamples of the groups of queries, (Q,)."""
        names, self._number = np.unique(group, return_inverse=True)
        self._size = np.bincount(self._number)
        self._drawn = np.random.default_rng(0).integers(len(names), size=(BOOTSTRAPS, len(names)))

    def interval(self, values: np.ndarray) -> tuple[float, float]:
        """Return the ends of the 95 % interval of the mean of values, (Q,)."""
        sums = np.bincount(self._number, values)
        means = sums[self._drawn].sum(axis=1) / self._size[self._drawn].sum(axis=1)
        low, high = np.percentile(means, [2.5, 97.5])
        return float(low), float(high)

    def told(self, values: np.ndarray, form: str) -> str:
        """Return the mean of values, (Q,), and its interval as text."""
        low, high = self.interval(values)
        return f"{values.mean():{form}} ({low:{form}} to {high:{form}})"


def table(answered: Answered) -> str:
    """Return all systems as a Markdown table, the best by GeoScore first."""
    draws, own = Resampling(answered.group), geoscore(answered.errors_km[OWN]).mean(axis=0)
    radii = " | ".join(f"<{km:g} km %" for km in RADII_KM)
    lines = [f"| system | GeoScore (95 %) | default over it (95 %) | median km | {radii} |", f"| ---{' | ---:' * 6} |"]
    scores = {name: geoscore(km).mean(axis=0) for name, km in answered.errors_km.items()}
    for name in sorted(scores, key=lambda name: (-float(scores[name].mean()), name != OWN)):
        km = answered.errors_km[name]
        shares = " | ".join(f"{100 * accuracy(km, radius):.2f}" for radius in RADII_KM)
        over = "" if name == OWN else draws.told(own - scores[name], "+,.0f")
        shown = f"**{name}** ({answered.rule})" if name == OWN else name
        lines.append(
            f"| {shown} | {draws.told(scores[name], ',.0f')} | {over} | {measure(km).median_km:,.0f} | {shares} |"
        )
    return "\n".join(lines)


def verdicts(answered: Answered) -> str:
    """Say where the default is ahead of all others and of 1-NN, and where it is not."""
    draws, errors = Resampling(answered.group), answered.errors_km
    own = geoscore(errors[OWN]).mean(axis=0)
    others = [name for name in errors if not name.startswith("geoindex")]
    best = max(others, key=lambda name: float(geoscore(errors[name]).mean()))
    gains = draws.told(own - geoscore(errors[best]).mean(axis=0), "+,.0f")
    lines = [f"GeoScore over the best other, {best}: {gains}"]
    for km in RADII_KM:
        hits, nearest = (np.mean(errors[name] < km, axis=0) for name in (OWN, NEAREST_IMAGE))
        gain = draws.told(100.0 * (hits - nearest), "+.2f")
        lines.append(f"within {km:g} km over 1-NN: {gain} %, {hits.sum():.0f} photos and {nearest.sum():.0f}")
    known = np.isfinite(answered.bits)
    bits = Resampling(answered.group[known]).told(answered.bits[known], "+.3f")
    return "\n".join([*lines, f"information gain over the gallery's shares: {bits} bits a photo"])


def figures(answered: Answered) -> dict[str, Any]:
    """Return what a file of figures holds: GeoScore and shares by system, and the mean gain in bits."""
    rows = {
        name: {"geoscore": float(geoscore(km).mean()), **{f"<{r:g}": accuracy(km, r) for r in RADII_KM}}
        for name, km in answered.errors_km.items()
    }
    return {"rule": answered.rule, "systems": rows, "bits": float(np.nanmean(answered.bits))}
