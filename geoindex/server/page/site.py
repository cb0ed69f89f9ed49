"""All that the page shares between its visitors: engine, settings, outlines of cells, games."""

import asyncio
import gzip
import json
import threading
from typing import Any

from geoindex.geocells.outlines import Regions
from geoindex.server.engine import Engine
from geoindex.server.game.deck import Deck, draw_deck, picture_of
from geoindex.server.game.store import GameStore
from geoindex.server.page.ground import largest_places, world_geojson
from geoindex.server.page.layers import index_layers, regions_of
from geoindex.server.page.settings import PageSettings
from geoindex.snapshot import Snapshot
from geoindex.store.generations import IndexFolder


class Site:
    """What stands behind every visit. Its methods may be called from any thread.

    Attributes:
        engine: answers.
        settings: of the page.
        games: results of the game; None: there is no game.
    """

    def __init__(self, engine: Engine, settings: PageSettings) -> None:
        """Open the file of games, if there is one.

        Raises:
            StorageError: if it cannot be used.
        """
        self.engine, self.settings = engine, settings
        self.games = GameStore(settings.games) if settings.games else None
        self._lock = threading.Lock()
        self._regions: tuple[str, Regions] | None = None
        self._layers: tuple[str, bytes] | None = None
        self._ground: dict[str, bytes] = {}
        self._deck: tuple[object, Deck] | None = None

    @property
    def shows_cells(self) -> bool:
        """Whether cells may be shown: a server that rounds its answers withholds them."""
        return self.engine.settings.max_precision_km is None

    def warm_up(self) -> None:
        """Do before the first visit what it would wait for."""
        manifest = self.engine.index.manifest
        if self.shows_cells:
            self.regions(self.engine.index.snapshot)
        for name in ("world", "places"):
            self.ground(name)
        if self.engine.settings.thumbnails or self.games:  # they read tables, and Lance takes seconds to load
            IndexFolder(self.engine.index.path).tables.columns("images", manifest.tables["images"])

    def regions(self, snapshot: Snapshot) -> Regions:
        """Return the outlines of a generation's cells, worked out once."""
        with self._lock:
            if self._regions is None or self._regions[0] != _name(snapshot):
                self._regions = (_name(snapshot), regions_of(snapshot))
            return self._regions[1]

    def index_layers(self) -> bytes:
        """Return the layers of the live generation as JSON, compressed."""
        snapshot = self.engine.index.snapshot
        layers = self._layers
        if layers is None or layers[0] != _name(snapshot):
            packed = _packed(index_layers(snapshot, self.regions(snapshot)))
            layers = self._layers = (_name(snapshot), packed)
        return layers[1]

    def ground(self, name: str) -> bytes:
        """Return `world` or `places` as JSON, compressed."""
        if name not in self._ground:
            self._ground[name] = _packed(world_geojson() if name == "world" else largest_places())
        return self._ground[name]

    async def deck(self) -> Deck:
        """Return the photos of the game.

        Raises:
            EmptyDatasetError: if the index has no held-out photo at hand.
        """
        return await asyncio.to_thread(self._drawn)

    def _drawn(self) -> Deck:
        index = self.engine.index
        stamp = (index.manifest.generation, IndexFolder(index.path).tombstones_stamp())
        with self._lock:
            if self._deck is None or self._deck[0] != stamp:
                self._deck = (stamp, draw_deck(index, self.settings.game_photos, self.settings.game_seed))
            return self._deck[1]

    def game_picture(self, deck: Deck, number: int) -> bytes | None:
        """Return the photo of a round as JPEG; None if it was removed from the index, or cannot be read any more."""
        photo = deck.photos[number - 1]
        if photo.id in IndexFolder(self.engine.index.path).tombstones().ids:
            return None
        return picture_of(deck.pictures(), photo)


def _name(snapshot: Snapshot) -> str:
    return f"{snapshot.manifest.generation} {snapshot.manifest.created}"


def _packed(value: Any) -> bytes:
    return gzip.compress(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(), 6, mtime=0)
