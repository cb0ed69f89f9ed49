"""One player's match against the index: the photo, the click, what came of it, and the next one."""

import asyncio
from html import escape
from typing import Any

from nicegui import ElementFilter, ui
from nicegui.element import Element
from nicegui.events import GenericEventArguments

from geoindex.errors import ConfigError, CoordinateError, EmptyDatasetError, GeoindexError
from geoindex.places import place_names
from geoindex.prediction import Prediction
from geoindex.search.options import QueryOptions
from geoindex.server.game.rounds import Position, Round, card_of
from geoindex.server.game.store import Game, GameStore
from geoindex.server.page.round_layers import card_layers, round_layers
from geoindex.server.page.score_card import render_card, render_round, render_rounds
from geoindex.server.page.site import Site
from geoindex.server.page.world_map import WorldMap


class Match:
    """A game on the page of one player; it is gone when the page is."""

    def __init__(self, site: Site, games: GameStore, game: Game, panel: Element) -> None:
        self._site, self._games, self._game, self._panel = site, games, game, panel
        self._map = next(iter(ElementFilter(kind=WorldMap)))
        self._map.on("pick", self._picked)
        self._typed = {"lat": "", "lon": ""}
        self._inputs: dict[str, Element] = {}
        self._complaint: ui.html | None = None

    def show_photo(self) -> None:
        """Show the photo whose turn it is, or the card after the last."""
        if self._game.finished:
            self._show_card()
            return
        number = len(self._game.rounds) + 1
        self._map.run_method("clear")
        self._map.run_method("home")
        self._map.props("picking")
        self._typed = {"lat": "", "lon": ""}
        self._panel.clear()
        with self._panel:
            self._show_top(number)
            _form(self)
            self._complaint = ui.html("", sanitize=False, tag="p").classes("failure").props("role=alert")
        if self._game.rounds:
            self._focus(".leaflet-container")

    def _show_top(self, number: int) -> None:
        done, length = len(self._game.rounds), len(self._game.deck)
        told = f'<p class="round"><b>Photo {number} of {length}</b><span>{escape(self._game.player)}</span></p>'
        bar = f'<progress value="{done}" max="{length}" aria-label="Photos played"></progress>'
        ui.html(told + bar + _photo(self._game, number), sanitize=False).classes("top")

    def typed(self, name: str, value: Any) -> None:
        """Take what stands in a field of the form."""
        self._typed[name] = str(value or "")
        self._complain("")

    def _picked(self, event: GenericEventArguments) -> None:
        for name in ("lat", "lon"):
            self._typed[name] = f"{float(event.args[name]):.4f}"
            self._inputs[name].props["value"] = self._typed[name]
        self._complain("")
        self._map.run_method("choose", float(self._typed["lat"]), float(self._typed["lon"]))

    async def guess(self) -> None:
        """Let the click count: ask the index for the same photo, keep both, show both."""
        try:
            place = Position(*(float(self._typed[name].replace(",", ".")) for name in ("lat", "lon")))
        except (ValueError, CoordinateError):
            self._complain("Click on the map, or type latitude (-90 to 90) and longitude (-180 to 180).")
            return
        try:
            played = await self._played(len(self._game.rounds) + 1, place)
        except GeoindexError as error:
            self._complain(str(error))
            return
        try:
            self._game = await asyncio.to_thread(self._games.record, self._game.id, played)
        except ConfigError:  # it was played in another window
            self._game = await asyncio.to_thread(self._games.game, self._game.id)
            self.show_photo()
        else:
            await self._show_round(played)

    async def _played(self, number: int, guess: Position) -> Round:
        photo = self._game.deck.photos[number - 1]
        picture = await asyncio.to_thread(self._site.game_picture, self._game.deck, number)
        if picture is None:
            raise EmptyDatasetError("This photo is not at hand any more; start a new game at /play.")
        answer = await self._answer(picture)
        truth = Position(photo.lat, photo.lon)
        return Round(number, photo.id, truth, guess, Position(answer.lat, answer.lon), answer.generation)

    async def _answer(self, picture: bytes) -> Prediction:
        engine = self._site.engine
        with engine.admit():
            return await engine.predict([picture], QueryOptions(evidence=0))

    async def _show_round(self, played: Round) -> None:
        spots = (played.truth, played.guess, played.answer)
        places = await asyncio.to_thread(place_names, [s.lat for s in spots], [s.lon for s in spots])
        self._map.props(remove="picking")
        self._map.run_method("show", round_layers(played))
        self._panel.clear()
        with self._panel:
            self._show_top(played.number)
            ui.html(render_round(played, (places[0], places[1], places[2])), sanitize=False)
            text = "See the card" if self._game.finished else "Next photo"
            _button(text, self.show_photo, "next")
        self._focus("[data-act=next]")

    def _show_card(self) -> None:
        self._map.props(remove="picking")
        self._map.run_method("show", card_layers(self._game.rounds))
        self._map.run_method("home")
        self._panel.clear()
        with self._panel:
            ui.html(render_card(card_of(self._game.rounds), self._game.player), sanitize=False)
            ui.html(render_rounds(self._game.rounds), sanitize=False)
            ui.html('<a class="button" href="/play">Play again</a>', sanitize=False)

    def _focus(self, selector: str) -> None:
        """Let keys go on where the player goes on."""
        self._panel.client.run_javascript(f"document.querySelector('{selector}')?.focus({{preventScroll: true}})")

    def _complain(self, text: str) -> None:
        if self._complaint is not None:
            self._complaint.set_content(escape(text))

    def add_input(self, name: str, label: str, limit: int) -> None:
        """Put a field of the form where the page is being made."""
        with ui.element("label"):
            ui.html(label, sanitize=False, tag="span")
            hint = f'name={name} type=text inputmode=decimal autocomplete=off placeholder="-{limit} to {limit}"'
            field = ui.element("input").props(hint)
            field.on("input", lambda event: self.typed(name, event.args), js_handler="(e) => emit(e.target.value)")
            field.on("keydown.enter", self.guess)
            self._inputs[name] = field


def _photo(game: Game, number: int) -> str:
    return f'<img class="picture" src="/play/{game.id}/{number}.jpg" alt="Photo {number}: where was it taken?">'


def _form(match: Match) -> None:
    with ui.element("div").classes("row"):
        match.add_input("lat", "Latitude", 90)
        match.add_input("lon", "Longitude", 180)
    _button("Guess here", match.guess, "guess")


def _button(text: str, act: Any, name: str) -> Element:
    """Put the main button where the page is being made; it counts once."""
    return (
        ui.html(text, sanitize=False, tag="button")
        .classes("plain main")
        .props(f"type=button data-act={name}")
        .on("click", act)
    )
