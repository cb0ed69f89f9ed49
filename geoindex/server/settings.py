"""What a server allows: addresses, token, sizes, times."""

from dataclasses import dataclass, field, fields
from pathlib import Path

from geoindex.errors import ConfigError
from geoindex.search.options import QueryOptions

LOOPBACK = ("127.0.0.1", "localhost", "::1")
"""Hosts that only this machine reaches."""

MIN_TOKEN = 16
"""Characters that a token has at least."""


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """What a server allows.

    Attributes:
        host: where it listens; any but a loopback address needs a token.
        port: where it listens; 0: any that is free.
        token: what every request must show; None: nothing.
        allowed_hosts: further names that it may be called by, such as that of a reverse proxy. With a token it may be
            called by any, but web sockets open for pages of these alone.
        cors_origins: web pages of other origins that may ask, such as https://maps.example.org.
        max_precision_km: every answer is rounded at least to this, and cells, clusters and stored photos are withheld.
        thumbnails: whether small pictures of stored photos are shown, read from the source of the index.
        max_waiting: requests that are read, decoded or answered at a time; one more is refused with 429.
        max_image_bytes: most bytes of an image.
        max_pixels: most pixels of an image.
        max_body_bytes: most bytes of a request.
        max_views: most images of one place.
        max_batch_images: most images of a batch.
        max_batch_bytes: most bytes of a batch, which is never held whole.
        max_batches: batches at a time.
        read_timeout_s: time for the body of a request to arrive, beside that of `min_bytes_per_s`.
        min_bytes_per_s: slowest way for a body to arrive.
        deadline_s: time from the end of the body to the answer.
        shutdown_timeout_s: time that a stopping server gives to requests under way.
        follow_s: time between two looks for a new generation of an index at a URL.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    token: str | None = field(default=None, repr=False)
    allowed_hosts: tuple[str, ...] = ()
    cors_origins: tuple[str, ...] = ()
    max_precision_km: float | None = None
    thumbnails: bool = False
    max_waiting: int = 64
    max_image_bytes: int = 16 * 2**20
    max_pixels: int = 50_000_000
    max_body_bytes: int = 32 * 2**20
    max_views: int = 8
    max_batch_images: int = 1000
    max_batch_bytes: int = 4 * 2**30
    max_batches: int = 2
    read_timeout_s: float = 15.0
    min_bytes_per_s: int = 32 * 2**10
    deadline_s: float = 30.0
    shutdown_timeout_s: float = 40.0
    follow_s: float = 60.0

    def __post_init__(self) -> None:
        for name in (f.name for f in fields(self) if f.name.startswith(("max_", "min_")) or f.name.endswith("_s")):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ConfigError(f"{name} is {value}; it must be positive.")
        QueryOptions(max_precision_km=self.max_precision_km)  # which says what is wrong with it
        if not 0 <= self.port <= 65535:
            raise ConfigError(f"port is {self.port}; it must be from 0 to 65535.")
        if self.token is None and not self.is_loopback:
            raise ConfigError(f"Other machines reach host {self.host}; give --token-file, or take 127.0.0.1.")
        if self.token is not None and not (len(self.token) >= MIN_TOKEN and self.token.isascii()):
            raise ConfigError(
                f"The token must have {MIN_TOKEN} ASCII characters or more; make one with 'openssl rand -hex 32'."
            )
        if self.max_body_bytes < self.max_image_bytes:
            raise ConfigError(f"max_body_bytes is {self.max_body_bytes}; an image may have {self.max_image_bytes}.")
        if self.thumbnails and self.max_precision_km is not None:
            raise ConfigError("A server with max_precision_km shows no stored photos; leave out thumbnails.")

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine reaches the server."""
        return self.host in LOOPBACK


def read_token(path: Path) -> str:
    """Return the token that stands in a file, without white space around it.

    Raises:
        ConfigError: if it cannot be read.
    """
    try:
        return path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"The token file '{path}' cannot be read ({error}); give a file with one line.") from error
