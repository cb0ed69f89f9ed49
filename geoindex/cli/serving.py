"""The command that answers over HTTP."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from geoindex.cli.application import ANY_CLUSTER, app, complain
from geoindex.errors import ConfigError

LEAST_SIZE, MOST_SIZE = 0.001, 100_000
"""Of images that a server takes, in millions of bytes or pixels."""

if TYPE_CHECKING:
    from geoindex.server.page.settings import PageSettings
    from geoindex.server.settings import ServerSettings


@dataclass(frozen=True)
class Page:
    """What people are shown."""

    page: Annotated[bool, Parameter(negative="--no-page")] = True
    """Offer the map page at /; --no-page leaves the API alone."""

    tiles: str | None = None
    """Address of a tile server for the page's map, as https://HOST/{z}/{x}/{y}.png; without it the page fetches nothing
    from elsewhere."""

    tiles_credit: str = ""
    """Whose tiles they are, as they ask to be named."""

    games: Path | None = None
    """Offer the game at /play, and keep its results in this file; see 'geoindex game report'."""

    game_photos: int | None = None
    """Photos of a game, out of the held-out split of the index; without it 50."""

    def settings(self) -> "PageSettings | None":
        """Return what the page shows; None: there is none."""
        from geoindex.server.page.settings import PageSettings

        if self.tiles is None and self.tiles_credit:
            raise ConfigError("--tiles-credit says whose tiles they are; give --tiles too, or leave it out.")
        if self.games is None and self.game_photos is not None:
            raise ConfigError("--game-photos is of a game; give --games FILE too, or leave it out.")
        keys = {key: value for key, value in asdict(self).items() if value is not None}
        return PageSettings(**keys) if keys.pop("page") else None


@dataclass(frozen=True)
class Replicas:
    """Where it answers from."""

    ray: str = ""
    """Answer from replicas on a Ray cluster, as for build, at the address of its head; needs --no-page."""

    replicas: int | None = None
    """How many, each with a GPU or a core; without it 2."""


@app.command
def serve(
    *,
    index: Path | None = None,
    host: str = "127.0.0.1",
    port: int = 8000,
    token_file: Path | None = None,
    allow_host: tuple[str, ...] = (),
    cors_origin: tuple[str, ...] = (),
    max_precision_km: float | None = None,
    thumbnails: bool = False,
    page: Annotated[Page, Parameter(name="*")] = Page(),
    max_waiting: int = 64,
    max_image_mb: float = 16.0,
    max_megapixels: float = 50.0,
    device: str = "auto",
    backend: str = "auto",
    on_ray: Annotated[Replicas, Parameter(name="*")] = Replicas(),
) -> int:
    """Answer over HTTP, until SIGTERM or Ctrl-C, which let requests under way finish.

    Args:
        index: Folder of the index, or its URL; without one $GEOINDEX_HOME, else indexes/default. New generations in a
            folder answer at once, those at a URL within a minute.
        host: Address to listen at. Any but a loopback address needs --token-file.
        port: Port to listen at; 0 takes any that is free.
        token_file: File with the token that every request must show.
        allow_host: Further name that a server without token may be called by, such as that of a reverse proxy.
        cors_origin: Web page of another origin that may ask, such as https://maps.example.org.
        max_precision_km: Round every answer at least to this, and withhold what would tell more.
        thumbnails: Show small pictures of stored photos, read from the source of the index.
        page: What people are shown.
        max_waiting: Requests under way at a time; one more is refused with 429.
        max_image_mb: Largest image, in MiB as it is sent.
        max_megapixels: Largest image, in megapixels.
        device: auto, cpu, cuda, mps.
        backend: What computes in the encoder, as for query.
        on_ray: Where it answers from.
    """
    from geoindex.server.settings import ServerSettings, read_token

    image_bytes, pixels = _size("--max-image-mb", max_image_mb, 2**20), _size("--max-megapixels", max_megapixels, 1e6)
    settings = ServerSettings(
        host=host, port=port, token=read_token(token_file) if token_file else None, allowed_hosts=allow_host,
        cors_origins=cors_origin, max_precision_km=max_precision_km, thumbnails=thumbnails, max_waiting=max_waiting,
        max_image_bytes=image_bytes, max_body_bytes=2 * image_bytes, max_pixels=pixels,
    )  # fmt: skip
    _run(index, settings, page, on_ray, device=device, backend=backend)
    return 0


def _size(flag: str, millions: float, unit: float) -> int:
    """Return a limit that a flag gives in millions."""
    if not LEAST_SIZE <= millions <= MOST_SIZE:
        raise ConfigError(f"{flag} is {millions}; it must be from {LEAST_SIZE} to {MOST_SIZE}.")
    return int(millions * unit)


def _run(
    index: Path | None, settings: "ServerSettings", page: Page, on_ray: Replicas, *, device: str, backend: str
) -> None:
    """Answer from this process, or from replicas."""
    place: dict[str, Any] = {"device": device, "backend": backend}
    place["started"] = lambda at: complain(f"answering at {at}")
    if not on_ray.ray:
        if on_ray.replicas is not None:
            raise ConfigError("--replicas says how many answer on a Ray cluster; give --ray too, or leave it out.")
        from geoindex.server.running import serve as serve_index

        serve_index(index, settings, page=page.settings(), **place)
        return
    from geoindex.server.replicas import serve_on_ray

    if page.page:
        raise ConfigError("A page keeps what it knows of a visitor in one process; give --no-page with --ray.")
    address = "" if on_ray.ray == ANY_CLUSTER else on_ray.ray
    serve_on_ray(index, settings, replicas=2 if on_ray.replicas is None else on_ray.replicas, address=address, **place)
