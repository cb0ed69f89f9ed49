"""Small pictures of photos for a report, where their source can still be read."""

from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO

from geoindex.errors import GeoindexError
from geoindex.images import load_image
from geoindex.sources import open_source
from geoindex.sources.source import Source

SIDE = 240
"""Pixels of the longer side."""

QUALITY = 82


@dataclass(frozen=True, slots=True)
class Thumbnails:
    """Reads photos of a source, and shrinks them.

    Attributes:
        source: None where it cannot be opened; then there are no pictures.
    """

    source: Source | None

    @classmethod
    def of(cls, uri: str, columns: Mapping[str, str]) -> "Thumbnails":
        """Open a source; what cannot be opened has no pictures."""
        try:
            return cls(open_source(uri, columns=columns))
        except (GeoindexError, OSError):
            return cls(None)

    def jpeg(self, image: str, side: int = SIDE) -> bytes | None:
        """Return a JPEG of an image by what its source calls it, its longer side `side` pixels at most.

        It is made anew and says nothing of place, time or camera. None if the image cannot be read.
        """
        if self.source is None or not image:
            return None
        try:
            small = load_image(self.source.read(image), min_side=side)
        except (GeoindexError, OSError):
            return None
        small.thumbnail((side, side))
        data = BytesIO()
        small.save(data, "JPEG", quality=QUALITY, optimize=True, comment=b"")
        return data.getvalue()
