"""The token of a server, asked for once by a page, and kept by the browser where no script reads it."""

import hmac
import secrets
from collections.abc import Sequence

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request, cookie_parser
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from geoindex.server.page.forms import read_field
from geoindex.server.page.sign_in_page import render_sign_in

COOKIE = "geoindex"
SIGN_IN = "/sign-in"
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'"


class SignIn:
    """Asks pages without the token for it, and shows it to the guard behind on behalf of those that have the cookie.

    The cookie holds a key of this process that stands for the token, not the token itself.
    """

    def __init__(self, app: ASGIApp, token: str, open_paths: Sequence[str] = ()) -> None:
        self._app, self._token, self._open = app, token, tuple(open_paths)
        self._key = secrets.token_urlsafe(32)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] == "http" and scope["path"] == SIGN_IN:
            await (await self._sign_in(Request(scope, receive)))(scope, receive, send)
            return
        if scope["type"] in ("http", "websocket"):
            if self._has_cookie(scope):
                scope = _with_bearer(scope, self._token)
            elif scope["type"] == "http" and _is_visit(scope):
                await RedirectResponse(SIGN_IN, 303)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _has_cookie(self, scope: Scope) -> bool:
        headers = Headers(scope=scope)
        shown = cookie_parser(headers.get("cookie", "")).get(COOKIE, "")
        return hmac.compare_digest(shown.encode(), self._key.encode()) and "authorization" not in headers

    async def _sign_in(self, request: Request) -> Response:
        if request.method != "POST":
            return _page(wrong=False, status=200)
        shown = await read_field(request, "token")
        if not hmac.compare_digest(shown.encode(), self._token.encode()):
            return _page(wrong=True, status=401)
        answer = RedirectResponse("/", 303)
        secure = request.url.scheme == "https"
        answer.set_cookie(COOKIE, self._key, httponly=True, samesite="strict", secure=secure, path="/")
        return answer


def _page(wrong: bool, status: int) -> Response:
    return HTMLResponse(render_sign_in(wrong), status, {"Content-Security-Policy": POLICY})


def _is_visit(scope: Scope) -> bool:
    """Tell whether a person opens a page, without a token of any kind."""
    headers = Headers(scope=scope)
    return scope["method"] == "GET" and "text/html" in headers.get("accept", "") and "authorization" not in headers


def _with_bearer(scope: Scope, token: str) -> Scope:
    scope = dict(scope, headers=list(scope["headers"]))
    MutableHeaders(scope=scope)["Authorization"] = f"Bearer {token}"
    return scope
