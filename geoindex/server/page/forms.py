"""Small forms, read in memory."""

from urllib.parse import parse_qs

from starlette.requests import Request

from geoindex.errors import RequestError

MAX_BYTES = 4096


async def read_field(request: Request, name: str) -> str:
    """Return a field of an urlencoded form, without white space around it; empty if it is missing.

    Raises:
        RequestError: if the form is too large.
    """
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BYTES:
            raise RequestError(f"The form has more than {MAX_BYTES} bytes.", status=413)
    return parse_qs(body.decode("utf-8", "replace")).get(name, [""])[0].strip()
