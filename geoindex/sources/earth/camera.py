"""A pinhole camera on a road, and a canvas that draws into the world it sees.

World axes in metres: x to the right of the road's centre, y up, z forward. The canvas is twice the image.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from PIL import Image, ImageDraw

from geoindex.sources.earth.colour import Colour, dim, ink, mix, tint
from geoindex.sources.earth.scene import Scene, sunlight

NEAR_M = 2.4
"""Nothing nearer than this is drawn."""

Point: TypeAlias = tuple[float, float, float]
Pixel: TypeAlias = tuple[float, float]
Side: TypeAlias = Callable[[float, float], Pixel]


@dataclass(frozen=True, slots=True)
class Camera:
    """Where the picture is taken from, in pixels of a square of `side`."""

    side: int
    focal: float
    horizon: float
    vanish: float
    height_m: float
    x_m: float
    curve: float

    def project(self, x: float, y: float, z: float) -> Pixel:
        """Return the pixel of a point; z is clipped at `NEAR_M`."""
        z = max(z, NEAR_M)
        scale = self.focal / z
        return self.vanish + scale * (x - self.x_m + self.curve * z * z), self.horizon + scale * (self.height_m - y)

    @staticmethod
    def of(scene: Scene, side: int, x_m: float) -> "Camera":
        """Return the camera of a scene for a canvas of `side` pixels, `x_m` right of the road's centre."""
        n = scene.nuisance
        return Camera(side, n.focal * side, n.horizon * side, n.vanish * side, n.camera_m, x_m, n.curve)


@dataclass(frozen=True, slots=True)
class Light:
    """Light of a scene in camera axes.

    Attributes:
        sun: unit vector towards the sun.
        direct, ambient: three factors each.
        haze: colour of far air; `visibility_m` is where it covers 63 %.
        shadow: darkness of cast shadows, 0 to 1.
    """

    sun: Point
    direct: Colour
    ambient: Colour
    haze: Colour
    visibility_m: float
    shadow: float

    @staticmethod
    def of(scene: Scene) -> "Light":
        """Return the light of a scene."""
        n, climate = scene.nuisance, scene.climate
        colour, strength = sunlight(scene)
        height, turn = math.radians(n.sun_height_deg), math.radians(n.sun_azimuth_deg - n.heading_deg)
        sun = (math.cos(height) * math.sin(turn), math.sin(height), math.cos(height) * math.cos(turn))
        bright = 0.83 + 0.17 * math.sin(height)
        cool = mix((1.0, 1.0, 1.0), dim(climate.zenith, 1.0 / 170.0), 0.22 * strength)
        ambient = dim(cool, bright * (0.56 + 0.32 * (1.0 - strength)))
        grey = dim((218.0, 221.0, 225.0), 0.84 + 0.18 * math.sin(height))
        haze = mix(grey, tint(climate.horizon, mix((1.0, 1.0, 1.0), colour, 0.6)), 0.25 + 0.75 * strength)
        visibility = {"fog": 45.0, "rain": 260.0}.get(n.weather, 1500.0 - 1100.0 * climate.haze)
        return Light(sun, dim(colour, 0.62 * strength * bright), ambient, haze, visibility, 0.5 * strength)

    def on(self, colour: Colour, normal: Point) -> Colour:
        """Return a surface's colour in this light."""
        facing = max(0.0, sum(a * b for a, b in zip(normal, self.sun, strict=True)))
        direct, ambient = self.direct, self.ambient
        return tint(colour, (
            ambient[0] + direct[0] * facing, ambient[1] + direct[1] * facing, ambient[2] + direct[2] * facing,
        ))  # fmt: skip

    def up(self, colour: Colour) -> Colour:
        """Return the colour of level ground in this light, lifted so that a low sun does not blacken it."""
        lifted = 0.45 + 0.55 * self.sun[1]
        direct, ambient = self.direct, self.ambient
        return tint(colour, (
            ambient[0] + direct[0] * lifted, ambient[1] + direct[1] * lifted, ambient[2] + direct[2] * lifted,
        ))  # fmt: skip

    def far(self, colour: Colour, z: float) -> Colour:
        """Return a colour seen through z metres of air."""
        return mix(self.haze, colour, math.exp(-z / self.visibility_m))


class Canvas:
    """An RGB image that is drawn on in world coordinates.

    Attributes:
        image: the picture, square.
        camera, light: how the world is seen.
    """

    def __init__(self, image: Image.Image, camera: Camera, light: Light) -> None:
        self.image = image
        self.camera = camera
        self.light = light
        self._pen = ImageDraw.Draw(image)
        self._veil = ImageDraw.Draw(image, "RGBA")

    def polygon(self, points: Sequence[Point], colour: Colour, z: float) -> None:
        """Fill a polygon of world points with a lit colour, hazed as at distance z."""
        project = self.camera.project
        self._pen.polygon([project(*point) for point in points], fill=ink(self.light.far(colour, z)))

    def pixels(self, points: Sequence[Pixel], colour: Colour, z: float) -> None:
        """Fill a polygon of pixels with a lit colour, hazed as at distance z."""
        self._pen.polygon(points, fill=ink(self.light.far(colour, z)))

    def line(self, points: Sequence[Pixel], width_px: float, colour: Colour, z: float) -> None:
        """Draw a line through pixels."""
        self._pen.line(points, fill=ink(self.light.far(colour, z)), width=max(1, round(width_px)), joint="curve")

    def disc(self, centre: Pixel, radius: tuple[float, float], colour: Colour, z: float) -> None:
        """Fill an upright ellipse of pixels."""
        (x, y), (rx, ry) = centre, radius
        self._pen.ellipse((x - rx, y - ry, x + rx, y + ry), fill=ink(self.light.far(colour, z)))

    def glow(self, points: Sequence[Pixel], colour: Colour, opacity: float) -> None:
        """Fill a polygon of pixels with a transparent colour."""
        self._veil.polygon(points, fill=(*ink(colour), int(255 * opacity)))

    def shadow(self, x: float, z: float, radius: tuple[float, float], height_m: float) -> None:
        """Cast the shadow of something `height_m` above (x, z) with half-sizes `radius` on level ground."""
        opacity = self.light.shadow * math.exp(-z / 90.0)
        if opacity < 0.06 or z < NEAR_M:
            return
        sun = self.light.sun
        reach = min(height_m / max(sun[1], 0.05), 14.0)
        x, z = x - sun[0] * reach, z - sun[2] * reach
        points = []
        for step in range(12):
            angle = step * math.pi / 6.0
            points.append((x + radius[0] * math.cos(angle), 0.0, z + radius[1] * math.sin(angle)))
        if max(point[2] for point in points) > NEAR_M:
            self.glow([self.camera.project(*point) for point in points], (20.0, 24.0, 34.0), opacity)

    def px(self, metres: float, z: float) -> float:
        """Return the length in pixels of so many metres at distance z."""
        return metres * self.camera.focal / max(z, NEAR_M)
