"""The pages of the game: a name, then photo by photo a click on the map, then the card."""

import asyncio

from fastapi import APIRouter, Request
from nicegui import ui
from starlette.responses import RedirectResponse, Response

from geoindex.errors import ConfigError, EmptyDatasetError, RequestError
from geoindex.server.game.store import LONGEST_NAME, GameStore
from geoindex.server.page.forms import read_field
from geoindex.server.page.frame import framed, when_full
from geoindex.server.page.match import Match
from geoindex.server.page.site import Site

START = """
<div class="stack">
  <p class="lead">You against geoindex</p>
  <p>{count} photos that the index never saw. Click where each was taken; then you see where it was, how far
  off you are, and how far off geoindex is. Results are kept on this server under the name that you give.</p>
  <form method="post" action="/play">
    <label>Your name <input type="text" name="player" maxlength="{longest}" required autocomplete="nickname"></label>
    <p class="actions"><button class="plain main">Start</button>
    <a class="button" data-resume hidden href="/play">Go on with your last game</a></p>
  </form>
</div>
"""


def play_router(site: Site, games: GameStore) -> APIRouter:
    """Return the routes of the game that are no pages."""
    router = APIRouter(prefix="/play", include_in_schema=False)

    @router.post("")
    async def start(request: Request) -> Response:
        player = await read_field(request, "player")
        game = await asyncio.to_thread(games.start, player, await site.deck())
        return RedirectResponse(f"/play/{game.id}", 303)

    @router.get("/{id}/{number}.jpg")
    async def photo(id: str, number: int) -> Response:
        picture = await asyncio.to_thread(_picture, site, games, id, number)
        return Response(picture, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=3600"})

    return router


def _picture(site: Site, games: GameStore, id: str, number: int) -> bytes:
    game = games.game(id)
    if not 1 <= number <= min(len(game.rounds) + 1, len(game.deck)):
        raise RequestError("It is not the turn of this photo; go on with the one that the game shows.", status=404)
    picture = site.game_picture(game.deck, number)
    if picture is None:
        raise RequestError("This photo cannot be read any more; go on with the next one.", status=404)
    return picture


def add_play_pages(site: Site, games: GameStore) -> None:
    """Offer the game at /play."""

    @ui.page("/play", title="geoindex: play")
    async def start() -> Response | None:
        if refused := when_full(site):
            return refused
        try:
            count = len(await site.deck())
        except EmptyDatasetError:  # which the start of a game tells
            count = 0
        with framed(site, "play", script="play.js", label="Map of the world"):
            ui.html(START.format(count=count, longest=LONGEST_NAME), sanitize=False)
        return None

    @ui.page("/play/{id}", title="geoindex: play")
    async def play(id: str) -> Response | None:
        if refused := when_full(site):
            return refused
        try:
            game = await asyncio.to_thread(games.game, id)
        except ConfigError:
            return RedirectResponse("/play", 303)
        label = "Map of the world: click where the photo was taken, or move it with the arrow keys and press Enter"
        with framed(site, "play", script="play.js", label=label, picking=True):
            panel = ui.element("div").classes("stack")
        Match(site, games, game, panel).show_photo()
        return None
