"""Is it up, and does it answer?"""

from fastapi import APIRouter
from starlette.responses import Response

from geoindex.errors import UnavailableError
from geoindex.server.dependencies import AskedEngine
from geoindex.server.documents import STATE, refusals
from geoindex.server.representations import json_response

router = APIRouter(tags=["health"])


@router.get("/healthz", responses=STATE)
async def healthz() -> Response:
    """Say that the process is up."""
    return json_response({"status": "ok"})


@router.get("/readyz", responses=STATE | refusals(503))
async def readyz(engine: AskedEngine) -> Response:
    """Say whether questions are answered, and by which generation."""
    if not engine.ready:
        raise UnavailableError("The server is stopping.")
    return json_response({"status": "ok", "generation": engine.index.snapshot.manifest.generation})
