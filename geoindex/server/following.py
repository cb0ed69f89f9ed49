"""An index at a URL moves on to the generation that is live there, as one in a folder does by itself."""

import asyncio
import logging

from geoindex.errors import GeoindexError
from geoindex.index import GeoIndex

log = logging.getLogger(__name__)


async def follow_url(index: GeoIndex, every_s: float) -> None:
    """Ask for a new generation every so often, until cancelled; what cannot be opened leaves the old one answering."""
    while index.url is not None:
        await asyncio.sleep(every_s)
        try:
            if await asyncio.to_thread(index.reload):
                log.info("Generation %s of '%s' answers now.", index.manifest.generation, index.url)
        except GeoindexError as error:
            log.warning("%s Generation %s goes on answering.", error, index.manifest.generation)
