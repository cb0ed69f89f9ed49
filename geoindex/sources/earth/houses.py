"""Houses along the road: walls in perspective, windows, roofs, shop signs and fences."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from geoindex.sources.earth.camera import NEAR_M, Canvas, Pixel, Point
from geoindex.sources.earth.colour import Colour, dim, mix
from geoindex.sources.earth.scene import Scene
from geoindex.sources.earth.script import write

_STOREY_M = 3.0


@dataclass(frozen=True, slots=True)
class House:
    """A box with a roof beside the road.

    Attributes:
        side: -1 left, 1 right of the road.
        face_m: distance of its front from the road's centre; `deep_m` from front to back.
        z0, z1: where it begins and ends along the road, in metres.
        storeys: number of floors.
        wall, roof_colour: in neutral light.
        roof: one of `culture.ROOFS`.
        shop: colour of a shop sign over the ground floor, or None; it is written in `script`.
        seed: of its details.
    """

    side: int
    face_m: float
    deep_m: float
    z0: float
    z1: float
    storeys: int
    wall: Colour
    roof_colour: Colour
    roof: str
    shop: Colour | None
    script: str
    seed: int


def draw_house(canvas: Canvas, house: House, scene: Scene) -> None:
    """Draw a house: the face across the road's direction, the roof, then the face along the road."""
    if house.z1 <= NEAR_M + 0.5:
        return
    z0, z1 = max(house.z0, NEAR_M), house.z1
    near, far = house.side * house.face_m, house.side * (house.face_m + house.deep_m)
    top = house.storeys * _STOREY_M + (0.5 if house.roof == "flat" else 0.2)
    light = canvas.light
    facing = light.on(house.wall, (-float(house.side), 0.0, 0.0))
    gable = light.on(house.wall, (0.0, 0.0, -1.0))
    _draw_roof(canvas, house, scene, (near, far, top, z0, z1))
    canvas.polygon([(near, 0, z0), (near, top, z0), (far, top, z0), (far, 0, z0)], gable, z0)
    if z0 > 8.0:
        _gable_windows(canvas, house, (near, far, z0))
    _wall(canvas, house, facing, (near, top, z0, z1))


def _wall(canvas: Canvas, house: House, colour: Colour, box: tuple[float, float, float, float]) -> None:
    x, top, z0, z1 = box
    middle = min(z1, 2.0 * z0 + 10.0)
    for a, b in ((middle, z1), (z0, middle)):
        if b > a:
            canvas.polygon([(x, 0, a), (x, top, a), (x, top, b), (x, 0, b)], colour, (a + b) / 2)
    canvas.polygon([(x, 0, z0), (x, 0.5, z0), (x, 0.5, z1), (x, 0, z1)], dim(colour, 0.78), z0)
    rng = np.random.default_rng(house.seed)
    _windows(canvas, house, colour, x, rng)
    if house.shop is not None:
        _shop(canvas, house, house.shop, x, rng)


def _windows(canvas: Canvas, house: House, colour: Colour, x: float, rng: np.random.Generator) -> None:
    if house.z0 > 75.0:
        return
    pitch, tall = float(rng.uniform(2.4, 3.6)), float(rng.uniform(1.2, 1.7))
    wide = pitch * float(rng.uniform(0.36, 0.52))
    glass = canvas.light.up(mix((58.0, 66.0, 78.0), canvas.light.haze, 0.22))
    frame = mix(colour, (246.0, 244.0, 238.0), 0.5) if rng.random() < 0.5 else dim(colour, 0.66)
    bays = max(1, int((house.z1 - house.z0 - 0.6) / pitch))
    door = int(rng.integers(bays))
    for bay in range(bays):
        z = house.z0 + 0.5 + (bay + 0.25) * pitch
        if z < NEAR_M + 0.2 or z > 85.0:
            continue
        for storey in range(house.storeys):
            low, high = storey * _STOREY_M + 0.95, storey * _STOREY_M + 0.95 + tall
            if storey == 0 and (bay == door or house.shop is not None):
                low, high = 0.1, 2.25
            if z < 40.0:
                canvas.polygon(_on_wall(x, low - 0.12, high + 0.12, z - 0.12, z + wide + 0.12), frame, z)
            tone = dim(glass, 0.85 + 0.4 * float(rng.random()))
            canvas.polygon(_on_wall(x, low, high, z, z + wide), tone, z)


