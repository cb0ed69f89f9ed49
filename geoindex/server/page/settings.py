"""What the page shows beside the answers."""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from geoindex.errors import ConfigError
from geoindex.server.game.deck import PAPER_PHOTOS

PARTS = ("{z}", "{x}", "{y}")


@dataclass(frozen=True, slots=True)
class PageSettings:
    """What the page shows beside the answers.

    Attributes:
        tiles: address of a tile server, as https://tiles.example.org/{z}/{x}/{y}.png; None: the outline of the world
            that geoindex carries, and nothing is fetched from elsewhere.
        tiles_credit: whose tiles they are, as they ask to be named.
        games: SQLite file with the results of the game; None: there is no game.
        game_photos: photos of a game.
        game_seed: of the choice of its photos.
        max_clients: pages that are open at a time.
    """

    tiles: str | None = None
    tiles_credit: str = ""
    games: Path | None = None
    game_photos: int = PAPER_PHOTOS
    game_seed: int = 0
    max_clients: int = 200

    def __post_init__(self) -> None:
        for name in ("game_photos", "max_clients"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be at least 1.")
        if self.tiles is not None and not (self.tile_origin and all(part in self.tiles for part in PARTS)):
            raise ConfigError(f"tiles is '{self.tiles}'; give an address such as https://HOST/{{z}}/{{x}}/{{y}}.png.")

    @property
    def tile_origin(self) -> str:
        """Scheme and host of the tile server, as a content policy names it; empty if there is none."""
        parts = urlsplit(self.tiles or "")
        host = parts.netloc.replace("{s}", "*")
        plain = host.replace("*.", "", 1).replace(":", "").replace(".", "").replace("-", "")
        return f"{parts.scheme}://{host}" if parts.scheme in ("http", "https") and plain.isalnum() else ""
