"""How a guard refuses: an answer to a request, a closed door to a web socket."""

from starlette.types import Receive, Scope, Send

from geoindex.errors import RequestError
from geoindex.server.problems import refusal


async def refuse(error: RequestError, scope: Scope, receive: Receive, send: Send) -> None:
    """Refuse a connection."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008, "reason": ""})
    else:
        await refusal(error)(scope, receive, send)
