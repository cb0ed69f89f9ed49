"""The map as an element of NiceGUI: its bundled Leaflet, without the tiles that its own element fetches."""

from importlib.resources import files
from pathlib import Path

from nicegui.element import Element

_LEAFLET = Path(str(files("nicegui"))) / "elements" / "leaflet" / "dist"


class WorldMap(Element, component="assets/world_map.js", esm={"nicegui-leaflet": str(_LEAFLET)}):
    """The world; it emits `pick` with lat and lon where somebody clicks, if `picking`."""

    def __init__(self, label: str, *, tiles: str | None = None, credit: str = "", picking: bool = False) -> None:
        """Put a map where the page is being made.

        Args:
            label: what a screen reader is told of it.
            tiles: address of a tile server; None: the outline of the world.
            credit: whose tiles they are.
            picking: whether a click chooses a position.
        """
        super().__init__()
        self.add_resource(_LEAFLET)
        self._props.update({"label": label, "tiles": tiles or "", "credit": credit, "picking": picking})
