"""What lies under every answer: coasts, borders and names of places, as the page's map draws them."""

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoindex.places import named_places, world_outline

NAMED = 3000
"""Largest places that the map can name."""

DECIMALS = 3


@lru_cache(maxsize=1)
def world_geojson() -> dict[str, Any]:
    """Return land, lakes and borders as a FeatureCollection of three features, told apart by `kind`."""
    world = world_outline()
    kinds = (("land", "MultiPolygon", world.land), ("lakes", "MultiPolygon", world.lakes))
    features = [_feature(kind, geometry, [[_lonlat(ring)] for ring in rings]) for kind, geometry, rings in kinds]
    features.append(_feature("borders", "MultiLineString", [_lonlat(line) for line in world.borders]))
    return {"type": "FeatureCollection", "features": features}


@lru_cache(maxsize=1)
def largest_places() -> list[tuple[str, float, float]]:
    """Return name, latitude and longitude of the largest places, the largest first."""
    places = named_places()
    rows: Iterable[int] = np.argsort(-places.population, kind="stable")[:NAMED].tolist()
    return [(places.city[row], round(places.lat[row].item(), 3), round(places.lon[row].item(), 3)) for row in rows]


def _lonlat(line: NDArray[np.float64]) -> list[list[float]]:
    points: list[list[float]] = np.round(line[:, ::-1], DECIMALS).tolist()
    return points


def _feature(kind: str, geometry: str, coordinates: list[Any]) -> dict[str, Any]:
    shape = {"type": geometry, "coordinates": coordinates}
    return {"type": "Feature", "properties": {"kind": kind}, "geometry": shape}
