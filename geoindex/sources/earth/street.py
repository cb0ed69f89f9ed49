"""Street furniture and traffic: poles with wires, signs, fences and cars."""

from dataclasses import dataclass

import numpy as np

from geoindex.sources.earth.camera import NEAR_M, Canvas, Pixel
from geoindex.sources.earth.colour import Colour, dim, mix
from geoindex.sources.earth.culture import Culture
from geoindex.sources.earth.script import write

_TOWARDS_CAMERA = (0.0, 0.0, -1.0)
_POLE_COLOUR: dict[str, Colour] = {
    "wood": (112.0, 86.0, 64.0), "concrete": (172.0, 168.0, 160.0), "metal": (118.0, 126.0, 132.0),
}  # fmt: skip
_POLE_WIDTH_M = {"wood": 0.26, "concrete": 0.34, "metal": 0.18}
_BOARD_COLOUR: dict[str, Colour] = {
    "green": (22.0, 108.0, 72.0), "blue": (34.0, 82.0, 164.0), "white": (238.0, 238.0, 234.0),
    "brown": (112.0, 70.0, 44.0),
}  # fmt: skip
_POLE_M = 8.2


@dataclass(frozen=True, slots=True)
class Pole:
    """A utility pole at (x_m, z_m); wires run on to `next_m`, or nowhere if None."""

    x_m: float
    z_m: float
    next_m: float | None
    culture: Culture


@dataclass(frozen=True, slots=True)
class Car:
    """A car in a lane; `oncoming` shows its front, `plate` its culture's number plate."""

    x_m: float
    z_m: float
    oncoming: bool
    paint: Colour
    tall: float
    culture: Culture


@dataclass(frozen=True, slots=True)
class Sign:
    """A sign on a post: kind is "warning", "limit" or "board"."""

    kind: str
    x_m: float
    z_m: float
    culture: Culture
    seed: int


def draw_pole(canvas: Canvas, pole: Pole) -> None:
    """Draw a pole, its cross-arms, and its wires to the next pole."""
    kind, z = pole.culture.pole, pole.z_m
    colour = canvas.light.on(_POLE_COLOUR[kind], (-0.7 if pole.x_m > 0 else 0.7, 0.0, -0.7))
    foot, top = (canvas.camera.project(pole.x_m, y, z) for y in (0.0, _POLE_M))
    _draw_wires(canvas, pole)
    canvas.line([foot, top], canvas.px(_POLE_WIDTH_M[kind], z), colour, z)
    for arm in range(pole.culture.cross_arms):
        y = _POLE_M - 0.35 - 0.75 * arm
        left, right = (canvas.camera.project(pole.x_m + dx, y, z) for dx in (-1.0, 1.0))
        canvas.line([left, right], canvas.px(0.15, z), dim(colour, 0.85), z)
        for share in (0.03, 0.3, 0.7, 0.97):
            x = left[0] + (right[0] - left[0]) * share
            canvas.disc(
                (x, left[1] - canvas.px(0.12, z)), (canvas.px(0.06, z), canvas.px(0.12, z)), dim(colour, 1.3), z
            )


def _draw_wires(canvas: Canvas, pole: Pole) -> None:
    if pole.next_m is None:
        return
    spread = (-0.9, 0.9) if pole.culture.cross_arms else (0.0,)
    dark = canvas.light.up((58.0, 58.0, 62.0))
    for level in range(max(1, pole.culture.cross_arms)):
        for dx in spread:
            points = []
            for step in range(9):
                t = step / 8.0
                z = max(pole.z_m, NEAR_M) + (pole.next_m - max(pole.z_m, NEAR_M)) * t
                y = _POLE_M - 0.25 - 0.75 * level - 3.2 * t * (1.0 - t)
                points.append(canvas.camera.project(pole.x_m + dx, y, z))
            canvas.line(points, canvas.camera.side / 448.0, dark, (pole.z_m + pole.next_m) / 2)


def draw_sign(canvas: Canvas, sign: Sign) -> None:
    """Draw a sign that faces the camera."""
    post = canvas.light.on((142.0, 146.0, 150.0), _TOWARDS_CAMERA)
    height = 2.9 if sign.kind == "board" else 2.3
    offsets = (-1.0, 1.0) if sign.kind == "board" else (0.0,)
    for dx in offsets:
        ends = [canvas.camera.project(sign.x_m + dx, y, sign.z_m) for y in (0.0, height)]
        canvas.line(ends, canvas.px(0.09, sign.z_m), post, sign.z_m)
    {"board": _draw_board, "limit": _draw_limit, "warning": _draw_warning}[sign.kind](canvas, sign)


