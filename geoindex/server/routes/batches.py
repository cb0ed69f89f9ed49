"""Many photos -> a line for each, in order, while the next ones are still being sent."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import TypeAlias

from fastapi import APIRouter, Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from geoindex.errors import RequestError
from geoindex.querying import BATCH_IMAGES
from geoindex.search.options import QueryOptions
from geoindex.server.addresses import BATCH
from geoindex.server.dependencies import AskedEngine, AskedOptions
from geoindex.server.documents import IMAGES, LINES, OF_BODIES, refusals
from geoindex.server.engine import Engine
from geoindex.server.problems import error_body
from geoindex.server.representations import JSON_LINES, accepted_type
from geoindex.server.uploads import stream_uploads

router = APIRouter(tags=["queries"])

Answers: TypeAlias = "asyncio.Queue[asyncio.Task[str] | Exception | None]"
"""Lines in the making, in order; an error ends the body early, nothing ends it."""


@router.post(BATCH, responses=LINES | refusals(403, *OF_BODIES), openapi_extra=IMAGES)
async def query_batch(request: Request, options: AskedOptions, engine: AskedEngine) -> Response:
    """Say where each of many photos was taken, one JSON object a line, in order.

    Each line has the name of the photo as `input`, and a prediction, or the `error` that stands in its place. If the
    body itself turns out to be wrong when answers have begun, that is the last line.
    """
    accepted_type(request, (JSON_LINES,))
    lines = _lines(request, engine, options)
    return _BesideBody(_resumed(await anext(lines), lines), media_type=JSON_LINES)


class _BesideBody(StreamingResponse):
    """A response that begins while its request arrives; its like elsewhere would take the body for its own."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.stream_response(send)


async def _resumed(first: str, rest: AsyncGenerator[str]) -> AsyncIterator[str]:
    """Yield what was taken off to see whether there is an answer at all, and the rest."""
    async with aclosing(rest):
        yield first
        async for line in rest:
            yield line


async def _lines(request: Request, engine: Engine, options: QueryOptions) -> AsyncGenerator[str]:
    """Yield the lines of a batch.

    Raises:
        ServerError: if there is none.
    """
    with engine.admit_batch():
        answers: Answers = asyncio.Queue()
        reading, count = asyncio.create_task(_read(request, engine, options, answers)), 0
        try:
            while (answer := await answers.get()) is not None:
                if isinstance(answer, Exception) and count == 0:
                    raise answer
                yield _text(error_body(answer)) if isinstance(answer, Exception) else await answer
                count += 1
        finally:
            reading.cancel()
    if count == 0:
        raise RequestError("There is no image; send images as parts of a form, all named 'image'.")


async def _read(request: Request, engine: Engine, options: QueryOptions, answers: Answers) -> None:
    """Have the images of a body answered as they arrive, `BATCH_IMAGES` at a time."""
    limits, places = engine.settings, asyncio.Semaphore(BATCH_IMAGES)
    number = 0
    try:
        async for upload in stream_uploads(request, limits.max_batch_images, limits.max_image_bytes):
            await places.acquire()
            answer = asyncio.create_task(_line(upload.name or str(number), upload.data, engine, options))
            answer.add_done_callback(lambda _: places.release())
            answers.put_nowait(answer)
            number += 1
    except Exception as error:
        answers.put_nowait(error)
    answers.put_nowait(None)


async def _line(name: str, image: bytes, engine: Engine, options: QueryOptions) -> str:
    try:
        answer = (await engine.predict([image], options)).to_dict()
    except Exception as error:
        answer = error_body(error)
    return _text({"input": name, **answer})


def _text(line: dict[str, object]) -> str:
    return json.dumps(line, ensure_ascii=False) + "\n"
