"""The geocells as GeoJSON, drawn once a generation."""

import asyncio
import json

from geoindex.assembly.sites import partition_of
from geoindex.geocells.outlines import to_geojson
from geoindex.server.engine import Engine
from geoindex.snapshot import Snapshot

FACTS = ("n_images", "lat", "lon", "radius_km", "place")


class CellMap:
    """Keeps the cells of the generation that was asked for last."""

    def __init__(self, engine: Engine) -> None:
        self._engine, self._drawing = engine, asyncio.Lock()
        self._generation, self._geojson = "", b""

    async def geojson(self) -> tuple[str, bytes]:
        """Return the live generation and its cells as a FeatureCollection."""
        snapshot = await self._engine.in_thread(self._engine.index.live.get)
        async with self._drawing:
            if snapshot.manifest.generation != self._generation:
                self._geojson = await self._engine.in_thread(cells_geojson, snapshot)
                self._generation = snapshot.manifest.generation
            return self._generation, self._geojson


def cells_geojson(snapshot: Snapshot) -> bytes:
    """Return the cells of a generation as a FeatureCollection, with their centroids and counts."""
    cells = snapshot.searcher.sidecar.cells
    regions = partition_of(snapshot.manifest, cells.numbers("site_lat"), cells.numbers("site_lon")).regions()
    columns = {name: cells[name].to_pylist() for name in FACTS}
    properties = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return json.dumps(to_geojson(regions, properties), ensure_ascii=False, allow_nan=False).encode()
