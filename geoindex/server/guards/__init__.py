"""What stands before every request: ASGI middleware that hands on, refuses, or changes headers."""

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from geoindex.server.guards.bodies import BodyGuard
from geoindex.server.guards.faults import FaultGuard
from geoindex.server.guards.headers import HeaderGuard
from geoindex.server.guards.hosts import HostGuard
from geoindex.server.guards.token import TokenGuard
from geoindex.server.metrics import Metrics
from geoindex.server.settings import ServerSettings


def add_guards(app: FastAPI, settings: ServerSettings, metrics: Metrics) -> None:
    """Put all guards before an application; the last one added sees a request first."""
    app.add_middleware(BodyGuard, settings=settings)
    if settings.token is not None:
        app.add_middleware(TokenGuard, token=settings.token)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type"],
        )
    app.add_middleware(HostGuard, settings=settings)
    app.add_middleware(FaultGuard, metrics=metrics)
    app.add_middleware(HeaderGuard)
