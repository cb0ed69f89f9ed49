"""Polygons on the sphere become GeoJSON: arcs followed, cut at the antimeridian, closed over the poles."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from geoindex import geo
from geoindex.geocells.polygons import Polygons
from geoindex.geocells.positions import Floats

STEP_DEG = 1.0
"""Longest arc that is drawn as one straight line in degrees."""

POLE_DEG = 90.0 - 1e-7
"""Latitudes beyond this are the pole."""

AT_POLE = 1e-9
"""Length in Earth radii under which a line is not made shorter."""

DECIMALS = 7
"""Digits of a degree, about a centimetre (RFC 7946 section 11.2)."""

TURN_DEG = 3.0
"""Widest turn of longitude along one line; it is off the arc by 0.03 % of the distance from the pole."""

POINT = 1e-12
"""Distance in Earth radii, about 6 micrometres, under which points are one."""

STRAIGHT = 1e-9
"""Turn in radians under which a corner is none."""

WIDEST_DEG = 90.0
"""Widest line along a pole, so that no reader takes it for one across the antimeridian."""

WORLD = np.array([[-180.0, -90.0], [180.0, -90.0], [180.0, 90.0], [-180.0, 90.0]])


@dataclass(frozen=True, slots=True, eq=False)
class Regions:
    """Outlines of cells on the map, one entry a cell.

    Attributes:
        pieces: closed rings of degrees (lon, lat) within -180..180, each (K, 2), anticlockwise; none for a cell
            without land. No ring crosses the antimeridian.
        area_km2: area of each cell on the sphere, (C,).
    """

    pieces: tuple[list[Floats], ...]
    area_km2: Floats

    def __len__(self) -> int:
        return len(self.pieces)


def regions_of(polygons: Polygons) -> Regions:
    """Return spherical polygons as outlines: cut at the antimeridian, with points along every arc."""
    given = zip(polygons.rings, polygons.area_km2, strict=True)
    return Regions(tuple(flat_pieces(ring) if len(ring) or area > 0 else [] for ring, area in given), polygons.area_km2)


def to_geojson(regions: Regions, properties: Sequence[dict[str, Any]] | None = None) -> dict[str, Any]:
    """Return a FeatureCollection with one feature a cell (RFC 7946).

    Cells over the antimeridian are a MultiPolygon (section 3.1.9), cells that hold a pole run along it, and outer
    rings are anticlockwise. A cell without land has the geometry null.

    Args:
        regions: from `regions_of`.
        properties: what to write beside each cell's `cell` and `area_km2`.
    """
    features = []
    for cell, (pieces, area) in enumerate(zip(regions.pieces, regions.area_km2, strict=True)):
        facts = {"cell": cell, "area_km2": float(area), **(properties[cell] if properties else {})}
        features.append({"type": "Feature", "id": cell, "properties": facts, "geometry": _geometry(pieces)})
    return {"type": "FeatureCollection", "features": features}


def flat_pieces(ring: Floats) -> list[Floats]:
    """Return one ring of corners (lat, lon) as closed rings of (lon, lat) within -180..180, each (K, 2).

    The ring must be convex and anticlockwise, as Voronoi regions are; an empty one stands for the whole Earth. One too
    narrow to draw has no pieces.
    """
    if len(ring) == 0:
        return [_closed(WORLD)]
    points = _followed(geo.to_unit(ring[:, 0], ring[:, 1]))
    if len(points) < 3:
        return []
    flat = _over_pole(_unrolled(points))
    first = int(np.floor((flat[:, 0].min() + 180.0) / 360.0))
    last = int(np.ceil((flat[:, 0].max() + 180.0) / 360.0))
    pieces = []
    for turn in range(first, last):
        piece = _strip(flat - [360.0 * turn, 0.0])
        if len(piece) >= 3 and np.ptp(piece[:, 0]) > 1e-9:
            pieces.append(_closed(piece))
    return pieces


def _followed(corners: Floats) -> Floats:
    """Put points on the arcs of a ring, (K, 3): one each `STEP_DEG`, and more near a pole.

    They stand at places of the great circle that do not depend on where an arc ends, so that both sides of a border
    have the same ones and narrow regions do not cross themselves.
    """
    corners = corners[np.linalg.norm(np.roll(corners, -1, axis=0) - corners, axis=1) > POINT]
    if len(corners) < 3:
        return corners
    pole, angle = _arcs(corners)
    turns = np.flatnonzero(np.linalg.norm(pole - np.roll(pole, 1, axis=0), axis=1) > STRAIGHT)
    if len(turns) == 0:
        return _finer(_on_circle(pole[0], corners[0], 2.0 * np.pi + 2.0 * POINT))
    points = []
    for start, end in zip(turns, np.append(turns[1:], turns[0] + len(corners)), strict=True):
        edges = np.arange(start, end) % len(corners)  # parts of one arc
        longest = edges[np.argmax(angle[edges])]
        points += [corners[start, None], _on_circle(pole[longest], corners[start], float(angle[edges].sum()))]
    return _finer(np.concatenate(points))


def _arcs(corners: Floats) -> tuple[Floats, Floats]:
    """Return the pole, (K, 3), and the length in radians, (K,), of the arc from each corner to the next."""
    after = np.roll(corners, -1, axis=0)
    pole = np.cross(corners, after)
    length = np.linalg.norm(pole, axis=1)
    return pole / length[:, None], np.arctan2(length, np.sum(corners * after, axis=1))


def _on_circle(pole: Floats, start: Floats, angle: float) -> Floats:
    """Return the points of a great circle strictly between `start` and `angle` radians on, (K, 3)."""
    zero = np.eye(3)[np.argmin(np.abs(pole))]
    zero = zero - (zero @ pole) * pole
    zero /= np.linalg.norm(zero)
    quarter = np.cross(pole, zero)
    step = np.radians(STEP_DEG)
    first = np.arctan2(start @ quarter, start @ zero)
    mark = np.arange(np.ceil((first + POINT) / step - 0.5), np.floor((first + angle - POINT) / step - 0.5) + 1)
    turn = (mark + 0.5) * step  # whole steps would put points on the antimeridian, up to rounding
    return np.asarray(np.cos(turn)[:, None] * zero + np.sin(turn)[:, None] * quarter)


def _finer(points: Floats) -> Floats:
    """Halve the lines of a ring that turn too far around a pole until they do not, or run into it."""
    while True:
        after = np.roll(points, -1, axis=0)
        lon = geo.from_unit(points)[1]
        turn = np.abs(geo.wrap_lon(np.roll(lon, -1) - lon))
        wide = np.flatnonzero((turn > TURN_DEG) & (np.linalg.norm(after - points, axis=1) > AT_POLE))
        if len(wide) == 0:
            return points
        middle = points[wide] + after[wide]
        points = np.insert(points, wide + 1, middle / np.linalg.norm(middle, axis=1)[:, None], axis=0)


def _unrolled(xyz: Floats) -> Floats:
    """Turn a ring of points into (lon, lat) whose longitudes run on past 180; the last point repeats the first.

    A ring that passes through a pole runs along it: westward over the north pole and eastward over the south pole,
    with the region on its left.
    """
    lat, lon = geo.from_unit(xyz)
    start = int(np.argmin(np.abs(lat)))
    lat, lon = np.roll(lat, -start), np.roll(lon, -start)
    flat = [(float(lon[0]), float(lat[0]))]
    for here_lat, here_lon in zip(np.append(lat[1:], lat[0]), np.append(lon[1:], lon[0]), strict=True):
        if abs(here_lat) > POLE_DEG:
            flat.append((flat[-1][0], float(np.copysign(90.0, here_lat))))
            continue
        before_lon, before_lat = flat[-1]
        turn = float(here_lon - before_lon + 180.0) % 360.0 - 180.0
        if abs(before_lat) == 90.0:
            turn = -((-turn) % 360.0) if before_lat > 0 else turn % 360.0
            flat.append((before_lon + turn, before_lat))
        elif abs(turn) > 180.0 - 1e-4:  # through a pole between two points
            pole = float(np.copysign(90.0, here_lat + before_lat))
            turn = -abs(turn) if pole > 0 else abs(turn)
            flat += [(before_lon, pole), (before_lon + turn, pole)]
        flat.append((before_lon + turn, float(here_lat)))
    return np.asarray(flat)


def _over_pole(flat: Floats) -> Floats:
    """Close a ring that goes once around: along the north pole if it went east, along the south pole if west.

    The seam is put on the antimeridian, which a convex region around a pole crosses once.
    """
    gone = flat[-1, 0] - flat[0, 0]
    if abs(gone) < 180.0:
        return flat[:-1]
    once = np.array([np.copysign(360.0, gone), 0.0])
    flat = np.vstack([flat[:-1], flat[0] + once])
    turn = np.floor((flat[:, 0] + 180.0) / 360.0)
    last = int(np.flatnonzero(np.diff(turn))[0])
    (x, y), (x2, y2) = flat[last], flat[last + 1]
    lon = 360.0 * turn[last : last + 2].max() - 180.0
    seam = np.array([lon, y + (y2 - y) * (lon - x) / (x2 - x)])
    pole = np.array([lon, np.copysign(90.0, gone)])
    return np.vstack([seam, flat[last + 1 : -1], flat[: last + 1] + once, seam + once, pole + once, pole])


def _strip(flat: Floats) -> Floats:
    """Return the part of a ring between longitudes -180 and 180."""
    for sign in (1.0, -1.0):
        kept: list[tuple[float, float]] = []
        for (x, y), (x2, y2) in zip(flat, np.roll(flat, -1, axis=0), strict=True):
            room, room2 = 180.0 - sign * x, 180.0 - sign * x2
            if room >= 0:
                kept.append((x, y))
            if room * room2 < 0:
                kept.append((sign * 180.0, y + (y2 - y) * room / (room - room2)))
        flat = np.asarray(kept).reshape(-1, 2)
    return flat


def _closed(ring: Floats) -> Floats:
    """Repeat the first point at the end, and put points on wide lines."""
    points = []
    for here, there in zip(ring, np.roll(ring, -1, axis=0), strict=True):
        steps = max(1, int(np.ceil(abs(there[0] - here[0]) / WIDEST_DEG)))
        points.append(here + (there - here) * np.arange(steps)[:, None] / steps)
    return np.concatenate([*points, ring[:1]])


def _geometry(pieces: list[Floats]) -> dict[str, Any] | None:
    rings = [[np.round(piece, DECIMALS).tolist()] for piece in pieces]
    if not rings:
        return None
    if len(rings) == 1:
        return {"type": "Polygon", "coordinates": rings[0]}
    return {"type": "MultiPolygon", "coordinates": rings}
