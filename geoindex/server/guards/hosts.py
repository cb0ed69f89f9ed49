"""By which name a server may be called, and from which pages.

A page of a stranger can give its own name the address 127.0.0.1 and then read what a server there answers. Such
requests still carry the stranger's name.
"""

from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from geoindex.errors import RequestError
from geoindex.server.guards.refusing import refuse
from geoindex.server.settings import LOOPBACK, ServerSettings


class HostGuard:
    """Refuses strange names where no token protects, and web sockets of pages from elsewhere."""

    def __init__(self, app: ASGIApp, settings: ServerSettings) -> None:
        self._app = app
        self._names = None if settings.token else {*LOOPBACK, *map(str.lower, settings.allowed_hosts)}
        self._origins = {host_name(urlsplit(origin).netloc) for origin in settings.cors_origins}
        self._origins |= set(map(str.lower, settings.allowed_hosts))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] in ("http", "websocket") and (error := self._strange(scope)):
            await refuse(error, scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _strange(self, scope: Scope) -> RequestError | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if self._names is not None and host_name(host) not in self._names:
            return RequestError(
                "This server is not called by that name; ask it at 127.0.0.1, or start it with --allow-host NAME.",
                status=421,
            )
        origin = headers.get("origin")
        if scope["type"] == "websocket" and origin and not self._is_own(urlsplit(origin).netloc, host):
            return RequestError("Pages from elsewhere may not connect.", status=403)
        return None

    def _is_own(self, origin: str, host: str) -> bool:
        return origin.lower() == host.lower() or host_name(origin) in self._origins


def host_name(host: str) -> str:
    """Return a host without its port."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
