"""How much a body may hold, and how slowly it may come."""

import asyncio
from time import perf_counter

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from geoindex.errors import RequestError
from geoindex.server.addresses import BATCH
from geoindex.server.guards.refusing import refuse
from geoindex.server.settings import ServerSettings


class BodyGuard:
    """Hands on a body until it is too large or too slow: then reading it raises a `RequestError`."""

    def __init__(self, app: ASGIApp, settings: ServerSettings) -> None:
        self._app, self._settings = app, settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        settings = self._settings
        most = settings.max_batch_bytes if scope["path"] == BATCH else settings.max_body_bytes
        if _announced(scope) > most:
            await refuse(_too_large(most), scope, receive, send)
        else:
            await self._app(scope, _Body(receive, most, settings), send)


class _Body:
    """Receives the messages of one request."""

    def __init__(self, receive: Receive, most: int, settings: ServerSettings) -> None:
        self._receive, self._most, self._settings = receive, most, settings
        self._size, self._waited_s, self._ended = 0, 0.0, False

    async def __call__(self) -> Message:
        """Return the next message.

        Raises:
            RequestError: if the body is too large or too slow.
        """
        if self._ended:  # what comes is the end of the connection, whenever that is
            return await self._receive()
        started_s = perf_counter()
        try:
            async with asyncio.timeout(self._patience_s()):
                message = await self._receive()
        except TimeoutError as error:
            # the rest may still come, so no further request can be read from this connection
            raise RequestError(
                "The body came too slowly; send it again.", status=408, headers={"Connection": "close"}
            ) from error
        self._waited_s += perf_counter() - started_s
        self._size += len(message.get("body", b""))
        self._ended = not message.get("more_body", False)
        if self._size > self._most:
            raise _too_large(self._most)
        return message

    def _patience_s(self) -> float:
        """Return how long the next message may take: a fixed time in all, and more for what has come."""
        settings = self._settings
        return settings.read_timeout_s + self._size / settings.min_bytes_per_s - self._waited_s


def _announced(scope: Scope) -> int:
    size = Headers(scope=scope).get("content-length", "")
    return int(size) if size.isdecimal() and len(size) < 20 else 0


def _too_large(most: int) -> RequestError:
    return RequestError(f"The body has more than {most} bytes; send less at a time.", status=413)
