"""What the server has done."""

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import Response

from geoindex.server.dependencies import AskedEngine
from geoindex.server.documents import COUNTS, refusals

router = APIRouter(tags=["health"])


@router.get("/metrics", responses=COUNTS | refusals())
async def metrics(engine: AskedEngine) -> Response:
    """Return counts and times, for Prometheus."""
    return Response(engine.metrics.text(), media_type=CONTENT_TYPE_LATEST)
