"""Colours as RGB triples of floats, 0 to 255."""

import colorsys
from typing import TypeAlias

Colour: TypeAlias = tuple[float, float, float]


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """Blend from `first` (share 0) to `second` (share 1); shares outside are clipped."""
    t = min(max(share, 0.0), 1.0)
    return (
        first[0] + (second[0] - first[0]) * t,
        first[1] + (second[1] - first[1]) * t,
        first[2] + (second[2] - first[2]) * t,
    )


def tint(colour: Colour, light: Colour) -> Colour:
    """Multiply a colour by light, given as three factors around 1."""
    return colour[0] * light[0], colour[1] * light[1], colour[2] * light[2]


def dim(colour: Colour, factor: float) -> Colour:
    """Multiply a colour by one factor."""
    return colour[0] * factor, colour[1] * factor, colour[2] * factor


def from_hsv(hue_deg: float, saturation: float, value: float) -> Colour:
    """Return the colour of a hue in degrees, saturation and value 0 to 1 (clipped)."""
    saturation, value = min(max(saturation, 0.0), 1.0), min(max(value, 0.0), 1.0)
    red, green, blue = colorsys.hsv_to_rgb(hue_deg % 360.0 / 360.0, saturation, value)
    return red * 255.0, green * 255.0, blue * 255.0


def ink(colour: Colour) -> tuple[int, int, int]:
    """Return whole numbers 0 to 255 for drawing."""
    return (
        int(min(max(colour[0], 0.0), 255.0)),
        int(min(max(colour[1], 0.0), 255.0)),
        int(min(max(colour[2], 0.0), 255.0)),
    )
