"""The application: routes and guards around one engine."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from fastapi import FastAPI

from geoindex.index import GeoIndex
from geoindex.server.engine import Engine
from geoindex.server.page.settings import PageSettings
from geoindex.server.problems import add_problems
from geoindex.server.routes import queries
from geoindex.server.settings import ServerSettings
from geoindex.version import VERSION


def create_app(settings: ServerSettings, index: GeoIndex, page: PageSettings | None = None) -> FastAPI:
    """Return the application that answers from an open index.

    Args:
        settings: what is allowed.
        index: what answers; opened with `follow=True` it moves on to new generations.
        page: what its page shows; None: there is no page.
    """
    engine = Engine(index, settings)
    app = FastAPI(
        title="geoindex",
        version=VERSION,
        summary="Where on Earth was this photo taken?",
        docs_url=None,  # these pages load their scripts from another host
        redoc_url=None,
        lifespan=_closing(engine),
    )
    app.state.engine = engine
    app.include_router(queries.router)
    add_problems(app)
    if page is not None:
        from geoindex.server.page.mounting import mount_page

        mount_page(app, engine, page)
    return app


def _closing(engine: Engine) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(engine.close)

    return lifespan
