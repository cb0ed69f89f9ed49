"""Plants as small grey pictures, grown once a process, then sized, coloured and pasted."""

import math
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from geoindex.sources.earth.camera import NEAR_M, Canvas
from geoindex.sources.earth.colour import Colour, dim, ink, mix
from geoindex.sources.earth.noise import WORLD_SEED

VARIANTS = 4
_GROWN_PX = 256
_MIPS = (128, 64, 32, 16)


@dataclass(frozen=True, slots=True)
class Habit:
    """How a kind grows.

    Attributes:
        height_m: range of heights.
        width: width over height.
        trunk: height of the lowest leaf over height.
        lumps: ellipses (x, y, rx, ry) in the unit square, y down, that hold the leaves.
        leaf: size of a leaf clump.
        deciduous: bare in cold weather.
    """

    height_m: tuple[float, float]
    width: float
    trunk: float
    lumps: tuple[tuple[float, float, float, float], ...]
    leaf: float
    deciduous: bool = False


HABITS: dict[str, Habit] = {
    "broadleaf": Habit(
        (6.0, 12.0), 0.95, 0.35,
        ((0.5, 0.30, 0.30, 0.27), (0.30, 0.44, 0.25, 0.20), (0.70, 0.44, 0.25, 0.20), (0.5, 0.52, 0.30, 0.16)),
        0.021, True,
    ),
    "conifer": Habit(
        (8.0, 17.0), 0.48, 0.12,
        tuple((0.5, 0.07 + 0.105 * k, 0.07 + 0.050 * k, 0.085) for k in range(9)), 0.020,
    ),
    "palm": Habit((7.0, 13.0), 0.75, 0.75, (), 0.0),
    "jungle": Habit(
        (9.0, 17.0), 1.0, 0.25,
        ((0.38, 0.26, 0.26, 0.22), (0.66, 0.32, 0.27, 0.22), (0.26, 0.52, 0.24, 0.22), (0.55, 0.58, 0.40, 0.24),
         (0.78, 0.60, 0.20, 0.20), (0.5, 0.80, 0.36, 0.16)), 0.026,
    ),
    "acacia": Habit((5.0, 8.5), 1.5, 0.62, ((0.38, 0.24, 0.34, 0.10), (0.66, 0.30, 0.30, 0.09)), 0.018),
    "cypress": Habit((7.0, 13.0), 0.24, 0.06, ((0.5, 0.30, 0.26, 0.28), (0.5, 0.62, 0.40, 0.34)), 0.032),
    "birch": Habit(
        (7.0, 13.0), 0.55, 0.30, ((0.5, 0.22, 0.22, 0.18), (0.42, 0.44, 0.28, 0.18), (0.6, 0.58, 0.28, 0.15)),
        0.018, True,
    ),
    "bush": Habit(
        (0.7, 2.0), 1.5, 0.0,
        ((0.32, 0.70, 0.30, 0.28), (0.68, 0.74, 0.30, 0.25), (0.5, 0.55, 0.28, 0.28)), 0.032,
    ),
    "cactus": Habit((2.0, 4.5), 0.6, 0.0, (), 0.0),
    "bare": Habit((6.0, 11.0), 0.85, 0.0, (), 0.0),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Plant:
    """One plant on the ground at (x_m, z_m)."""

    kind: str
    x_m: float
    z_m: float
    height_m: float
    leaf: Colour
    snow: float
    variant: int


def draw_plant(canvas: Canvas, plant: Plant) -> None:
    """Draw a plant, lit from the side where the sun stands."""
    habit = HABITS[plant.kind]
    foot = canvas.camera.project(plant.x_m, 0.0, plant.z_m)
    height = canvas.px(plant.height_m, plant.z_m)
    if height < 2.0 or plant.z_m < NEAR_M:
        return
    bark = canvas.light.up((222.0, 218.0, 208.0) if plant.kind == "birch" else (104.0, 84.0, 66.0))
    if habit.trunk > 0.0:
        lean = (plant.variant - 1.5) * 0.03 * height if plant.kind == "palm" else 0.0
        top = (foot[0] + lean, foot[1] - height * min(habit.trunk + 0.25, 0.78))
        canvas.line([foot, top], max(1.0, height * 0.035), dim(bark, 0.85), plant.z_m)
        foot = (foot[0] + lean, foot[1])
    colour = bark if plant.kind == "bare" else canvas.light.up(plant.leaf)
    white = canvas.light.up((234.0, 238.0, 244.0))
    light = mix(dim(colour, 1.28), white, plant.snow * 0.9)
    dark = mix(dim(colour, 0.42), white, plant.snow * 0.25)
    flip = canvas.light.sun[0] > 0.0
    width = height * habit.width
    _paste(canvas, (plant.kind, plant.variant, flip), (foot[0] - width / 2, foot[1] - height, width, height), (
        canvas.light.far(dark, plant.z_m), canvas.light.far(light, plant.z_m),
    ))  # fmt: skip


def _paste(
    canvas: Canvas,
    sprite: tuple[str, int, bool],
    box: tuple[float, float, float, float],
    tones: tuple[Colour, Colour],
) -> None:
    left, top, width, height = box
    side = canvas.camera.side
    if left > side or top > side or left + width < 0 or top + height < 0:
        return
    size = (max(1, round(width)), max(1, round(height)))
    mip = next((m for m in reversed(_MIPS) if m >= max(size) * 0.75), _MIPS[0])
    shade, alpha = _sprite(*sprite, mip)
    source, crop, corner = _visible(left, top, size, side, mip)
    shade = shade.resize(crop, Image.Resampling.BILINEAR, box=source)
    alpha = alpha.resize(crop, Image.Resampling.BILINEAR, box=source)
    dark, light = (Image.new("RGB", crop, ink(tone)) for tone in tones)
    canvas.image.paste(Image.composite(light, dark, shade), corner, alpha)


def _visible(
    left: float, top: float, size: tuple[int, int], side: int, mip: int
) -> tuple[tuple[float, float, float, float], tuple[int, int], tuple[int, int]]:
    """Cut a sprite to the canvas: box in the sprite, size and corner in the canvas."""
    x, y = round(left), round(top)
    x0, y0, x1, y1 = max(x, 0), max(y, 0), min(x + size[0], side), min(y + size[1], side)
    x1, y1 = max(x1, x0 + 1), max(y1, y0 + 1)
    fx, fy = mip / size[0], mip / size[1]
    box = (max((x0 - x) * fx, 0.0), max((y0 - y) * fy, 0.0), min((x1 - x) * fx, mip), min((y1 - y) * fy, mip))
    return box, (x1 - x0, y1 - y0), (x0, y0)


@cache
def _sprite(kind: str, variant: int, flip: bool, mip: int) -> tuple[Image.Image, Image.Image]:
    shade, alpha = _grown(kind, variant)
    if flip:
        shade, alpha = (
            shade.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
            alpha.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        )
    return shade.reduce(_GROWN_PX // mip), alpha.reduce(_GROWN_PX // mip)


@cache
def _grown(kind: str, variant: int) -> tuple[Image.Image, Image.Image]:
    """Grow a plant as two grey pictures: shade (0 dark to 255 lit) and opacity."""
    rng = np.random.default_rng([WORLD_SEED, 7, list(HABITS).index(kind), variant])
    shade, alpha = Image.new("L", (_GROWN_PX, _GROWN_PX), 90), Image.new("L", (_GROWN_PX, _GROWN_PX), 0)
    pens = ImageDraw.Draw(shade), ImageDraw.Draw(alpha)
    if kind == "palm":
        _grow_fronds(pens, rng)
    elif kind == "cactus":
        _grow_cactus(pens, rng)
    elif kind == "bare":
        _grow_branch(pens, rng, (128.0, 256.0), -math.pi / 2, 78.0, 9.0)
    else:
        _grow_leaves(pens, HABITS[kind], rng)
    return shade, alpha


def _grow_leaves(pens: tuple[Any, Any], habit: Habit, rng: np.random.Generator) -> None:
    clumps = []
    for x, y, rx, ry in habit.lumps:
        x, y = x + rng.normal(0.0, 0.02), y + rng.normal(0.0, 0.02)
        for _ in range(int(40 + 1.1 * rx * ry / habit.leaf**2)):
            angle, reach = rng.uniform(0.0, 2.0 * math.pi), math.sqrt(rng.uniform(0.0, 1.0))
            dx, dy = math.cos(angle) * reach, math.sin(angle) * reach
            tone = 0.48 - 0.30 * dy - 0.22 * dx + rng.normal(0.0, 0.14) - 0.12 * (y - 0.4)
            clumps.append((tone, x + dx * rx, y + dy * ry, habit.leaf * rng.uniform(0.6, 1.3)))
    for tone, x, y, r in sorted(clumps):
        box = [v * _GROWN_PX for v in (x - r, y - r * 0.8, x + r, y + r * 0.8)]
        pens[0].ellipse(box, fill=int(np.clip(tone, 0.0, 1.0) * 255))
        pens[1].ellipse(box, fill=255)


def _grow_fronds(pens: tuple[Any, Any], rng: np.random.Generator) -> None:
    for k in range(15):
        angle = math.pi * (k / 14.0) + rng.normal(0.0, 0.12)
        reach, tone = rng.uniform(95.0, 125.0), int(rng.uniform(60, 230))
        points = []
        for step in range(9):
            t = step / 8.0
            drop = 92.0 * t * t * (0.55 + 0.45 * abs(math.cos(angle)))
            points.append((128.0 - math.cos(angle) * reach * t, 66.0 - math.sin(angle) * 62.0 * t * (1.4 - t) + drop))
        for (x0, y0), (x1, y1) in pairwise(points):
            hang = 20.0 * (1.0 - abs(x1 - 128.0) / 170.0)
            for pen, fill in zip(pens, (tone, 255), strict=True):
                pen.polygon([(x0, y0 - 3), (x1, y1 - 2), (x1, y1 + hang * 0.6), (x0 + 3, y0 + hang)], fill=fill)


def _grow_cactus(pens: tuple[Any, Any], rng: np.random.Generator) -> None:
    arms = [(128.0, 20.0, 256.0)]
    for direction in (-1.0, 1.0):
        low, high = rng.uniform(120.0, 190.0), rng.uniform(50.0, 105.0)
        arms.append((128.0 + direction * 62.0, high, low))
        for pen, fill in zip(pens, (110, 255), strict=True):
            pen.line([(128.0, low), (128.0 + direction * 62.0, low)], fill=fill, width=26)
    for x, top, bottom in arms:
        for offset, tone in ((0.0, 120), (-9.0, 215), (10.0, 60)):
            pens[0].rounded_rectangle((x - 20 + offset, top, x + 20 + offset, bottom + 12), 18, fill=tone)
        pens[1].rounded_rectangle((x - 20, top, x + 20, bottom + 12), 18, fill=255)


def _grow_branch(
    pens: tuple[Any, Any],
    rng: np.random.Generator,
    start: tuple[float, float],
    angle: float,
    length: float,
    width: float,
) -> None:
    end = (start[0] + math.cos(angle) * length, start[1] + math.sin(angle) * length)
    for pen, fill in zip(pens, (int(90 + 60 * rng.random()), 255 if width > 2 else 170), strict=True):
        pen.line([start, end], fill=fill, width=max(1, round(width)))
    if length < 11.0:
        return
    for spread in (-0.48, 0.42, 0.02):
        turn = angle + spread + rng.normal(0.0, 0.14)
        _grow_branch(pens, rng, end, turn, length * rng.uniform(0.60, 0.78), width * 0.62)
