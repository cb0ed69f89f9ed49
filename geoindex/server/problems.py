"""Errors -> answers: `{"error": {"type", "message"}}` with the right status, and never more than that."""

import json
import logging
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from geoindex.errors import ConfigError, GeoindexError, ServerError, UnreadableImageError

log = logging.getLogger(__name__)

UNPROCESSABLE = 422
OURS = {
    500: "The server failed; its log says why.",
    503: "The index cannot answer now; the server's log says why.",
}
"""What is told of faults that are the server's own: their messages may name its files."""

REASONS = {404: "There is no such address.", 405: "This address does not take this method."}


def refusal(error: Exception) -> Response:
    """Return what is answered instead."""
    status, kind, message = described(error)
    headers = error.headers if isinstance(error, ServerError | HTTPException) else None
    return _response(status, kind, message, headers)


def described(error: Exception) -> tuple[int, str, str]:
    """Return status, type and message of an error; those that are the server's own are logged."""
    kind = type(error).__name__
    if isinstance(error, ServerError):
        return error.status, kind, str(error)
    if isinstance(error, UnreadableImageError | ConfigError):
        return UNPROCESSABLE, kind, str(error)
    if isinstance(error, HTTPException):
        return error.status_code, "RequestError", REASONS.get(error.status_code, str(error.detail))
    if isinstance(error, ClientDisconnect):
        return 400, "RequestError", "The connection ended before the body did."
    if isinstance(error, RequestValidationError):
        return UNPROCESSABLE, "ConfigError", _wrong(error.errors())
    status = 503 if isinstance(error, GeoindexError) else 500
    log.error("%s: %s", kind, error, exc_info=None if status == 503 else error)
    return status, "ServerError", OURS[status]


def error_body(error: Exception) -> dict[str, Any]:
    """Return what is told of an error, as JSON types."""
    _, kind, message = described(error)
    return {"error": {"type": kind, "message": message}}


def _response(status: int, kind: str, message: str, headers: Mapping[str, str] | None) -> Response:
    body = json.dumps({"error": {"type": kind, "message": message}}, ensure_ascii=False)
    return Response(body, status, headers, "application/json")


def _wrong(errors: Any) -> str:
    """Say in one sentence what is wrong with the parameters of a request."""
    parts = [f"{'.'.join(map(str, each['loc'][1:]))}: {each['msg']}" for each in errors]
    return f"The request is not valid: {'; '.join(parts)}."


def add_problems(app: FastAPI) -> None:
    """Let an application answer its errors like this."""

    async def answer(request: Request, error: Exception) -> Response:
        return refusal(error)

    for kind in (GeoindexError, HTTPException, RequestValidationError, ClientDisconnect):
        app.add_exception_handler(kind, answer)
