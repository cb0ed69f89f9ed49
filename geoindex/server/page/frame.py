"""What every page has around it: head, bar, the map, and a limit on how many are open."""

from collections.abc import Iterator
from contextlib import contextmanager
from html import escape

from nicegui import Client, ui
from starlette.responses import HTMLResponse, Response

from geoindex.server.page.layers import legend_html
from geoindex.server.page.site import Site
from geoindex.server.page.world_map import WorldMap

ICON = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 32 32'%3E"
    "%3Ccircle cx='16' cy='16' r='14' fill='%230a5c97'/%3E"
    "%3Ccircle cx='19' cy='13' r='5' fill='%23ffa05c'/%3E%3C/svg%3E"
)

PLAYED = legend_html((("guess", "you"), ("answer", "geoindex"), ("truth", "truth")))

FULL = (
    "<!DOCTYPE html><title>geoindex</title><p>This server has as many pages open as it can; try again in a minute.</p>"
)


def when_full(site: Site) -> Response | None:
    """Return what is answered when too many pages are open, the one that is being made among them."""
    if len(Client.instances) <= site.settings.max_clients:
        return None
    ui.context.client.delete()
    return HTMLResponse(FULL, 503, {"Retry-After": "60"})


@contextmanager
def framed(site: Site, page: str, *, script: str, label: str, picking: bool = False) -> Iterator[None]:
    """Put bar and map on the page that is being made; the panel is filled inside.

    Args:
        site: whose page it is.
        page: locate or play.
        script: of the page.
        label: of the map, for screen readers.
        picking: whether a click on the map chooses a position.
    """
    ui.add_head_html('<link rel="stylesheet" href="/page/assets/page.css">')
    ui.add_body_html(f'<script type="module" src="/page/assets/{script}"></script>')
    with ui.element("div").classes(f"app {page}"):
        _html(_bar(site, page), "bar", "header")
        with ui.element("main").classes("panel"):
            yield
        with ui.element("div").classes("map"):
            settings = site.settings
            WorldMap(label, tiles=settings.tiles, credit=settings.tiles_credit, picking=picking).mark("map")
            _html(PLAYED if page == "play" else "", "legend")


def _html(text: str, name: str, tag: str = "div") -> None:
    ui.html(text, sanitize=False, tag=tag).classes(name)


def _bar(site: Site, page: str) -> str:
    counts = site.engine.index.manifest.counts
    links = [("locate", "/", "Locate")] + [("play", "/play", "Play")] * (site.games is not None)
    current = ' aria-current="page"'
    items = "".join(f'<a href="{at}"{current * (name == page)}>{text}</a>' for name, at, text in links)
    about = f"{site.engine.index.path.name}: {counts['gallery']:,} photos in {counts['cells']:,} cells"
    nav = f'<nav aria-label="Pages">{items}</nav>'
    return f'<h1><a href="/">geoindex</a></h1>{nav}<span class="about">{escape(about)}</span>'
