"""Small pictures of stored photos, read from the sources that the index was made of."""

from functools import lru_cache

from geoindex.evaluation.thumbnails import Thumbnails
from geoindex.index import GeoIndex
from geoindex.recipe import Recipe
from geoindex.store.manifest import Manifest

SOURCES = 16
"""Sources that are kept open."""


class Pictures:
    """Shrinks photos by their id; what is not in the gallery, or was removed, has no picture."""

    def __init__(self, index: GeoIndex) -> None:
        self._index = index
        self._opened = lru_cache(SOURCES)(_open)

    def jpeg(self, id: str) -> bytes | None:
        """Return a small JPEG of a stored photo; None if there is none, or it cannot be read any more."""
        snapshot = self._index.live.get()
        found = snapshot.searcher.sidecar.gallery.find({id})
        if len(found) == 0:
            return None
        (fact,) = snapshot.searcher.sidecar.gallery.facts(found)
        return self._thumbnails(snapshot.manifest, fact["row"]).jpeg(fact["image"])

    def _thumbnails(self, manifest: Manifest, row: int) -> Thumbnails:
        added_from = self._added_from(manifest, row)
        column = () if added_from else tuple(manifest.recipe.get("column", ()))
        return self._opened(added_from or manifest.source, column)

    def _added_from(self, manifest: Manifest, row: int) -> str | None:
        """Return the source of a photo that was added later; None of one that the build found."""
        tables, version = self._index.live.index.tables, manifest.tables["images"]
        if "source" not in tables.columns("images", version):
            return None
        source: str | None = tables.read("images", version, ["row", "source"], f"row = {row}")["source"][0].as_py()
        return source


def _open(uri: str, column: tuple[str, ...]) -> Thumbnails:
    return Thumbnails.of(uri, Recipe(column=column).columns)
