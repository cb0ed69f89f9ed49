"""Sites become spherical Voronoi polygons with areas, for drawing and export; membership never needs them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from geoindex import geo
from geoindex.geocells.positions import Floats, Rows, checked_positions

AREA_TOLERANCE = 1e-6
"""Relative error of the total area beyond which the fast construction is not believed."""

FLAT = 1e-14
"""Height over a plane through the centre, in Earth radii, below which a corner lies on it."""


@dataclass(frozen=True, slots=True, eq=False)
class Polygons:
    """Voronoi regions, one a site; rings run anticlockwise seen from above and are not closed.

    Attributes:
        rings: corners of each region as degrees (lat, lon), (K, 2), joined by great-circle arcs under 180 degrees;
            empty for the region of an only site (the whole Earth) and for a site on top of an earlier one (nothing).
        area_km2: area of each region, (C,); they sum to the Earth's.
    """

    rings: tuple[Floats, ...]
    area_km2: Floats

    def __len__(self) -> int:
        return len(self.rings)


def voronoi_polygons(site_lat: ArrayLike, site_lon: ArrayLike) -> Polygons:
    """Return the spherical Voronoi diagram of sites.

    It is scipy's where that can be made. Fewer than four sites, sites on one circle and sites within a few km of each
    other, which it refuses, are cut out of hemispheres one by one: exact, but of the square of the count in time.

    Raises:
        CoordinateError: if a site is not on Earth.
    """
    xyz = geo.to_unit(*checked_positions(site_lat, site_lon))
    if len(xyz) == 0:
        return Polygons((), np.empty(0))
    first = _first_of_each(xyz)
    corners = _scipy_corners(xyz[first]) or _cut_corners(xyz[first])
    rings = [np.empty((0, 2))] * len(xyz)
    area = np.zeros(len(xyz))
    for site, ring in zip(first, corners, strict=True):
        rings[site] = np.column_stack(geo.from_unit(ring)) if len(ring) else rings[site]
        area[site] = _area_km2(ring, xyz[site])
    return Polygons(tuple(rings), area)


def _first_of_each(xyz: Floats) -> Rows:
    """Return the row of the first site at each place, in order."""
    _, first = np.unique(xyz.round(12), axis=0, return_index=True)
    return np.sort(first).astype(np.int64)


def _scipy_corners(xyz: Floats) -> list[Floats] | None:
    """Return corners of each region by scipy, or None where it cannot be trusted with these sites."""
    from scipy.spatial import QhullError, SphericalVoronoi

    if len(xyz) < 4:
        return None
    try:
        diagram = SphericalVoronoi(xyz)
        diagram.sort_vertices_of_regions()
    except (ValueError, QhullError):
        return None
    rings = [diagram.vertices[region] for region in diagram.regions]
    corners = [_anticlockwise(ring, site) for ring, site in zip(rings, xyz, strict=True)]
    total = sum(_area_km2(ring, site) for ring, site in zip(corners, xyz, strict=True))
    return corners if abs(total / geo.EARTH_AREA_KM2 - 1.0) < AREA_TOLERANCE else None


def _anticlockwise(ring: Floats, inside: Floats) -> Floats:
    turn = float(np.cross(ring, np.roll(ring, -1, axis=0)).sum(axis=0) @ inside)
    return ring if turn > 0 else ring[::-1]


def _cut_corners(xyz: Floats) -> list[Floats]:
    """Return corners of each region as the intersection of the hemispheres nearer to its site than to another."""
    if len(xyz) == 1:
        return [np.empty((0, 3))]
    return [_cut_region(xyz, site) for site in range(len(xyz))]


def _cut_region(xyz: Floats, site: int) -> Floats:
    poles = xyz[site] - np.delete(xyz, site, axis=0)  # (C - 1, 3) centres of those hemispheres
    length = np.linalg.norm(poles, axis=1)
    order = np.argsort(length, kind="stable")
    poles = (poles / length[:, None])[order]
    ring = _great_circle(poles[0])
    for pole in poles[1:]:
        ring = _cut(ring, pole)
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


def _area_km2(ring: Floats, inside: Floats) -> float:
    """Return the area of a convex ring of unit vectors as a fan of triangles (van Oosterom and Strackee 1983)."""
    if len(ring) == 0:
        return geo.EARTH_AREA_KM2
    middle = ring.sum(axis=0)
    if np.linalg.norm(middle) > 0.1:  # the site itself can be almost opposite to a corner
        inside = middle / np.linalg.norm(middle)
    after = np.roll(ring, -1, axis=0)
    volume = np.cross(ring, after) @ inside
    angle = 2.0 * np.arctan2(volume, 1.0 + ring @ inside + after @ inside + np.sum(ring * after, axis=1))
    return float(angle.sum() * geo.EARTH_RADIUS_KM**2)