def _draw_board(canvas: Canvas, sign: Sign) -> None:
    culture, z = sign.culture, sign.z_m
    face = canvas.light.on(_BOARD_COLOUR[culture.board], _TOWARDS_CAMERA)
    white = culture.board == "white"
    paint = canvas.light.on((36.0, 36.0, 40.0) if white else (240.0, 240.0, 236.0), _TOWARDS_CAMERA)
    left, top = canvas.camera.project(sign.x_m - 1.5, 3.5, z)
    right, bottom = canvas.camera.project(sign.x_m + 1.5, 1.9, z)
    rim = canvas.px(0.07, z)
    canvas.pixels(_box(left, top, right, bottom), paint, z)
    canvas.pixels(_box(left + rim, top + rim, right - rim, bottom - rim), face, z)
    rng = np.random.default_rng(sign.seed)
    for line in range(2):
        high = top + (bottom - top) * (0.14 + 0.42 * line)
        wide = (right - left) * float(rng.uniform(0.62, 0.84))

        def place(u: float, v: float, high: float = high, wide: float = wide) -> Pixel:
            return left + (right - left) * 0.08 + wide * u, high + (bottom - top) * 0.30 * v

        aspect = wide / ((bottom - top) * 0.30)
        write(canvas, place, aspect, culture.script, (paint, canvas.px(0.075, z), z), rng)


def _draw_limit(canvas: Canvas, sign: Sign) -> None:
    z, light = sign.z_m, canvas.light
    x, y = canvas.camera.project(sign.x_m, 2.4, z)
    white = light.on((244.0, 244.0, 240.0), _TOWARDS_CAMERA)
    black = light.on((30.0, 30.0, 34.0), _TOWARDS_CAMERA)
    r = canvas.px(0.42, z)
    if sign.culture.diamond_signs and sign.culture.plate_aspect < 3.0:
        canvas.pixels(_box(x - r * 0.8, y - r, x + r * 0.8, y + r), black, z)
        canvas.pixels(_box(x - r * 0.7, y - r * 0.9, x + r * 0.7, y + r * 0.9), white, z)
    else:
        canvas.disc((x, y), (r, r), light.on((206.0, 34.0, 38.0), _TOWARDS_CAMERA), z)
        canvas.disc((x, y), (r * 0.74, r * 0.74), white, z)
    for dx in (-0.24, 0.24):
        canvas.line(_ring(x + dx * r, y, 0.16 * r, 0.34 * r), r * 0.14, black, z)


def _draw_warning(canvas: Canvas, sign: Sign) -> None:
    z, light = sign.z_m, canvas.light
    x, y = canvas.camera.project(sign.x_m, 2.4, z)
    r = canvas.px(0.55, z)
    black = light.on((30.0, 30.0, 34.0), _TOWARDS_CAMERA)
    if sign.culture.diamond_signs:
        for share, colour in ((1.0, black), (0.93, light.on((240.0, 186.0, 30.0), _TOWARDS_CAMERA))):
            q = r * share
            canvas.pixels([(x, y - q), (x + q, y), (x, y + q), (x - q, y)], colour, z)
    else:
        face: Colour = (244.0, 244.0, 238.0)
        for share, colour in ((1.0, (206.0, 34.0, 38.0)), (0.68, face)):
            q = r * share
            points = [(x, y - q), (x + q * 0.94, y + q * 0.62), (x - q * 0.94, y + q * 0.62)]
            canvas.pixels(points, light.on(colour, _TOWARDS_CAMERA), z)
    bend = [(x - 0.10 * r, y + 0.36 * r), (x - 0.08 * r, y), (x + 0.10 * r, y - 0.12 * r), (x + 0.06 * r, y - 0.30 * r)]
    canvas.line(bend, r * 0.13, black, z)


def _box(left: float, top: float, right: float, bottom: float) -> list[Pixel]:
    return [(left, top), (right, top), (right, bottom), (left, bottom)]


def _ring(x: float, y: float, rx: float, ry: float) -> list[Pixel]:
    turns = np.linspace(0.0, 2.0 * np.pi, 11)
    return [(x + rx * float(np.cos(t)), y + ry * float(np.sin(t))) for t in turns]


