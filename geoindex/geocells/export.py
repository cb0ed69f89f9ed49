"""Cells and points become files that GIS programs open: GeoJSON and GeoParquet."""

import json
import math
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from geoindex.errors import ConfigError
from geoindex.geocells.outlines import Regions, to_geojson
from geoindex.geocells.positions import checked_positions

GEOMETRY = "geometry"
"""Name of the geometry column, as geopandas writes it."""

GEOPARQUET = "1.1.0"
"""Version of the GeoParquet specification that files follow."""


def write_geojson(path: str | PathLike[str], regions: Regions, columns: Mapping[str, ArrayLike]) -> None:
    """Write cells as a FeatureCollection (RFC 7946), with coordinates to a centimetre.

    Args:
        path: file to write; one that is there is replaced.
        regions: outlines of C cells.
        columns: facts of each cell, each (C,), as properties beside `cell` and `area_km2`; what is not a finite number
            becomes null, which JSON has instead.

    Raises:
        ConfigError: if a column does not have one value a cell, or the name of a column that is there.
    """
    facts = {name: _plain(values) for name, values in _checked(columns, len(regions), _cell_columns(regions)).items()}
    properties = [dict(zip(facts, row, strict=True)) for row in zip(*facts.values(), strict=True)]
    with Path(path).open("w", encoding="utf-8") as file:
        json.dump(to_geojson(regions, properties), file, ensure_ascii=False, allow_nan=False)


def write_geoparquet(path: str | PathLike[str], regions: Regions, columns: Mapping[str, ArrayLike]) -> None:
    """Write cells as GeoParquet 1.1: Polygons and MultiPolygons in degrees (OGC:CRS84), null for a cell without land.

    Edges are planar: the outlines follow the great circles with a point each degree.

    Args:
        path: file to write; one that is there is replaced.
        regions: outlines of C cells.
        columns: facts of each cell, each (C,), as columns beside `cell` and `area_km2`.

    Raises:
        ConfigError: if a column does not have one value a cell, or the name of a column that is there.
    """
    table = _checked(columns, len(regions), _cell_columns(regions))
    _write_table(path, table, _geometries(regions), {"edges": "planar", "orientation": "counterclockwise"})


def write_points_geoparquet(
    path: str | PathLike[str], lat: ArrayLike, lon: ArrayLike, columns: Mapping[str, ArrayLike]
) -> None:
    """Write points as GeoParquet 1.1 in degrees (OGC:CRS84).

    Args:
        path: file to write; one that is there is replaced.
        lat: latitudes in degrees, (N,).
        lon: longitudes in degrees, (N,).
        columns: facts of each point, each (N,).

    Raises:
        CoordinateError: if a position is not on Earth.
        ConfigError: if a column does not have one value a point, or is called `geometry`.
    """
    import shapely

    lats, lons = checked_positions(lat, lon)
    _write_table(path, _checked(columns, len(lats), {}), np.asarray(shapely.points(lons, lats)), {})


def _cell_columns(regions: Regions) -> dict[str, NDArray[Any]]:
    return {"cell": np.arange(len(regions)), "area_km2": regions.area_km2}


def _checked(
    columns: Mapping[str, ArrayLike], count: int, before: Mapping[str, NDArray[Any]]
) -> dict[str, NDArray[Any]]:
    """Return `before` and the columns as vectors of `count` values."""
    table = dict(before)
    for name, values in columns.items():
        column = np.asarray(values)
        if column.shape != (count,):
            raise ConfigError(f"Column {name!r} has shape {column.shape} for {count} rows; pass one value a row.")
        if name in table or name == GEOMETRY:
            raise ConfigError(f"Column {name!r} is written by geoindex itself; give it another name.")
        table[name] = column
    return table


def _plain(values: NDArray[Any]) -> list[Any]:
    return [None if isinstance(value, float) and not math.isfinite(value) else value for value in values.tolist()]


def _geometries(regions: Regions) -> NDArray[Any]:
    """Return one shapely geometry a cell, (C,): a Polygon, a MultiPolygon, or None for a cell without pieces."""
    import shapely

    count = np.array([len(pieces) for pieces in regions.pieces], np.int64)
    geometries = np.full(len(regions), None, object)
    rings = [ring for pieces in regions.pieces for ring in pieces]
    if not rings:
        return geometries
    which = np.repeat(np.arange(len(rings)), [len(ring) for ring in rings])
    polygons = shapely.polygons(shapely.linearrings(np.concatenate(rings), indices=which))
    cell = np.repeat(np.arange(len(regions)), count)
    alone = count[cell] == 1
    geometries[cell[alone]] = polygons[alone]
    many, group = np.unique(cell[~alone], return_inverse=True)
    if len(many):
        geometries[many] = shapely.multipolygons(polygons[~alone], indices=group)
    return geometries


def _write_table(
    path: str | PathLike[str], columns: Mapping[str, NDArray[Any]], geometries: NDArray[Any], facts: Mapping[str, str]
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq
    import shapely

    arrays = {name: pa.array(values) for name, values in columns.items()}
    table = pa.table({**arrays, GEOMETRY: pa.array(shapely.to_wkb(geometries), pa.binary())})
    about = {"encoding": "WKB", "geometry_types": _types(geometries), **facts, **_bbox(geometries)}
    geo = {"version": GEOPARQUET, "primary_column": GEOMETRY, "columns": {GEOMETRY: about}}
    pq.write_table(table.replace_schema_metadata({"geo": json.dumps(geo)}), Path(path), compression="zstd")


def _types(geometries: NDArray[Any]) -> list[str]:
    return sorted({geometry.geom_type for geometry in geometries if geometry is not None})


def _bbox(geometries: NDArray[Any]) -> dict[str, list[float]]:
    """Return west, south, east and north of all geometries, or nothing where there are none."""
    import shapely

    drawn = geometries[~shapely.is_missing(geometries)]
    return {"bbox": shapely.total_bounds(drawn).tolist()} if len(drawn) else {}
