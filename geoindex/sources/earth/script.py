"""Writing that looks like the scripts of the world from across the street, and says nothing."""

import math
from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from geoindex.sources.earth.camera import Canvas, Pixel
from geoindex.sources.earth.colour import Colour

Stroke: TypeAlias = list[tuple[float, float]]

# Pairs of digits are points x (0-4), y (0-6, downwards); commas part strokes.
_LETTERS: dict[str, str] = {
    "latin": "062046,1333 06002033,0303363600 40000646,0323 0600,0040,0323 00062646 06004640 0006,0343,4046 2026,1030 "
    "4000034346060 06264600 0000206,0040,2026 00264600 0046,4006 00402,2640 06002040 0006,0030433303,2346",
    "cyrillic": "0046,4006,2026 060640,0640 0626464006,0646 00064640,2026 4640000343,0306 20261,00404303000 0640,0006,4046 "
    "0006,0040,4046 0626,0343,46 404600,0343 0006,034346060 20,0600404600 06,0006,1343,4046",
    "greek": "062046 0646,0020424600 004023060646 0006,0040,4046 0040,1333,0646 0646102,1600104636,3646 2026,00034340 "
    "0040,2026 0046,4006 002326,2340",
    "hebrew": "004046,06 0040,4046,0006 0040,3036,06 2046,0626 00404606,0003 0046,4023,0306 0040,4042,2026 0030,3036,0646",
    "han": "0040,2006,2046,0343 0006,0040,4046,0646,0343,2026 0141,0646,2026,0323 2006,1446,2046,0242 0040,1016,3036,0646,0343 "
    "0040,2026,0343,0626,1535 1006,1646,2046,0141 0242,2026,0525,4446,1030 0006464000,0242,0444 2026,0141,1404,3444,0646",
    "kana": "0040,3006 2026,0242,0646 0141,1016,4134 004006 0242,2006,2046 1006,3046,0143 01,2102,44,4606 0141,2016,36",
    "hangul": "00024200,0444,2426 0003,0343,4046 0040,4043,2326,0646 1030,0242,1535,2426 0003,0323,3036,3343 0030,3033,0306,0636,4046,4333",
    "thai": "060110,1021,2226,2640,4046 0102,0206,0646,4640,4020,2010 0110,1112,0206,0636,3630,3041 06000110,1020,2026,2640,4046 0003,0306,0646,4642,3242",
    "devanagari": "0040,3036,3313,1304,0426 0040,3036,0113,1333 0040,3036,0233,1406 0040,3036,1013,1333 0040,2026,0123,2345 0040,3036,0204,0424,2432",
    "georgian": "06164643,4333,1303,0110 0313,1016,1646,4643 0003,0346,4640 2026,0242,2400,1600 0646,4643,4303,0306,2023 0023,2346,2106",
}  # fmt: skip


def write(
    canvas: Canvas, place: Callable[[float, float], Pixel], aspect: float, script: str, look: tuple[Colour, float, float],
    rng: np.random.Generator,
) -> None:
    """Write one line of a script.

    Args:
        canvas: what to draw on.
        place: maps (u, v) in the unit square (v downwards) of the sign to pixels.
        aspect: width over height of the line.
        script: one of `culture.SCRIPTS`.
        look: lit colour, width of strokes in pixels, and distance in metres.
        rng: chooses the letters.
    """
    colour, width, z = look
    if script == "arabic":
        strokes = _arabic(aspect, rng)
    else:
        strokes = _letters(script, aspect, rng)
    for stroke in strokes:
        canvas.line([place(x, y) for x, y in stroke], width, colour, z)


def _letters(script: str, aspect: float, rng: np.random.Generator) -> list[Stroke]:
    glyphs = _LETTERS[script].split()
    wide = {"han": 1.0, "kana": 0.95, "hangul": 1.0}.get(script, 0.70)
    count = max(2, int(aspect / wide))
    strokes: list[Stroke] = []
    for place in range(count):
        if script not in ("han", "kana", "hangul") and 0 < place < count - 1 and rng.random() < 0.10:
            continue
        for code in glyphs[int(rng.integers(len(glyphs)))].split(","):
            points = [(int(a) / 4.0, int(b) / 6.0) for a, b in zip(code[::2], code[1::2], strict=False)]
            strokes.append([((place + 0.12 + 0.74 * x) / count, y) for x, y in points])
    return [stroke for stroke in strokes if len(stroke) > 1]


def _arabic(aspect: float, rng: np.random.Generator) -> list[Stroke]:
    """A running baseline with teeth, bowls, tall stems and dots."""
    strokes: list[Stroke] = []
    x, step = 0.0, 0.42 / aspect
    while x < 1.0 - 2 * step:
        length = int(rng.integers(2, 5))
        word: Stroke = [(x, 0.62)]
        for _ in range(length):
            kind = rng.random()
            rise = 0.0 if kind < 0.25 else 0.38 if kind < 0.7 else 0.85
            word += [(x + step * (0.5 + 0.4 * math.sin(t)), rise + (0.95 - rise) * t / 3.0) for t in range(3)]
            x += step
            word.append((x, 0.66))
            if rng.random() < 0.5:
                y = 0.98 if rng.random() < 0.5 else 0.12
                strokes.append([(x - step / 2, y), (x - step / 2 + 0.10 / aspect, y)])
        strokes.append([(min(a, 1.0), b) for a, b in word])
        x += step * 0.8
    return strokes
