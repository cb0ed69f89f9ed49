"""Bodies -> encoded images, in memory: no byte of them goes to a file."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class Upload:
    """An image that was sent.

    Attributes:
        name: what its sender calls it; empty if nothing.
        data: the encoded image.
    """

    name: str
    data: bytes


async def read_images(request: Request, most: int, max_bytes: int) -> list[bytes]:
    """Return the images of a body: it is one itself, or a form with one or several.

    Raises:
        RequestError: if it is neither, or there are too many, or one is too large.
    """
    images = [upload.data async for upload in stream_uploads(request, most, max_bytes)]
    if not images:
        raise RequestError("There is no image; send it as the body, or as the part 'image' of a form.")
    return images


def stream_uploads(request: Request, most: int, max_bytes: int) -> AsyncIterator[Upload]:
    """Yield the images of a body as they arrive.

    Raises:
        RequestError: if there is something else, or there are too many, or one is too large.
    """
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    if kind == FORM:
        return _parts(request, _parser(options.get(b"boundary", b""), form := _Form(max_bytes)), form, most)
    if kind.startswith(RAW):
        return _whole(request, max_bytes)
    raise RequestError(
        f"The Content-Type is {kind.decode('latin-1') or 'missing'}; send image/jpeg or another type of image, or a "
        "form (multipart/form-data) with the part 'image'.",
        status=415,
    )


def _parser(boundary: bytes, form: "_Form") -> MultipartParser:
    try:
        return MultipartParser(boundary, form.callbacks())
    except FormParserError as error:
        raise RequestError("The boundary of the form is too long; take one of at most 70 characters.") from error


async def _whole(request: Request, max_bytes: int) -> AsyncIterator[Upload]:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        _check_size(len(body), max_bytes)
    if not body:
        raise RequestError("The body is empty; send an image.")
    yield Upload("", bytes(body))


async def _parts(request: Request, parser: MultipartParser, form: "_Form", most: int) -> AsyncIterator[Upload]:
    count = 0
    async for chunk in request.stream():
        try:
            parser.write(chunk)
        except FormParserError as error:
            raise RequestError("The body is no form, or does not keep to its boundary.") from error
        for upload in form.take():
            count += 1
            if count > most:
                raise RequestError(f"There are more than {most} images; send fewer at a time.", status=413)
            yield upload
    if not form.ended:
        raise RequestError("The form breaks off before its end; send it again.")


def _check_size(size: int, max_bytes: int) -> None:
    if size > max_bytes:
        raise RequestError(f"An image has more than {max_bytes} bytes; make it smaller.", status=413)


class _Form:
    """Gathers the images of a form from what its parser calls.

    Attributes:
        ended: whether its last boundary was met.
    """

    def __init__(self, max_bytes: int) -> None:
        self.ended = False
        self._max_bytes, self._uploads = max_bytes, list[Upload]()
        self._name, self._data = "", bytearray()
        self._field, self._value, self._disposition = bytearray(), bytearray(), b""

    def callbacks(self) -> "MultipartCallbacks":
        return {
            "on_part_begin": self._on_part_begin,
            "on_header_field": self._on_field,
            "on_header_value": self._on_value,
            "on_header_end": self._on_header_end,
            "on_headers_finished": self._on_headers,
            "on_part_data": self._on_data,
            "on_part_end": self._on_part_end,
            "on_end": self._on_end,
        }

    def take(self) -> list[Upload]:
        """Return the images that became complete since the last call."""
        uploads, self._uploads = self._uploads, []
        return uploads

    def _on_part_begin(self) -> None:
        self._data, self._disposition = bytearray(), b""

    def _on_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _on_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header_end(self) -> None:
        if self._field.lower() == b"content-disposition":
            self._disposition = bytes(self._value)
        self._field, self._value = bytearray(), bytearray()

    def _on_headers(self) -> None:
        _, options = parse_options_header(self._disposition)
        field = options.get(b"name", b"")
        if field != FIELD:
            told = field.decode("utf-8", "replace")
            raise RequestError(f"The form has a part named {told!r}; its parts are images, all named 'image'.")
        self._name = options.get(b"filename", b"").decode("utf-8", "replace")

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        self._data += data[start:end]
        _check_size(len(self._data), self._max_bytes)

    def _on_part_end(self) -> None:
        self._uploads.append(Upload(self._name, bytes(self._data)))

    def _on_end(self) -> None:
        self.ended = True
