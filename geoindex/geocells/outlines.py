"""Polygons on the sphere become GeoJSON: arcs followed, cut at the antimeridian, closed over the poles."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from geoindex import geo
from geoindex.geocells.positions import Floats
from geoindex.geocells.voronoi import Polygons

STEP_DEG = 1.0
"""Longest arc that is drawn as one straight line in degrees."""

POLE_DEG = 90.0 - 1e-7
"""Latitudes beyond this are the pole."""

DECIMALS = 7
"""Digits of a degree, about a centimetre (RFC 7946 section 11.2)."""

NEAR_POLE = 0.1
"""Distance of an arc from the axis, in Earth radii, under which it is drawn ten times finer."""

WIDEST_DEG = 90.0
"""Widest line along a pole, so that no reader takes it for one across the antimeridian."""

WORLD = np.array([[-180.0, -90.0], [180.0, -90.0], [180.0, 90.0], [-180.0, 90.0]])


def to_geojson(polygons: Polygons, properties: Sequence[dict[str, Any]] | None = None) -> dict[str, Any]:
    """Return a FeatureCollection with one feature a region (RFC 7946).

    Regions over the antimeridian are cut there into a MultiPolygon (section 3.1.9), regions that hold a pole run
    along it, and outer rings are anticlockwise. A site without a region has the geometry null.

    Args:
        polygons: from `voronoi_polygons`.
        properties: what to write beside each region's `cell` and `area_km2`.
    """
    features = []
    for cell, (ring, area) in enumerate(zip(polygons.rings, polygons.area_km2, strict=True)):
        pieces = flat_pieces(ring) if len(ring) or area > 0 else []
        facts = {"cell": cell, "area_km2": float(area), **(properties[cell] if properties else {})}
        features.append({"type": "Feature", "id": cell, "properties": facts, "geometry": _geometry(pieces)})
    return {"type": "FeatureCollection", "features": features}


def flat_pieces(ring: Floats) -> list[Floats]:
    """Return one ring of corners (lat, lon) as closed rings of (lon, lat) within -180..180, each (K, 2).

    The ring must be convex and anticlockwise, as Voronoi regions are; an empty one stands for the whole Earth.
    """
    if len(ring) == 0:
        return [_closed(WORLD)]
    flat = _over_pole(_unrolled(_followed(geo.to_unit(ring[:, 0], ring[:, 1]))))
    first = int(np.floor((flat[:, 0].min() + 180.0) / 360.0))
    last = int(np.ceil((flat[:, 0].max() + 180.0) / 360.0))
    pieces = []
    for turn in range(first, last):
        piece = _strip(flat - [360.0 * turn, 0.0])
        if len(piece) >= 3 and np.ptp(piece[:, 0]) > 1e-9:
            pieces.append(_closed(piece))
    return pieces


def _followed(corners: Floats) -> Floats:
    """Put points on each arc so that none is longer than `STEP_DEG`, (K, 3); the same from either side."""
    return np.concatenate([_arc(a, b) for a, b in zip(corners, np.roll(corners, -1, axis=0), strict=True)])


def _arc(a: Floats, b: Floats) -> Floats:
    """Return points from `a` to just before `b`, evenly spaced, (K, 3)."""
    angle = float(np.arctan2(np.linalg.norm(np.cross(a, b)), a @ b))
    if angle == 0.0:
        return a[None]
    steps = max(1, int(np.ceil(np.degrees(angle) / STEP_DEG)))
    for finer in (1, 10):
        t = np.arange(finer * steps)[:, None] / (finer * steps)
        points = (np.sin((1 - t) * angle) * a + np.sin(t * angle) * b) / np.sin(angle)
        if np.hypot(points[:, 0], points[:, 1]).min() > NEAR_POLE:
            break
    return np.asarray(points)


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
