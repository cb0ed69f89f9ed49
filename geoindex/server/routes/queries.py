"""Photos in, predictions out."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from geoindex.server.engine import Engine
from geoindex.server.parameters import Options
from geoindex.server.representations import accepted_type, prediction_response
from geoindex.server.uploads import read_images

router = APIRouter(prefix="/v1", tags=["queries"])


def engine_of(request: Request) -> Engine:
    """Return the engine of the application that a request came to."""
    engine: Engine = request.app.state.engine
    return engine


Asked = Annotated[Engine, Depends(engine_of)]


@router.post("/query")
async def query(request: Request, parameters: Options, engine: Asked) -> Response:
    """Say where a photo was taken; several photos of one form are views of one place."""
    kind, options, limits = accepted_type(request), parameters.options(), engine.settings
    with engine.admit():
        images = await read_images(request, limits.max_views, limits.max_image_bytes)
        return prediction_response(await engine.predict(images, options), kind)
