"""An index at a URL moves on to the generation that is live there, as one in a folder does by itself."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread

from geoindex.errors import GeoindexError
from geoindex.index import GeoIndex
from geoindex.remote.threads import Stopped, ended_by

log = logging.getLogger(__name__)


@contextmanager
def following_url(index: GeoIndex, every_s: float) -> Iterator[None]:
    """Ask for a new generation every so often; what cannot be opened leaves the old one answering.

    The thread is nobody's to wait for: a server that stops does not finish fetching a generation first.
    """
    ended = Event()
    if index.url is not None:
        Thread(target=_follow, args=(index, every_s, ended), name="geoindex-follow", daemon=True).start()
    try:
        yield
    finally:
        ended.set()


def _follow(index: GeoIndex, every_s: float, ended: Event) -> None:
    with ended_by(ended):
        while not ended.wait(every_s):
            try:
                if index.reload():
                    log.info("Generation %s of '%s' answers now.", index.manifest.generation, index.url)
            except Stopped:
                return
            except GeoindexError as error:
                log.warning("%s Generation %s goes on answering.", error, index.manifest.generation)
            except Exception:
                log.exception("Generation %s of '%s' goes on answering.", index.manifest.generation, index.url)
