"""Sites become spherical Voronoi polygons with areas, for drawing and export; membership never needs them."""

import numpy as np
from numpy.typing import ArrayLike

from geoindex import geo
from geoindex.geocells.polygons import Polygons, area_km2, convex_polygons, cut_by_all, overlap_of
from geoindex.geocells.positions import Floats, Rows, checked_positions, nearest_site

AREA_TOLERANCE = 1e-9
"""Relative error of the total area beyond which the fast construction is not believed."""

CORNER_TOLERANCE_KM = 1e-6
"""Km that a corner may be nearer to another site than to its own before the fast construction is not believed."""

SAME_PLACE = 1e-12
"""Distance in Earth radii, about 6 micrometres, under which sites are at one place."""

NEAR = 24
"""Sites that a region is cut with before all others."""

TIE = 2e-15
"""Difference of two distances in Earth radii, about 13 nanometres, that can be the rounding of unit vectors."""


def voronoi_polygons(site_lat: ArrayLike, site_lon: ArrayLike) -> Polygons:
    """Return the spherical Voronoi diagram of sites.

    It is scipy's where that can be made and is right. Fewer than four sites, sites on one circle and sites within
    metres of each other are cut out of hemispheres one by one: exact, but of the square of the count in time.

    Raises:
        CoordinateError: if a site is not on Earth.
    """
    xyz = geo.to_unit(*checked_positions(site_lat, site_lon))
    if len(xyz) == 0:
        return Polygons((), np.empty(0))
    first = _first_of_each(xyz)
    found = convex_polygons(_scipy_corners(xyz[first]) or _cut_corners(xyz[first]), xyz[first])
    rings = [np.empty((0, 2))] * len(xyz)
    area = np.zeros(len(xyz))
    area[first] = found.area_km2
    for site, ring in zip(first, found.rings, strict=True):
        rings[site] = ring
    return Polygons(tuple(rings), area)


def neighbours(polygons: Polygons, site_lat: ArrayLike, site_lon: ArrayLike) -> list[Rows]:
    """Return for each region the sorted rows of the regions that share an edge with it; a common corner is not enough.

    Two regions share an edge if and only if their sites are the two nearest ones of some point, all others being
    farther away. The middle of an edge is such a point; that of an edge which is only a corner pulled apart by
    rounding is not, since there a third site is as near up to `TIE`, however far off the corner came out. If all sites
    on Earth are within a metre or so, borders on its far side are lost: all sites are as far from there.

    Args:
        polygons: from `voronoi_polygons`.
        site_lat: the sites that it was given, (C,).
        site_lon: likewise.
    """
    from scipy.spatial import KDTree

    rows = np.array([row for row, ring in enumerate(polygons.rings) if len(ring)], np.int64)
    if len(rows) == 0:
        return [rows] * len(polygons)
    tree = KDTree(geo.to_unit(*checked_positions(site_lat, site_lon))[rows])
    chord, near = tree.query(_edge_middles([polygons.rings[row] for row in rows]), k=3)
    pairs = rows[near[chord[:, 2] - chord[:, 1] > TIE, :2]]  # where there is no third site, it is infinitely far
    both = np.unique(np.vstack([pairs, pairs[:, ::-1]]), axis=0)
    return np.split(both[:, 1], np.searchsorted(both[:, 0], np.arange(1, len(polygons))))


def _edge_middles(rings: list[Floats]) -> Floats:
    """Return the middle of every edge of rings as unit vectors, (E, 3)."""
    lat, lon = np.concatenate(rings).T
    corner = geo.to_unit(lat, lon)
    end = np.cumsum([len(ring) for ring in rings])
    after = np.arange(1, len(corner) + 1)
    after[end - 1] = np.append(0, end[:-1])
    middle = corner + corner[after]
    return np.asarray(middle / np.linalg.norm(middle, axis=1)[:, None])


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
        diagram = SphericalVoronoi(xyz, threshold=SAME_PLACE)
        diagram.sort_vertices_of_regions()
    except (ValueError, QhullError):
        return None
    rings = [diagram.vertices[region] for region in diagram.regions]
    corners = [_anticlockwise(ring, site) for ring, site in zip(rings, xyz, strict=True)]
    return corners if _is_diagram(corners, xyz) else None


def _is_diagram(corners: list[Floats], xyz: Floats) -> bool:
    """Tell whether regions cover the sphere and no corner is nearer to a site than to its own."""
    total = sum(area_km2(ring, site) for ring, site in zip(corners, xyz, strict=True))
    if abs(total / geo.EARTH_AREA_KM2 - 1.0) >= AREA_TOLERANCE:
        return False
    corner = np.concatenate(corners)
    own_km = geo.chord_to_km(np.linalg.norm(corner - np.repeat(xyz, [len(ring) for ring in corners], axis=0), axis=1))
    return bool((own_km - nearest_site(xyz, corner)[1]).max() < CORNER_TOLERANCE_KM)


def _anticlockwise(ring: Floats, inside: Floats) -> Floats:
    turn = float(np.cross(ring, np.roll(ring, -1, axis=0)).sum(axis=0) @ inside)
    return ring if turn > 0 else ring[::-1]


def _cut_corners(xyz: Floats) -> list[Floats]:
    """Return corners of each region as the intersection of the hemispheres nearer to its site than to another."""
    from scipy.spatial import KDTree

    if len(xyz) == 1:
        return [np.empty((0, 3))]
    _, near = KDTree(xyz).query(xyz, k=min(NEAR, len(xyz)))
    return [_cut_region(xyz, site, rows) for site, rows in enumerate(near)]


def _cut_region(xyz: Floats, site: int, near: Rows) -> Floats:
    """Cut with the nearest sites, which leave a small region, and then with the few that still reach it."""
    poles = _poles(xyz[site], xyz[near[near != site]])
    ring = overlap_of(poles)
    return cut_by_all(ring, _poles(xyz[site], np.delete(xyz, site, axis=0)))


def _poles(site: Floats, others: Floats) -> Floats:
    """Return the centres of the hemispheres that are nearer to `site` than to each of `others`, (K, 3)."""
    apart, between = site - others, site + others
    # unit vectors are so only up to rounding, which would move the border of sites within metres
    tilt = np.sum(apart * between, axis=1) / np.maximum(np.sum(between**2, axis=1), 1e-3)
    apart -= tilt[:, None] * between
    return np.asarray(apart / np.linalg.norm(apart, axis=1)[:, None])
