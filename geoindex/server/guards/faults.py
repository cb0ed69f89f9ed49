"""Counts requests, and answers for what nobody foresaw: one plain sentence, never a traceback."""

from time import perf_counter

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from geoindex.server.metrics import Metrics
from geoindex.server.problems import refusal


class FaultGuard:
    """Turns every error that no handler took into a refusal, and counts what was answered."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, started_s = 0, perf_counter()

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noted)
        except Exception as error:
            response = refusal(error)
            if status == 0:
                await response(scope, receive, noted)
        finally:
            self._count(scope, status, perf_counter() - started_s)

    def _count(self, scope: Scope, status: int, seconds: float) -> None:
        """Count an answer by the pattern of its address: addresses themselves are without number."""
        route = getattr(scope.get("route"), "path", "other")
        method = scope["method"] if scope["method"] in ("GET", "POST", "HEAD", "OPTIONS") else "other"
        self._metrics.requests.labels(method, route, status).inc()
        self._metrics.latency_s.labels(route).observe(seconds)
