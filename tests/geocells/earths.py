"""Positions that geocells are tried on."""

import numpy as np
from hypothesis import strategies as st

from geoindex import geo

LABELS = ("A", "B", "C")


def columns(rows):
    """Return latitudes and longitudes of (lat, lon, ...) tuples."""
    return tuple(np.array([row[:2] for row in rows], float).reshape(-1, 2).T)


def towns(count, seed=0, towns=20):
    """Return positions in towns of very different sizes, no two at one place."""
    rng = np.random.default_rng(seed)
    spread = 10.0 ** rng.uniform(-3, -1, size=(count, 1))
    centres = rng.normal(size=(towns, 3))[rng.integers(0, towns, count)]
    return geo.from_unit(centres + spread * rng.normal(size=(count, 3)))


def uniform(count, seed=0):
    """Return positions all over the Earth."""
    return geo.from_unit(np.random.default_rng(seed).normal(size=(count, 3)))


def lattice(rows, columns, step=1.0, south=40.0, west=-5.0):
    """Return positions in rows and columns, as rounded coordinates have them."""
    lat, lon = np.meshgrid(south + step * np.arange(rows), west + step * np.arange(columns), indexing="ij")
    return lat.ravel(), geo.wrap_lon(lon.ravel())


def some_labels(count, seed=0):
    """Return labels of which some are missing, in both ways of writing that."""
    return [(*LABELS, None, "")[number] for number in np.random.default_rng(seed).integers(0, 5, count)]


EDGES = (
    np.array([90.0, 90.0, -90.0, -90.0, 0.0, 0.0, 10.0, 10.0, 89.9999, 0.0]),
    np.array([0.0, 123.0, 0.0, -180.0, 180.0, -180.0, 180.0, -180.0, 45.0, 0.0]),
)
EVERYWHERE = tuple(np.concatenate(pair) for pair in zip(EDGES, uniform(150, seed=99), strict=True))
"""The poles, both sides of the antimeridian, and all over the Earth."""

latitudes = (
    st.integers(-9, 9).map(lambda tens: 10.0 * tens)
    | st.sampled_from([90.0, -90.0, 0.0])
    | st.floats(-90, 90).map(lambda degrees: round(degrees, 6))
)
longitudes = (
    st.integers(-18, 18).map(lambda tens: 10.0 * tens)
    | st.sampled_from([180.0, -180.0, 0.0])
    | st.floats(-180, 180).map(lambda degrees: round(degrees, 6))
)
labelled = st.tuples(latitudes, longitudes, st.sampled_from([*LABELS, None, ""]))
"""Positions with ties, copies, poles, antimeridian, and a label that can be missing."""
