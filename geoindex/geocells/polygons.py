"""Convex polygons of the sphere: overlaps of hemispheres, and their areas."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from geoindex import geo
from geoindex.geocells.positions import Floats

FLAT = 1e-14
"""Height over a plane through the centre, in Earth radii, below which a corner lies on it."""


@dataclass(frozen=True, slots=True, eq=False)
class Polygons:
    """Convex regions of the sphere; rings run anticlockwise seen from above and are not closed.

    Attributes:
        rings: corners of each region as degrees (lat, lon), (K, 2), joined by great-circle arcs under 180 degrees;
            empty for the whole Earth and for nothing, which the area tells apart.
        area_km2: area of each region, (C,).
    """

    rings: tuple[Floats, ...]
    area_km2: Floats

    def __len__(self) -> int:
        return len(self.rings)


def convex_polygons(corners: Sequence[Floats], inside: Iterable[Floats]) -> Polygons:
    """Make polygons of corners.

    Args:
        corners: unit vectors, anticlockwise, (K, 3) each; empty for the whole Earth.
        inside: a vector that points into each region, (3,) each.
    """
    rings = [np.column_stack(geo.from_unit(ring)) if len(ring) else np.empty((0, 2)) for ring in corners]
    areas = [area_km2(ring, towards) for ring, towards in zip(corners, inside, strict=True)]
    return Polygons(tuple(rings), np.array(areas))


def overlap_of(poles: Floats) -> Floats:
    """Return the corners of what hemispheres around `poles`, (K, 3), have in common, anticlockwise; empty if K is 0."""
    return cut_by_all(_great_circle(poles[0]), poles) if len(poles) else np.empty((0, 3))


def cut_by_all(ring: Floats, poles: Floats) -> Floats:
    """Keep the part of a convex ring in every hemisphere, the one that cuts deepest first."""
    while len(poles):
        height = (poles @ ring.T).min(axis=1)
        deepest = int(np.argmin(height))
        if height[deepest] > -FLAT:
            break
        ring = _cut(ring, poles[deepest])
        height[deepest] = 0.0
        poles = poles[height <= -FLAT]
    return ring


def _great_circle(pole: Floats) -> Floats:
    """Return four corners of the hemisphere around `pole`, anticlockwise."""
    across = np.cross(pole, np.eye(3)[np.argmin(np.abs(pole))])
    across /= np.linalg.norm(across)
    along = np.cross(pole, across)
    return np.stack([across, along, -across, -along])


def _cut(ring: Floats, pole: Floats) -> Floats:
    """Keep the part of a convex ring that lies in the hemisphere around `pole`."""
    height = ring @ pole
    height[np.abs(height) < FLAT] = 0.0
    if height.min() >= 0.0:
        return ring
    kept: list[tuple[Floats, bool]] = []  # corner, and whether it lies on the new edge
    for here, there, low, high in zip(ring, np.roll(ring, -1, 0), height, np.roll(height, -1), strict=True):
        if low >= 0:
            kept.append((here, low == 0))
        if low * high < 0:
            crossing = here * abs(high) + there * abs(low)
            kept.append((crossing / np.linalg.norm(crossing), True))
    corners: list[Floats] = []
    for (here, on_edge), (there, too) in zip(kept, kept[1:] + kept[:1], strict=True):
        corners.append(here)
        if on_edge and too and here @ there < 0:  # an arc of up to 180 degrees needs a corner in its middle
            middle = np.cross(pole, here - there)
            corners.append(middle / np.linalg.norm(middle))
    return np.asarray(corners)


def area_km2(ring: Floats, inside: Floats) -> float:
    """Return the area of a convex ring of unit vectors as a fan of triangles (van Oosterom and Strackee 1983)."""
    if len(ring) == 0:
        return geo.EARTH_AREA_KM2
    middle = ring.sum(axis=0)
    if np.linalg.norm(middle) > 0.1:  # the site itself can be almost opposite to a corner
        inside = middle
    inside = inside / np.linalg.norm(inside)
    after = np.roll(ring, -1, axis=0)
    volume = np.cross(ring, after) @ inside
    angle = 2.0 * np.arctan2(volume, 1.0 + ring @ inside + after @ inside + np.sum(ring * after, axis=1))
    return float(angle.sum() * geo.EARTH_RADIUS_KM**2)
