"""A photo -> its embedding."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from geoindex.server.dependencies import AskedEngine
from geoindex.server.documents import EMBEDDING, IMAGE, OF_BODIES, refusals
from geoindex.server.representations import JSON, accepted_type, json_response
from geoindex.server.uploads import read_images

router = APIRouter(prefix="/v1", tags=["queries"])


@router.post("/embedding", responses=EMBEDDING | refusals(*OF_BODIES), openapi_extra=IMAGE)
async def embedding(request: Request, engine: AskedEngine) -> Response:
    """Return the embedding of a photo, a unit vector; `POST /v1/query` takes it instead of the photo."""
    kind, limits = accepted_type(request, (JSON,)), engine.settings
    with engine.admit():
        (image,) = await read_images(request, 1, limits.max_image_bytes)
        vector = await engine.embed(image)
    fingerprint = engine.index.snapshot.encoder.fingerprint
    return json_response({"embedding": vector.tolist(), "dim": len(vector), "encoder": fingerprint}, kind)
