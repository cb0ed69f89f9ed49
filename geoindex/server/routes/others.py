"""What is no address of the API, or does not take a method: refused like all else, whatever a page would answer."""

from collections import defaultdict
from collections.abc import Iterable
from itertools import chain

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

PREFIX = "/v1"


class Refusal:
    """Raises an error of HTTP for any request."""

    def __init__(self, status: int, allowed: set[str]) -> None:
        self._status, self._headers = status, {"Allow": ", ".join(sorted(allowed))} if allowed else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse."""
        raise HTTPException(self._status, headers=self._headers)


def refuse_others(app: FastAPI, routers: Iterable[APIRouter]) -> None:
    """Answer 405 to methods that no route of an address takes, and 404 to addresses below the API's own.

    Args:
        app: has the routes; what is added later, such as a page, answers elsewhere alone.
        routers: of the routes.
    """
    methods: dict[str, set[str]] = defaultdict(set)
    for route in chain.from_iterable(router.routes for router in routers):
        if isinstance(route, APIRoute):
            methods[route.path] |= route.methods or set()
    for path, allowed in methods.items():
        app.router.routes.append(Route(path, Refusal(405, allowed)))
    app.router.routes.append(Route(f"{PREFIX}/{{rest:path}}", Refusal(404, set())))
