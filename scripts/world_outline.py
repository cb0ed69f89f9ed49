"""Turn world-atlas TopoJSON into geoindex/data/world.json.gz (standard library only).

Usage: python scripts/world_outline.py world-atlas/countries-110m.json geoindex/data/world.json.gz
"""

import argparse
import gzip
import json
from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeAlias

Point: TypeAlias = tuple[float, float]  # lon, lat, as in TopoJSON
Line: TypeAlias = list[Point]

DECIMALS = 2  # about a kilometre, finer than the map's own 1:110 million


def decode_arcs(topology: dict[str, Any]) -> list[Line]:
    """Undo the delta coding and the quantisation of TopoJSON."""
    (scale_x, scale_y), (move_x, move_y) = topology["transform"]["scale"], topology["transform"]["translate"]
    arcs = []
    for steps in topology["arcs"]:
        x = y = 0
        arc = []
        for step_x, step_y in steps:
            x, y = x + step_x, y + step_y
            arc.append((x * scale_x + move_x, y * scale_y + move_y))
        arcs.append(arc)
    return arcs


def ring_of(arcs: list[Line], numbers: list[int]) -> Line:
    """Join arcs to one ring; ~n stands for arc n backwards."""
    ring: Line = []
    for number in numbers:
        arc = arcs[number] if number >= 0 else arcs[~number][::-1]
        ring += arc[1:] if ring else arc
    return ring


def polygons(geometry: dict[str, Any]) -> Iterator[list[list[int]]]:
    """Yield each polygon of a geometry as its rings of arc numbers."""
    if geometry["type"] == "GeometryCollection":
        for part in geometry["geometries"]:
            yield from polygons(part)
    elif geometry["type"] == "MultiPolygon":
        yield from geometry["arcs"]
    else:
        yield geometry["arcs"]


def unrolled(ring: Line) -> Line:
    """Let longitudes run on past 180 instead of jumping; a ring around the south pole is closed below it."""
    points = [ring[0]]
    for lon, lat in ring[1:]:
        points.append((lon - 360 * round((lon - points[-1][0]) / 360), lat))
    if abs(points[-1][0] - points[0][0]) > 180:
        points += [(points[-1][0], -90.0), (points[0][0], -90.0), points[0]]
    return points


def clipped(ring: Line, edge: float, keep: int) -> Line:
    """Cut a closed ring at a meridian and keep what lies east (keep = 1) or west (-1) of it."""
    points: Line = []
    for (lon1, lat1), (lon2, lat2) in pairwise(ring):
        inside1, inside2 = keep * (lon1 - edge) >= 0, keep * (lon2 - edge) >= 0
        if inside1:
            points.append((lon1, lat1))
        if inside1 != inside2:
            points.append((edge, lat1 + (lat2 - lat1) * (edge - lon1) / (lon2 - lon1)))
    return points + points[:1]


def on_the_map(ring: Line) -> list[Line]:
    """Cut a ring that crosses the antimeridian into rings that do not."""
    points = unrolled(ring)
    turned = ([(lon + turn, lat) for lon, lat in points] for turn in (-360, 0, 360))
    parts = (clipped(clipped(copy, -180.0, 1), 180.0, -1) for copy in turned)
    return [
        part for part in parts if max((x for x, _ in part), default=0) - min((x for x, _ in part), default=0) > 0.01
    ]


def flat(line: Line) -> list[float]:
    """Return lat, lon, lat, lon, ... rounded, without repeats."""
    rounded = [(round(lat, DECIMALS), round(lon, DECIMALS)) for lon, lat in line]
    kept = rounded[:1] + [point for before, point in pairwise(rounded) if point != before]
    return [value for point in kept for value in point]


def borders(topology: dict[str, Any], arcs: list[Line]) -> list[dict[str, Any]]:
    """Return the arcs that two countries share, with the names of both."""
    owners: dict[int, list[str]] = defaultdict(list)
    for country in topology["objects"]["countries"]["geometries"]:
        numbers = {n if n >= 0 else ~n for rings in polygons(country) for ring in rings for n in ring}
        for number in numbers:
            owners[number].append(country["properties"]["name"])
    return [{"between": sorted(o), "line": flat(arcs[n])} for n, o in sorted(owners.items()) if len(o) == 2]


def outline(topology: dict[str, Any]) -> dict[str, Any]:
    """Return land, lakes and borders, lat before lon."""
    arcs = decode_arcs(topology)
    shapes = list(polygons(topology["objects"]["land"]))
    land = [part for rings in shapes for part in on_the_map(ring_of(arcs, rings[0]))]
    lakes = [part for rings in shapes for hole in rings[1:] for part in on_the_map(ring_of(arcs, hole))]
    return {"land": [flat(p) for p in land], "lakes": [flat(p) for p in lakes], "borders": borders(topology, arcs)}


def main() -> None:
    """Convert one file."""
    parser = argparse.ArgumentParser(description="Turn world-atlas TopoJSON into the world outline of geoindex.")
    parser.add_argument("countries", type=Path, help="countries-110m.json of world-atlas")
    parser.add_argument("out", type=Path, help="world.json.gz")
    given = parser.parse_args()
    world = outline(json.loads(given.countries.read_text("utf-8")))
    text = json.dumps(world, ensure_ascii=False, separators=(",", ":"))
    given.out.write_bytes(gzip.compress(text.encode("utf-8"), compresslevel=9, mtime=0))


if __name__ == "__main__":
    main()
