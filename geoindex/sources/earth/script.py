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
    "latin": (
        "062046,1333 0006,0343,4046 06004640 40000646,0323 000646 0040,2026 2026 103041453616050110 "
        "002640 0600234046 400006,0323 0006,4003,0346 060030413202 060030413202,2246 "
        "4130100102133344361605 000516364540 00400646 00062645412000 4130100105163645 0046,4006 "
        "0023,4023,2326"
    ),
    "cyrillic": (
        "0046,4006,2026 0545,15103035,0506,4546 00064046 46401001021343,1306 00064640,2026 "
        "2026,1141441411 400006464303 000545,4046 400006 06004046 000343,4046 0615204046 "
        "0110304145361605,2343 0006262303,4046 0006,0313,2040462620 000636453403,0333413000 "
        "0006,0343,4046 062046,1333"
    ),
    "greek": (
        "062046 4000230646 06004046 06204606 0040,1333,0646 06161401103041343646 2026,1141441411 "
        "103041453616050110,1333 2026,00034340 400006 0023,4023,2326 06004640 062046,1333"
    ),
    "hebrew": (
        "004046,0306 0040,4046,0006 0040,3036,0646 2026,0020 0040,4046,0003 0046,4023,0306 0040,4042,2026 "
        "0030,3036,0646 000646,4043"
    ),
    "han": (
        "0040,2006,2046,0343 0040,4046,0646,0006,0343,2026 0141,0646,2026,0323 2006,2046,1434,0242 "
        "0040,1016,3036,0646,0343 0040,2026,0343,0646,1535 1006,1040,2026,2343 0242,2026,0525,4446,1030 "
        "0040,4046,0646,0006,1232,1434 0141,2026,1404,3444,0646 1016,0343,3036,3042 "
        "0222,1006,2026,3046,3343"
    ),
    "kana": (
        "0040,3006 2026,0242,0646 0141,1016,4134 004006 0242,2006,2046 1006,3046,0143 0102,2122,4406 "
        "0141,2016,3336 1016,1344 004024,2416 0303,0343 0140,2123,4116"
    ),
    "hangul": (
        "004042,0444,2426 000343,4046 0040,4043,2326,0646 1030,0242,1535,2426 0003,0323,3036,3343 "
        "0030,3033,0306,0636,4046,4333 00033300,4046,4344 20314233120120,0444,2446 0030,3033,4046,0646"
    ),
    "thai": (
        "060110,1021,2226,2646,4640 0111,0206,0646,4640,4020,2010 0110,1112,0206,0636,3630,3041 "
        "0602112026,2646,4640 0003,0306,0646,4642,3242 1000021206,063040,4046 060220424644"
    ),
    "devanagari": (
        "0040,3036,3313,1304,0426 0040,3036,0113,1333 0040,3036,0233,1406 0040,3036,1013,1333 "
        "0040,2026,0123,2345 0040,3036,0204,0424,2432 0040,3036,11030433 0040,2023,2314,1445"
    ),
    "georgian": (
        "060116,1646,4643,4333 1303,0313,1016,1646,4643 0003,0346,4640 2026,0242,2400,1600 "
        "0646,4643,4303,0306,2023 0023,2346,2106 020110304245,4536160504 060210304246"
    ),
}


def write(
    canvas: Canvas,
    place: Callable[[float, float], Pixel],
    aspect: float,
    script: str,
    look: tuple[Colour, float, float],
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
    strokes = _arabic(aspect, rng) if script == "arabic" else _letters(script, aspect, rng)
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
    return strokes


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
