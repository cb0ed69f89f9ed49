"""Embeddings as JSON, in and out."""

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request

from geoindex.errors import RequestError

MAX_DIM, MAX_BYTES = 8192, 2**20
"""Numbers of an embedding, and bytes that they are spelled out in."""


class EmbeddingBody(BaseModel):
    """A unit vector of the encoder that built the index."""

    model_config = ConfigDict(extra="forbid")

    embedding: list[float] = Field(min_length=1, max_length=MAX_DIM)


def is_json(request: Request) -> bool:
    """Tell whether a request has a JSON body."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower() == "application/json"


async def read_embedding(request: Request) -> NDArray[np.float32]:
    """Return the embedding of a JSON body, (dim,).

    Raises:
        RequestError: if it is none, or too large to be one.
    """
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BYTES:
            raise RequestError(f"The body has more than {MAX_BYTES} bytes, which is no embedding.", status=413)
    try:
        given = EmbeddingBody.model_validate_json(bytes(body))
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        status = 400 if first["type"] == "json_invalid" else 422
        raise RequestError(f'The body must be {{"embedding": [numbers]}}: {first["msg"]}.', status=status) from error
    with np.errstate(over="ignore"):  # what is too large becomes infinite, and is refused as no unit vector
        return np.asarray(given.embedding, np.float64).astype(np.float32)
