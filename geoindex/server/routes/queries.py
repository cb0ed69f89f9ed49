"""A photo, photos of one place, or an embedding -> one prediction."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from geoindex.prediction import Prediction
from geoindex.search.options import QueryOptions
from geoindex.server.dependencies import AskedEngine, AskedOptions
from geoindex.server.documents import ANSWER, IMAGE_OR_EMBEDDING, OF_BODIES, refusals
from geoindex.server.embeddings import is_json, read_embedding
from geoindex.server.engine import Engine
from geoindex.server.representations import accepted_type, prediction_response
from geoindex.server.uploads import read_images

router = APIRouter(prefix="/v1", tags=["queries"])


@router.post(
    "/query",
    responses=ANSWER | refusals(403, *OF_BODIES),
    openapi_extra=IMAGE_OR_EMBEDDING,
)
async def query(request: Request, options: AskedOptions, engine: AskedEngine) -> Response:
    """Say where a photo was taken.

    Several photos of one form are views of one place and get one answer. GPS in their EXIF is never used. An embedding
    of this index's encoder may be sent instead.
    """
    kind = accepted_type(request)
    with engine.admit():
        return prediction_response(await _predict(request, engine, options), kind)


async def _predict(request: Request, engine: Engine, options: QueryOptions) -> Prediction:
    if is_json(request):
        return await engine.query_embedding(await read_embedding(request), options)
    limits = engine.settings
    return await engine.predict(await read_images(request, limits.max_views, limits.max_image_bytes), options)
