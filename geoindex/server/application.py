"""The application: guards and routes around one engine."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from fastapi import Depends, FastAPI
from fastapi.security import HTTPBearer

from geoindex.index import GeoIndex
from geoindex.server.cells import CellMap
from geoindex.server.engine import Engine
from geoindex.server.following import following_url
from geoindex.server.guards import add_guards
from geoindex.server.page.settings import PageSettings
from geoindex.server.pictures import Pictures
from geoindex.server.problems import add_problems
from geoindex.server.routes import batches, embeddings, gallery, health, metrics, queries
from geoindex.server.routes.others import refuse_others
from geoindex.server.settings import ServerSettings
from geoindex.version import VERSION

ROUTES = (queries, batches, embeddings, gallery, metrics)


def create_app(settings: ServerSettings, index: GeoIndex, page: PageSettings | None = None) -> FastAPI:
    """Return the application that answers from an open index.

    Args:
        settings: what is allowed.
        index: what answers; it moves on to new generations if it was opened with `follow=True`, or at a URL.
        page: what its page shows; None: there is no page.
    """
    engine = Engine(index, settings)
    app = FastAPI(
        title="geoindex",
        version=VERSION,
        summary="Where on Earth was this photo taken?",
        docs_url=None,  # these pages load their scripts from another host
        redoc_url=None,
        lifespan=_lifespan(engine),
    )
    app.state.engine, app.state.cells, app.state.pictures = engine, CellMap(engine), Pictures(index)
    for routes in ROUTES:
        app.include_router(routes.router, dependencies=_documented_token(settings))
    app.include_router(health.router)
    refuse_others(app, [routes.router for routes in (*ROUTES, health)])
    add_problems(app)
    add_guards(app, settings, engine.metrics)
    if page is not None:
        from geoindex.server.page.mounting import mount_page  # NiceGUI is loaded for a page alone

        mount_page(app, engine, page)
    return app


def _documented_token(settings: ServerSettings) -> list[Any]:
    """Return what says in the OpenAPI document that a token is needed; a guard looks at it."""
    return [Depends(HTTPBearer(auto_error=False))] if settings.token else []


def _lifespan(engine: Engine) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        with following_url(engine.index, engine.settings.follow_s):
            yield
        await asyncio.to_thread(engine.close)

    return lifespan
