"""What queries share with the gallery, and what the figures are without the queries that share it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoindex.errors import ConfigError
from geoindex.evaluation.intervals import Spread, spread_of
from geoindex.evaluation.neighbours import nearest_images
from geoindex.evaluation.queries import LEAK_LABELS, Queries
from geoindex.geo import nearest
from geoindex.index import GeoIndex
from geoindex.metrics import Convention, Metrics, measure
from geoindex.store.generations import IndexFolder
from geoindex.store.images import StoredImages, stored_images

NEAR_KM = 1.0
"""OSV-5M keeps its test photos this far from those it trains on."""

NEAR_COSINE = 0.99
"""Photos whose embeddings are this similar are taken for one scene; what that means depends on the encoder."""

ANY = "any of these"

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Limits:
    """From where on a query leaks.

    Attributes:
        near_km: closer than this to a photo of the gallery.
        near_cosine: embedding at least this similar to one of the gallery.
    """

    near_km: float = NEAR_KM
    near_cosine: float = NEAR_COSINE

    def __post_init__(self) -> None:
        if not self.near_km >= 0.0:
            raise ConfigError(f"Leaks within {self.near_km} km make no sense; give 0 or more.")
        if not -1.0 <= self.near_cosine <= 1.0:
            raise ConfigError(f"Leaks from a cosine of {self.near_cosine} make no sense; give -1 to 1.")


@dataclass(frozen=True, slots=True)
class Leak:
    """One thing that queries share with the gallery.

    Attributes:
        kind: what is shared.
        known: queries of which it can be told; 0: nothing is known of queries or gallery.
        queries: those that share it.
        leaking: metrics of every system on them, by its name; empty if there are none.
        without: metrics of every system on the others; empty if there are none.
        spread: how sure those of the default answers to the others are; None if there are none.
    """

    kind: str
    known: int
    queries: int
    leaking: dict[str, Metrics]
    without: dict[str, Metrics]
    spread: Spread | None


def find_leaks(index: GeoIndex, queries: Queries, limits: Limits) -> dict[str, tuple[int, Flags]]:
    """Return for each kind of leak of how many queries it can be told, and which queries leak, (Q,)."""
    gallery = index.searcher.sidecar.gallery
    rows = gallery.column("row")[gallery.live()].astype(np.int64)
    images = stored_images(IndexFolder(index.path), index.manifest.tables["images"])
    shared = {"same id": _shared(queries.ids, images.facts["id"].take(rows).to_pylist())}
    for label, kind in LEAK_LABELS.items():
        shared[kind] = _shared(queries.labels.get(label, []), _label(images, label, rows), len(queries.ids))
    similar = _nearest_cosine(queries.embeddings, gallery.live_embeddings()) >= limits.near_cosine
    close = nearest(*gallery.positions(), queries.lat, queries.lon)[1] < limits.near_km
    shared[f"look-alike, cosine {limits.near_cosine:g} or more"] = len(similar), similar
    shared[f"closer than {limits.near_km:g} km"] = len(close), close
    every = np.logical_or.reduce([flags for _, flags in shared.values()])
    return shared | {ANY: (len(every), every)}


def audit_leaks(
    leaks: dict[str, tuple[int, Flags]], errors_km: dict[str, Floats], own: str, countries: NDArray[np.str_],
    seed: int, convention: Convention,
) -> tuple[Leak, ...]:  # fmt: skip
    """Measure every system with and without the queries that leak.

    Args:
        leaks: what `find_leaks` found.
        errors_km: of the answers of every system by name, (Q,), or (R Q,) for R answers to each query.
        own: the system that answers by default.
        countries: of the queries, (Q,).
        seed: of the resampling.
        convention: how distances are counted.
    """

    def measured(part: Flags) -> dict[str, Metrics]:
        if not part.any():
            return {}
        return {name: measure(km[np.tile(part, len(km) // len(part))], convention) for name, km in errors_km.items()}

    def audited(kind: str, known: int, flags: Flags) -> Leak:
        kept = ~flags
        spread = spread_of(errors_km[own][kept], countries[kept], seed, convention) if kept.any() else None
        return Leak(kind, known, int(flags.sum()), measured(flags), measured(kept), spread)

    return tuple(audited(kind, known, flags) for kind, (known, flags) in leaks.items())


def _label(images: StoredImages, label: str, rows: NDArray[np.int64]) -> list[str | None]:
    values = images.label(label)
    return [values[row] for row in rows.tolist()]


def _shared(asked: Sequence[str | None], stored: Sequence[str | None], count: int | None = None) -> tuple[int, Flags]:
    """Return of how many queries a label is known, if it is of any of the gallery, and which have one that it has."""
    there = {value for value in stored if value}
    values = list(asked) or [None] * (count or 0)
    known = sum(bool(value) for value in values) if there else 0
    return known, np.array([value in there for value in values], bool)


def _nearest_cosine(queries: NDArray[np.float32], gallery: NDArray[np.float16]) -> Floats:
    """Return the cosine of each query, (Q, D), and the image of the gallery that is most like it, (Q,)."""
    found = gallery[nearest_images(queries, gallery, 1).rows[:, 0]].astype(np.float32)
    cosine = np.einsum("qd,qd->q", queries, found, dtype=np.float64)
    return np.asarray(cosine / np.maximum(np.linalg.norm(found, axis=1), 1e-12))