def _on_wall(x: float, low: float, high: float, z0: float, z1: float) -> list[Point]:
    return [(x, low, z0), (x, high, z0), (x, high, z1), (x, low, z1)]


def _gable_windows(canvas: Canvas, house: House, box: tuple[float, float, float]) -> None:
    near, far, z = box
    if z > 60.0:
        return
    glass = canvas.light.on((80.0, 88.0, 100.0), (0.0, 0.0, -1.0))
    for storey in range(house.storeys):
        low = storey * _STOREY_M + 1.0
        for share in (0.22, 0.62):
            a, b = near + (far - near) * share, near + (far - near) * (share + 0.16)
            canvas.polygon([(a, low, z), (a, low + 1.3, z), (b, low + 1.3, z), (b, low, z)], glass, z)


def _draw_roof(canvas: Canvas, house: House, scene: Scene, box: tuple[float, float, float, float, float]) -> None:
    near, far, top, z0, z1 = box
    snow = min(1.0, scene.snow * 1.2)
    colour = mix(house.roof_colour, (236.0, 240.0, 246.0), snow)
    light, middle = canvas.light, (near + far) / 2
    if house.roof == "flat":
        edge = light.on(mix(dim(house.wall, 0.82), (236.0, 240.0, 246.0), snow * 0.5), (0.0, 0.0, -1.0))
        canvas.polygon([(near, top, z0), (near, top + 0.35, z0), (far, top + 0.35, z0), (far, top, z0)], edge, z0)
        side = light.on(dim(house.wall, 0.80), (-float(house.side), 0.0, 0.0))
        canvas.polygon(_on_wall(near, top, top + 0.35, z0, z1), side, z0)
        return
    rise = house.deep_m * 0.30
    inset = min(house.deep_m * 0.45, (z1 - z0) * 0.45) if house.roof == "hip" else 0.0
    eave = near - house.side * 0.45
    slope = light.on(colour, (-0.55 * house.side, 0.83, 0.0))
    front = light.on(colour, (0.0, 0.6, -0.8)) if house.roof == "hip" else light.on(house.wall, (0.0, 0.0, -1.0))
    canvas.polygon([(near, top, z0), (middle, top + rise, z0 + inset), (far, top, z0)], front, z0)
    canvas.polygon([
        (eave, top - 0.2, z0 - 0.3), (eave, top - 0.2, z1), (middle, top + rise, z1 - inset),
        (middle, top + rise, z0 + inset - 0.3),
    ], slope, (z0 + z1) / 2)  # fmt: skip


def _shop(canvas: Canvas, house: House, colour: Colour, x: float, rng: np.random.Generator) -> None:
    z0, z1 = max(house.z0 + 0.8, NEAR_M + 0.6), min(house.z1 - 0.8, house.z0 + 9.0)
    if z1 - z0 < 2.0 or house.z0 > 45.0:
        return
    board = canvas.light.on(colour, (-float(house.side), 0.0, 0.0))
    canvas.polygon(_on_wall(x, 2.5, 3.35, z0, z1), board, z0)
    place = _along_wall(canvas, house.side, x, z0 + 0.3, z1 - 0.3)
    bright = sum(colour) > 420.0
    paint = canvas.light.up((40.0, 40.0, 48.0) if bright else (240.0, 238.0, 228.0))
    write(canvas, place, (z1 - z0) / 0.75, house.script, (paint, canvas.px(0.10, z0 + 2.0), z0), rng)


def _along_wall(canvas: Canvas, side: int, x: float, z0: float, z1: float) -> Callable[[float, float], Pixel]:
    """Map the unit square to a shop sign; writing runs left to right as the camera sees it."""
    start, end = (z0, z1) if side < 0 else (z1, z0)

    def place(u: float, v: float) -> Pixel:
        return canvas.camera.project(x, 3.22 - 0.58 * v, start + (end - start) * u)

    return place
