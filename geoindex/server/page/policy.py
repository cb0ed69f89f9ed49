"""What a page may load and run: its own files, its own scripts by a nonce, tiles of the one server that is named."""

import re
import secrets

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_SCRIPT = re.compile(rb"<script(?=[\s>])")


def content_policy(nonce: str, tile_origin: str = "") -> str:
    """Return the content policy of a page.

    Vue compiles templates and NiceGUI runs what its server sends, so scripts may evaluate; which scripts there are the
    nonce decides. Leaflet and Vue write styles into elements.

    Args:
        nonce: what the scripts of this one answer carry.
        tile_origin: of the tile server; empty: there is none.
    """
    tiles = f" {tile_origin}" if tile_origin else ""
    return (
        f"default-src 'none'; script-src 'self' 'nonce-{nonce}' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
        f"img-src 'self' data: blob:{tiles}; font-src 'self' data:; connect-src 'self'; manifest-src 'self'; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"
    )


class PagePolicy:
    """Gives every HTML answer a policy of its own, and its scripts the nonce in it."""

    def __init__(self, app: ASGIApp, tile_origin: str = "") -> None:
        self._app, self._tile_origin = app, tile_origin

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        page = _Page(send, self._tile_origin)
        await self._app(scope, receive, page.send)


class _Page:
    """Holds an HTML answer back until it is whole; hands on everything else as it comes."""

    def __init__(self, send: Send, tile_origin: str) -> None:
        self._send, self._tile_origin = send, tile_origin
        self._start: Message | None = None
        self._body = bytearray()

    async def send(self, message: Message) -> None:
        """Take a message of the application."""
        if message["type"] == "http.response.start" and _is_html(message):
            self._start = message
        elif self._start is None:
            await self._send(message)
        else:
            self._body += message.get("body", b"")
            if not message.get("more_body", False):
                await self._send_page(self._start)

    async def _send_page(self, start: Message) -> None:
        nonce = secrets.token_urlsafe(16)
        body = _SCRIPT.sub(f'<script nonce="{nonce}"'.encode(), bytes(self._body))
        headers = MutableHeaders(scope=start)
        headers["Content-Security-Policy"] = content_policy(nonce, self._tile_origin)
        headers["Content-Length"] = str(len(body))
        await self._send(start)
        await self._send({"type": "http.response.body", "body": body})


def _is_html(start: Message) -> bool:
    headers = Headers(raw=start["headers"])
    return headers.get("content-type", "").startswith("text/html") and "content-encoding" not in headers
