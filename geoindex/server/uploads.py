"""Bodies -> encoded images, in memory: no byte of them goes to a file."""

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from geoindex.errors import RequestError

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

FORM = b"multipart/form-data"
FIELD = b"image"
"""Name of the parts of a form that hold images."""

RAW = (b"image/", b"application/octet-stream")
"""What the type of a body that is one image starts with."""

MAX_BOUNDARY, MAX_HEADERS = 70, 8192


async def read_images(request: Request, most: int, max_bytes: int) -> list[bytes]:
    """Return the images of a body: it is one itself, or a form with one or several.

    Raises:
        RequestError: if it is neither, or there are too many, or one is too large.
    """
    images = [image async for image in stream_images(request, most, max_bytes)]
    if not images:
        raise RequestError("There is no image; send it as the body, or as the part 'image' of a form.")
    return images


def stream_images(request: Request, most: int, max_bytes: int) -> AsyncIterator[bytes]:
    """Yield the images of a body as they arrive.

    Raises:
        RequestError: if there is something else, or there are too many, or one is too large.
    """
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    if kind == FORM:
        return _parts(request, options.get(b"boundary", b""), most, max_bytes)
    if kind.startswith(RAW):
        return _whole(request, max_bytes)
    raise RequestError(
        f"Content-Type {kind.decode('latin-1') or 'is missing'}: send image/jpeg or another image type, or a form "
        "(multipart/form-data) with the part 'image'.", status=415,
    )  # fmt: skip


async def _whole(request: Request, max_bytes: int) -> AsyncIterator[bytes]:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        _check_size(len(body), max_bytes)
    if not body:
        raise RequestError("The body is empty; send an image.")
    yield bytes(body)


async def _parts(request: Request, boundary: bytes, most: int, max_bytes: int) -> AsyncIterator[bytes]:
    if not 0 < len(boundary) <= MAX_BOUNDARY:
        raise RequestError("The form has no boundary in its Content-Type, or none that can be used.")
    form = _Form(max_bytes)
    parser = MultipartParser(boundary, form.callbacks())
    count = 0
    async for chunk in request.stream():
        _write(parser, chunk)
        for image in form.finished():
            count += 1
            if count > most:
                raise RequestError(f"There are more than {most} images; send fewer.", status=413)
            yield image
    if not form.ended:
        raise RequestError("The form breaks off before its end.")


def _write(parser: MultipartParser, chunk: bytes) -> None:
    try:
        parser.write(chunk)
    except FormParserError as error:
        raise RequestError("The body is no form; it does not follow its boundary.") from error


def _check_size(size: int, max_bytes: int) -> None:
    if size > max_bytes:
        raise RequestError(f"An image has more than {max_bytes} bytes; make it smaller.", status=413)


class _Form:
    """What a parser of forms calls: it gathers the parts that hold images."""

    def __init__(self, max_bytes: int) -> None:
        self.ended = False
        self._max_bytes, self._images = max_bytes, list[bytes]()
        self._part, self._field, self._value = bytearray(), bytearray(), bytearray()
        self._disposition = b""

    def callbacks(self) -> "MultipartCallbacks":
        return {
            "on_part_begin": self._begin, "on_header_field": self._on_field, "on_header_value": self._on_value,
            "on_header_end": self._on_header, "on_headers_finished": self._on_headers, "on_part_data": self._on_data,
            "on_part_end": self._on_part, "on_end": self._on_end,
        }  # fmt: skip

    def finished(self) -> list[bytes]:
        """Return the images that are complete since the last call."""
        images, self._images = self._images, []
        return images

    def _begin(self) -> None:
        self._part, self._disposition = bytearray(), b""
        self._field, self._value = bytearray(), bytearray()

    def _on_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]
        self._check_header()

    def _on_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]
        self._check_header()

    def _check_header(self) -> None:
        if len(self._field) + len(self._value) > MAX_HEADERS:
            raise RequestError("A part of the form has too long a header.")

    def _on_header(self) -> None:
        if self._field.lower() == b"content-disposition":
            self._disposition = bytes(self._value)
        self._field, self._value = bytearray(), bytearray()

    def _on_headers(self) -> None:
        _, options = parse_options_header(self._disposition)
        name = options.get(b"name", b"")
        if name != FIELD:
            raise RequestError(f"The form has the part {name.decode('latin-1')!r}; its parts must be named 'image'.")

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        self._part += data[start:end]
        _check_size(len(self._part), self._max_bytes)

    def _on_part(self) -> None:
        self._images.append(bytes(self._part))

    def _on_end(self) -> None:
        self.ended = True
