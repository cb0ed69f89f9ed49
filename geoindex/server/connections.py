"""Connections that must say what they want: bounded heads of requests, in bounded time."""

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from geoindex.errors import RequestError
from geoindex.server.problems import refusal

HEAD_TIMEOUT_S = 15.0
"""Time for the head of a request to arrive; its size is bounded by h11, which the faster parser does not do."""


class HeadBoundProtocol(H11Protocol):
    """Closes a connection that is open for long without a whole request."""

    _waiting: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Take what came; a request that is whole ends the waiting, a piece of the next one begins it."""
        super().data_received(data)
        if not self._is_idle:
            self._stop_waiting()
        elif self._waiting is None:
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """End the waiting."""
        self._stop_waiting()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP, as everything else is refused."""
        refused = refusal(RequestError("This is no HTTP request, or its head is too large."))
        headers = [*refused.raw_headers, (b"connection", b"close")]
        for event in (
            h11.Response(status_code=400, headers=headers),
            h11.Data(bytes(refused.body)),
            h11.EndOfMessage(),
        ):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    @property
    def _is_idle(self) -> bool:
        """Whether no request is under way; a web socket, which has left the set of connections, is one."""
        return self in self.connections and (self.cycle is None or self.cycle.response_complete)

    def _wait(self) -> None:
        self._waiting = self.loop.call_later(HEAD_TIMEOUT_S, self._close_if_idle)

    def _stop_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _close_if_idle(self) -> None:
        self._waiting = None
        if self._is_idle and not self.transport.is_closing():
            self.transport.close()
