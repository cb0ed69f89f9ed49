"""The page is put onto an application: its routes, its policy, and the way in for those who know the token."""

from fastapi import FastAPI
from starlette.middleware import Middleware

from geoindex.server.engine import Engine
from geoindex.server.guards.token import TokenGuard
from geoindex.server.page.policy import PagePolicy
from geoindex.server.page.routes import page_router
from geoindex.server.page.settings import PageSettings
from geoindex.server.page.sign_in import SignIn
from geoindex.server.page.site import Site

RECONNECT_S = 10.0
"""How long the state of a page is kept after its connection broke."""

HISTORY = 100
"""Messages to a page that are kept until it has them."""


def mount_page(app: FastAPI, engine: Engine, settings: PageSettings) -> None:
    """Offer the page on an application, once a process: NiceGUI has one application of its own.

    Args:
        app: has its guards already.
        engine: answers.
        settings: of the page.

    Raises:
        StorageError: if the file of games cannot be used.
    """
    from nicegui import app as nicegui_app
    from nicegui import ui

    from geoindex.server.page.frame import ICON
    from geoindex.server.page.locate import add_locate_page
    from geoindex.server.page.play import add_play_pages, play_router

    site = Site(engine, settings)
    site.warm_up()
    app.include_router(page_router(site))
    add_locate_page(site)
    if site.games is not None:
        app.include_router(play_router(site, site.games))
        add_play_pages(site, site.games)
    _add_sign_in(app, engine.settings.token)
    nicegui_app.add_middleware(PagePolicy, tile_origin=settings.tile_origin)
    ui.run_with(
        app, title="geoindex", favicon=ICON, dark=None, language="en-US", tailwind=False, show_welcome_message=False,
        binding_refresh_interval=None, reconnect_timeout=RECONNECT_S, message_history_length=HISTORY,
    )  # fmt: skip


def _add_sign_in(app: FastAPI, token: str | None) -> None:
    """Put the sign-in right before the guard that asks for the token."""
    if token is None:
        return
    guards: list[object] = [guard.cls for guard in app.user_middleware]
    app.user_middleware.insert(guards.index(TokenGuard), Middleware(SignIn, token=token))
