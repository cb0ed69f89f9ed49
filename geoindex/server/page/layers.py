"""An answer, and an index, as layers of the page's map."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoindex.assembly.sites import partition_of
from geoindex.figures.card import circles_of, surroundings
from geoindex.figures.vector_map import Circle
from geoindex.figures.worldmap import circle_ring
from geoindex.geocells.outlines import Regions
from geoindex.prediction import WITHHELD, Prediction
from geoindex.presentation import could_be_anywhere
from geoindex.snapshot import Snapshot

SHOWN_CELLS = 12
"""Most probable cells that are drawn with an answer."""

SHOWN_CLUSTERS = 20_000
"""Clusters of an index that are drawn: those with the most images."""

DECIMALS = 4

Ring = list[list[float]]


@dataclass(frozen=True, slots=True)
class CellShare:
    """A cell, and the probability of the candidates in it."""

    cell: int
    probability: float


def answer_layers(prediction: Prediction, regions: Regions | None, shown: int) -> dict[str, Any]:
    """Return what the map draws of an answer, as plain JSON types.

    Args:
        prediction: the answer, with as many candidates as its cells shall be weighed by.
        regions: outlines of the cells of the generation that answered; None: cells are not drawn.
        shown: candidates that are drawn.
    """
    unsure = could_be_anywhere(prediction)
    south, north, west, east = surroundings(prediction)
    shares = shares_of(prediction)[:SHOWN_CELLS]
    return {
        "point": [prediction.lat, prediction.lon],
        "view": None if unsure else [[south, west], [north, east]],
        "circles": [] if unsure else [_circle(circle) for circle in circles_of(prediction)],
        "candidates": [
            {"rank": c.rank, "lat": c.lat, "lon": c.lon, "probability": c.probability, "place": c.place}
            for c in prediction.candidates[:shown]
        ],
        "cells": [_cell(share, regions) for share in shares] if regions is not None else [],
    }


def legend_of(layers: dict[str, Any], calibrated: bool) -> str:
    """Return what the marks of an answer mean, as HTML; only what is drawn is explained.

    Args:
        layers: of the answer.
        calibrated: whether the circles hold the truth of so many answers, or else so much probability.
    """
    half = "holds the truth of half of such answers" if calibrated else "holds half of the probability"
    drawn = {circle["kind"] for circle in layers["circles"]}
    keys = [("answer", "answer"), ("candidate", "candidates")]
    keys += [(kind, told) for kind, told in (("half", half), ("most", "of nine in ten")) if kind in drawn]
    keys += [("cell", "likely cells")] * bool(layers["cells"])
    return legend_html(keys)


def legend_html(keys: Iterable[tuple[str, str]]) -> str:
    """Return a legend: kinds of marks, and what they mean."""
    return "".join(f'<span><i class="{kind}-key"></i>{told}</span>' for kind, told in keys)


def shares_of(prediction: Prediction) -> list[CellShare]:
    """Return the cells of the candidates by falling probability; none if the server withholds them."""
    shares: dict[int, float] = {}
    for candidate in prediction.candidates:
        if candidate.cell != WITHHELD:
            shares[candidate.cell] = shares.get(candidate.cell, 0.0) + candidate.probability
    return [CellShare(cell, share) for cell, share in sorted(shares.items(), key=lambda item: -item[1])]


def index_layers(snapshot: Snapshot, regions: Regions) -> dict[str, Any]:
    """Return the cells of an index with their images and area, and its largest clusters, as plain JSON types."""
    sidecar = snapshot.searcher.sidecar
    images = sidecar.cells.numbers("n_images")
    cells = [
        {"cell": cell, "images": int(images[cell]), "area_km2": round(float(regions.area_km2[cell])), "rings": rings}
        for cell, rings in ((cell, _rings(regions, cell)) for cell in range(len(regions)))
    ]
    lat, lon, count = (sidecar.clusters.numbers(name) for name in ("lat", "lon", "n_images"))
    largest = np.argsort(-count, kind="stable")[:SHOWN_CLUSTERS]
    clusters = np.column_stack([np.round(lat[largest], DECIMALS), np.round(lon[largest], DECIMALS), count[largest]])
    return {"cells": cells, "clusters": clusters.tolist()}


def regions_of(snapshot: Snapshot) -> Regions:
    """Return the outlines of a generation's cells."""
    cells = snapshot.searcher.sidecar.cells
    return partition_of(snapshot.manifest, cells.numbers("site_lat"), cells.numbers("site_lon")).regions()


def _cell(share: CellShare, regions: Regions) -> dict[str, Any]:
    return {"cell": share.cell, "probability": share.probability, "rings": _rings(regions, share.cell)}


def _rings(regions: Regions, cell: int) -> list[Ring]:
    return [_rounded(piece[:, ::-1]) for piece in regions.pieces[cell]]


def _circle(circle: Circle) -> dict[str, Any]:
    ring = circle_ring(circle.lat, circle.lon, circle.radius_km)
    return {"kind": circle.kind, "radius_km": circle.radius_km, "ring": _rounded(ring)}


def _rounded(ring: NDArray[np.float64]) -> Ring:
    points: Ring = np.round(ring, DECIMALS).tolist()
    return points
