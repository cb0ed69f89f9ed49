"""What every answer tells a browser to refuse."""

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from geoindex.server.addresses import is_api

SAFE = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}

NOTHING = "default-src 'none'; frame-ancestors 'none'"
"""Content policy of answers that are no page."""

PAGE = (
    "default-src 'self'; img-src 'self' data: blob:; style-src 'self' 'unsafe-inline'; "
    "script-src 'self' 'unsafe-inline' 'unsafe-eval'; connect-src 'self'; object-src 'none'; base-uri 'self'; "
    "form-action 'self'; frame-ancestors 'none'"
)
"""Content policy of pages: nothing from elsewhere. Vue compiles its templates in the browser."""


class HeaderGuard:
    """Adds headers that keep browsers from guessing, framing and telling others."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                _add(MutableHeaders(scope=message), scope["path"])
            await send(message)

        await self._app(scope, receive, guarded)


def _add(headers: MutableHeaders, path: str) -> None:
    api = is_api(path)
    for name, value in SAFE.items():
        headers[name] = value
    headers.setdefault("Content-Security-Policy", NOTHING if api else PAGE)
    if api:
        headers.setdefault("Cache-Control", "no-store")