def draw_car(canvas: Canvas, car: Car) -> None:
    """Draw a car as a body, a cabin, wheels, lamps and a plate."""
    z, x, light = car.z_m, car.x_m, canvas.light
    if z < NEAR_M + 1.0:
        return
    half, roof = 0.88, 1.45 * car.tall
    belt = 0.92 + 0.25 * (car.tall - 1.0)
    canvas.glow([canvas.camera.project(x + dx, 0.0, z + dz) for dx, dz in ((-1, -0.2), (1, -0.2), (1, 4.3), (-1, 4.3))],
                (14.0, 16.0, 20.0), 0.55)  # fmt: skip
    _draw_flank(canvas, car, (half, belt, roof))
    back = light.on(car.paint, _TOWARDS_CAMERA)
    glass = light.on(mix((44.0, 52.0, 62.0), light.haze, 0.25), _TOWARDS_CAMERA)
    setback = 0.9 if car.oncoming else 0.5
    for dx in (-0.66, 0.66):
        tyre = [(x + dx - 0.13, 0.0, z), (x + dx + 0.13, 0.0, z), (x + dx + 0.13, 0.4, z), (x + dx - 0.13, 0.4, z)]
        canvas.polygon(tyre, light.up((28.0, 28.0, 30.0)), z)
    cabin = [(x - half * 0.95, belt, z), (x - half * 0.76, roof, z + setback), (x + half * 0.76, roof, z + setback)]
    canvas.polygon([*cabin, (x + half * 0.95, belt, z)], dim(back, 0.95), z)
    pane = [(x - half * 0.84, belt + 0.03, z), (x - half * 0.68, roof - 0.09, z + setback * 0.9)]
    pane += [(x + half * 0.68, roof - 0.09, z + setback * 0.9), (x + half * 0.84, belt + 0.03, z)]
    canvas.polygon(pane, glass, z)
    shell = [(x - half, 0.28, z), (x - half, belt - 0.08, z), (x - half * 0.93, belt, z), (x + half * 0.93, belt, z)]
    canvas.polygon([*shell, (x + half, belt - 0.08, z), (x + half, 0.28, z)], back, z)
    canvas.polygon(_face(x - half, x + half, 0.28, 0.42, z), dim(back, 0.55), z)
    _draw_lamps(canvas, car, belt)


def _draw_flank(canvas: Canvas, car: Car, size: tuple[float, float, float]) -> None:
    half, belt, roof = size
    x, z, light = car.x_m, car.z_m, canvas.light
    side = -1.0 if x > canvas.camera.x_m else 1.0
    edge, end = x + side * half, z + 4.2
    paint = light.on(car.paint, (side, 0.0, 0.0))
    glass = light.on((52.0, 60.0, 70.0), (side, 0.0, 0.0))
    canvas.polygon([(edge, 0.25, z), (edge, belt, z), (edge, belt, end), (edge, 0.25, end)], paint, z)
    inner = x + side * half * 0.76
    cabin = [(edge, belt, z + 0.1), (inner, roof, z + 0.7), (inner, roof, z + 2.9), (edge, belt, z + 3.5)]
    canvas.polygon(cabin, glass, z)
    top = [(x - half * 0.76, roof, z + 0.6), (x + half * 0.76, roof, z + 0.6)]
    top += [(x + half * 0.76, roof, z + 2.9), (x - half * 0.76, roof, z + 2.9)]
    canvas.polygon(top, light.up(car.paint), z)
    for dz in (0.5, 3.2):
        wheel = [(edge, 0.0, z + dz), (edge, 0.58, z + dz + 0.1), (edge, 0.58, z + dz + 0.5), (edge, 0.0, z + dz + 0.6)]
        canvas.polygon(wheel, light.up((30.0, 30.0, 32.0)), z)


def _draw_lamps(canvas: Canvas, car: Car, belt: float) -> None:
    x, z = car.x_m, car.z_m
    lamp: Colour = (248.0, 246.0, 226.0) if car.oncoming else (196.0, 30.0, 32.0)
    for low, high in ((x - 0.84, x - 0.52), (x + 0.52, x + 0.84)):
        canvas.polygon(_face(low, high, belt - 0.30, belt - 0.12, z), lamp, z)
    if car.oncoming:
        canvas.polygon(_face(x - 0.42, x + 0.42, belt - 0.30, belt - 0.14, z), canvas.light.up((40.0, 42.0, 46.0)), z)
    half = 0.06 * car.culture.plate_aspect
    plate = canvas.light.on(car.culture.plate, _TOWARDS_CAMERA)
    canvas.polygon(_face(x - half, x + half, 0.46, 0.60, z), plate, z)


def _face(left: float, right: float, low: float, high: float, z: float) -> list[tuple[float, float, float]]:
    return [(left, low, z), (left, high, z), (right, high, z), (right, low, z)]
