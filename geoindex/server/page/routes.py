"""What the page fetches: answers, layers, pictures, its own files."""

import asyncio
import gzip
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from importlib.resources import files
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Request
from starlette.responses import Response

from geoindex.errors import RequestError
from geoindex.prediction import Evidence, Prediction
from geoindex.presentation import SHOWN_CANDIDATES
from geoindex.search.options import QueryOptions
from geoindex.server.page.answer import render_details, render_summary
from geoindex.server.page.layers import answer_layers, legend_of
from geoindex.server.page.site import Site
from geoindex.server.policy import check_unrounded
from geoindex.server.uploads import read_images

OPTIONS = QueryOptions(top_k=100, evidence=6)
"""Many candidates, so that their sums say how probable the cells are."""

ASSETS = {
    "page.css": "text/css; charset=utf-8",
    "locate.js": "text/javascript; charset=utf-8",
    "play.js": "text/javascript; charset=utf-8",
}
DAY = {"Cache-Control": "private, max-age=86400"}
FRESH = {"Cache-Control": "no-cache"}


def page_router(site: Site) -> APIRouter:
    """Return the routes of the page."""
    router = APIRouter(prefix="/page", include_in_schema=False)

    @router.post("/answer")
    async def answer(request: Request) -> dict[str, Any]:
        limits = site.engine.settings
        with site.engine.admit():
            images = await read_images(request, limits.max_views, limits.max_image_bytes)
            prediction = await site.engine.predict(images, OPTIONS)
        return await asyncio.to_thread(_told, site, prediction)

    @router.get("/world.geojson")
    async def world(request: Request) -> Response:
        return await _compressed(request, site.ground, "world")

    @router.get("/places.json")
    async def places(request: Request) -> Response:
        return await _compressed(request, site.ground, "places")

    @router.get("/index.json")
    async def index(request: Request) -> Response:
        check_unrounded(site.engine.settings, "its cells")
        return await _compressed(request, site.index_layers, cache=FRESH)

    @router.get("/assets/{name}")
    async def asset(name: str) -> Response:
        if name not in ASSETS:
            raise RequestError("There is no such file.", status=404)
        return Response(_asset(name), media_type=ASSETS[name], headers=FRESH)

    return router


def _told(site: Site, prediction: Prediction) -> dict[str, Any]:
    """Return what the page shows of an answer."""
    snapshot = site.engine.index.snapshot
    same = snapshot.manifest.generation == prediction.generation
    regions = site.regions(snapshot) if same and site.shows_cells else None
    shown = replace(prediction, candidates=prediction.candidates[:SHOWN_CANDIDATES])
    picture_of = _address if site.engine.settings.thumbnails else lambda evidence: None
    layers = answer_layers(prediction, regions, SHOWN_CANDIDATES)
    return {
        "summary": render_summary(prediction),
        "details": render_details(prediction, picture_of),
        "legend": legend_of(layers, prediction.radius90_km is not None),
        "layers": layers,
        "geojson": shown.to_geojson(),
    }


def _address(evidence: Evidence) -> str | None:
    return f"/v1/images/{quote(evidence.id)}/thumbnail"


async def _compressed(
    request: Request, make: Callable[..., bytes], *given: str, cache: dict[str, str] = DAY
) -> Response:
    """Return what `make` compressed, to those that do not take it so plain."""
    body = await asyncio.to_thread(make, *given)
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(body, media_type="application/json", headers={**cache, "Content-Encoding": "gzip"})
    return Response(gzip.decompress(body), media_type="application/json", headers=cache)


@lru_cache(maxsize=len(ASSETS))
def _asset(name: str) -> bytes:
    return (files("geoindex.server.page") / "assets" / name).read_bytes()
