"""The token that requests show."""

import hmac
from base64 import b64decode

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from geoindex.errors import RequestError
from geoindex.server.addresses import HEALTH, is_api
from geoindex.server.guards.refusing import refuse


class TokenGuard:
    """Refuses connections without the token: as a bearer, or as the password that a browser asks for."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app, self._token = app, token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] not in ("http", "websocket") or scope["path"] in HEALTH or self._is_shown(scope):
            await self._app(scope, receive, send)
            return
        way = "Bearer" if is_api(scope["path"]) else 'Basic realm="geoindex", charset="UTF-8"'
        message = "The token is missing or wrong; send it as 'Authorization: Bearer TOKEN'."
        await refuse(RequestError(message, status=401, headers={"WWW-Authenticate": way}), scope, receive, send)

    def _is_shown(self, scope: Scope) -> bool:
        shown = shown_token(Headers(scope=scope).get("authorization", ""))
        return hmac.compare_digest(shown, self._token)


def shown_token(authorization: str) -> bytes:
    """Return the token of a header: a bearer, or the password of any user; empty if it has none."""
    way, _, value = authorization.partition(" ")
    if way.lower() == "bearer":
        return value.strip().encode("utf-8", "replace")
    if way.lower() != "basic":
        return b""
    try:
        return b64decode(value.strip(), validate=True).partition(b":")[2]
    except ValueError:
        return b""
