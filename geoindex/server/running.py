"""A server from its start to its end: it listens, answers, and stops when it is told to."""

import logging
import math
import signal
import socket
from collections.abc import Callable
from importlib.util import find_spec
from os import PathLike
from typing import TYPE_CHECKING

from geoindex.errors import ConfigError, MissingExtraError
from geoindex.index import GeoIndex, open_index
from geoindex.server.page.settings import PageSettings
from geoindex.server.settings import ServerSettings

if TYPE_CHECKING:
    import uvicorn

EXTRA = ("fastapi", "nicegui", "prometheus_client", "python_multipart", "uvicorn")
"""Packages of the extra `serve`."""

BACKLOG = 2048
MAX_MESSAGE = 2**20
"""Bytes of a message of a web socket."""

CHATTY = ("uvicorn.error", "python_multipart")
"""Loggers that warn of whatever a stranger sends."""


def serve(
    index: str | PathLike[str] | None,
    settings: ServerSettings,
    *,
    page: PageSettings | None = None,
    device: str = "auto",
    backend: str = "auto",
    started: Callable[[str], None] = lambda address: None,
) -> None:
    """Answer over HTTP until SIGTERM, which lets requests under way finish.

    Args:
        index: folder of the index; see `open_index`.
        settings: what is allowed.
        page: what its page shows; None: there is no page.
        device: where the encoder computes.
        backend: what computes in it.
        started: called with the address once it listens.

    Raises:
        MissingExtraError: if the extra `serve` is not installed.
        ConfigError: if the address cannot be had.
        StoreError: if there is no index, or it is damaged.
        EncoderError: if its encoder cannot be loaded.
        KeyboardInterrupt: after an interruption, when requests under way are finished.
    """
    check_extra()
    listener = _listen(settings)
    with listener:
        opened = open_index(index, device=device, backend=backend, follow=True)
        warm_up(opened)
        server = _server(opened, settings, page)
        started(_address(settings, listener))
        _run(server, listener)


def check_extra() -> None:
    """Raise `MissingExtraError` if the extra `serve` is not installed."""
    if any(find_spec(name) is None for name in EXTRA):
        raise MissingExtraError("The server needs an extra: pip install 'geoindex[serve]'.")


def _listen(settings: ServerSettings) -> socket.socket:
    """Return the socket that the server listens on."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host, settings.port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise ConfigError(
            f"Cannot listen at {settings.host}:{settings.port} ({error.strerror}); take another --port or --host."
        ) from error


def _address(settings: ServerSettings, listener: socket.socket) -> str:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"http://{host}:{listener.getsockname()[1]}"


def warm_up(index: GeoIndex) -> None:
    """Load the encoder and answer once, so that the first request does not wait for it."""
    from PIL import Image

    if index.manifest.encoder["spec"]:
        index.query_image(Image.new("RGB", (64, 64)))


def _server(index: GeoIndex, settings: ServerSettings, page: PageSettings | None) -> "uvicorn.Server":
    import uvicorn

    from geoindex.server.application import create_app
    from geoindex.server.connections import HeadBoundProtocol

    for name in CHATTY:
        logging.getLogger(name).setLevel(logging.ERROR)
    config = uvicorn.Config(
        create_app(settings, index, page),
        http=HeadBoundProtocol,
        log_config=None,
        access_log=False,  # addresses tell what was asked
        server_header=False,
        timeout_graceful_shutdown=math.ceil(settings.shutdown_timeout_s),
        ws_max_size=MAX_MESSAGE,
    )
    return uvicorn.Server(config)


def _run(server: "uvicorn.Server", listener: socket.socket) -> None:
    before = signal.signal(signal.SIGTERM, lambda *_: None)  # uvicorn raises again, at its end, what it was sent
    try:
        server.run(sockets=[listener])
    finally:
        signal.signal(signal.SIGTERM, before)
