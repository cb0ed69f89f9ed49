"""The road of a scene: widths, surface and markings, painted on the ground plane with analytic edges."""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from geoindex.sources.earth.camera import Light
from geoindex.sources.earth.colour import Colour, mix
from geoindex.sources.earth.scene import Scene

Plane: TypeAlias = NDArray[np.float32]

PAINT: dict[str, Colour] = {"white": (232.0, 232.0, 226.0), "yellow": (226.0, 176.0, 44.0)}


@dataclass(frozen=True, slots=True)
class Road:
    """Cross-section of a two-way road; x is measured from its centre line.

    Attributes:
        side: where the camera's lane lies, -1 left or +1 right of the centre.
        half_m: half the carriageway; `walk_m` is the width of a pavement, 0 without one.
        paved: False for a track of soil.
        surface, pavement, kerb: lit colours.
        centre_line, edge_line: lit colours of paint or None; `double` means two solid centre lines.
        dash_m, gap_m: pattern of the centre line.
        snow: covered share of the surface, and its lit colour.
    """

    side: int
    half_m: float
    walk_m: float
    paved: bool
    surface: Colour
    pavement: Colour
    kerb: Colour
    centre_line: Colour | None
    edge_line: Colour | None
    double: bool
    dash_m: float
    gap_m: float
    snow: tuple[float, Colour]

    @property
    def lane_m(self) -> float:
        """Where the middle of the camera's lane lies."""
        return self.side * self.half_m / 2.0

    @property
    def clear_m(self) -> float:
        """Distance from the centre beyond which things may stand."""
        return self.half_m + self.walk_m

    @staticmethod
    def of(scene: Scene, light: Light, rng: np.random.Generator) -> "Road":
        """Draw the road of a scene."""
        culture, climate = scene.culture, scene.climate
        town = scene.urbanity > 0.38
        paved = town or bool(rng.random() < culture.paved)
        wet = 0.72 if scene.nuisance.weather == "rain" else 1.0
        asphalt = mix((0.0, 0.0, 0.0), climate.asphalt, wet * rng.uniform(0.92, 1.08))
        marked = paved and bool(rng.random() < 0.88)
        return Road(
            side=-1 if culture.drives_left else 1,
            half_m=float(rng.uniform(3.0, 3.8)) if paved else float(rng.uniform(2.3, 2.9)),
            walk_m=float(rng.uniform(1.6, 2.6)) if town else 0.0,
            paved=paved,
            surface=light.up(asphalt if paved else mix(climate.soil, (214.0, 202.0, 182.0), 0.22)),
            pavement=light.up(mix((176.0, 170.0, 162.0), climate.soil, 0.22)),
            kerb=light.up(culture.kerb or (196.0, 192.0, 186.0)),
            centre_line=light.up(PAINT[culture.centre_line]) if marked else None,
            edge_line=light.up(PAINT[culture.edge_line]) if marked and culture.edge_line else None,
            double=culture.double_line,
            dash_m=culture.dash_m,
            gap_m=culture.gap_m,
            snow=(scene.snow * float(rng.uniform(0.3, 0.9)), light.up((226.0, 231.0, 238.0))),
        )

    def paint(self, ground: Plane, x: Plane, z: Plane, fine: Plane, coarse: Plane, px_per_m: Plane) -> None:
        """Paint pavements, carriageway and lines over `ground` (H, W, 3); x, z are metres, (H, W) and (H, 1)."""
        off = np.abs(x)
        rough = (1.0 + 0.055 * fine + 0.035 * coarse)[..., None]
        if self.walk_m:
            joints = 1.0 - 0.10 * _band(np.abs((z % 1.5) - 0.75), 0.0, 0.04, px_per_m) * (z < 25.0)
            _blend(
                ground, _band(off, self.half_m, self.clear_m, px_per_m), _rgb(self.pavement) * rough * joints[..., None]
            )
        shade = rough
        if self.paved:
            shade = rough - 0.05 * np.exp(-(((off - self.half_m / 2) ** 2 - 0.6) ** 2) * 4.0)[..., None]
        else:
            shade = rough + 0.10 * np.exp(-(((off - 0.9) / 0.35) ** 2))[..., None]
        edge = self.half_m if self.paved else self.half_m + 0.25 * coarse
        _blend(ground, _band(off, 0.0, edge, px_per_m), _rgb(self.surface) * shade)
        self._paint_lines(ground, x, z, coarse, px_per_m)
        if self.walk_m:
            _blend(ground, _band(off, self.half_m, self.half_m + 0.18, px_per_m), _rgb(self.kerb))
        share, white = self.snow
        if share > 0.05:
            cover: Plane = np.clip(share * 2.2 - 0.9 + 0.5 * coarse + 0.25 * np.cos(off * 3.0), 0.0, 0.9)
            cover *= _band(off, 0.0, self.clear_m, px_per_m)
            _blend(ground, cover, _rgb(white))

    def _paint_lines(self, ground: Plane, x: Plane, z: Plane, coarse: Plane, px_per_m: Plane) -> None:
        worn = np.clip(0.92 + 0.12 * coarse, 0.45, 0.95)
        if self.edge_line is not None:
            inner = self.half_m - 0.38
            _blend(ground, worn * _band(np.abs(x), inner, inner + 0.13, px_per_m), _rgb(self.edge_line))
        if self.centre_line is None:
            return
        if self.double:
            cover = _band(np.abs(x), 0.09, 0.23, px_per_m)
        else:
            period = self.dash_m + self.gap_m
            dash = ((z % period) < self.dash_m).astype(np.float32)
            mean = np.float32(self.dash_m / period)
            far = np.clip(z / 60.0 - 0.5, 0.0, 1.0)
            cover = _band(np.abs(x), 0.0, 0.08, px_per_m) * (dash + far * (mean - dash))
        _blend(ground, worn * cover, _rgb(self.centre_line))


def _band(distance: Plane, low: float, high: float | Plane, px_per_m: Plane) -> Plane:
    """Return how much of each pixel lies between two distances, 0 to 1; thin bands fade rather than vanish."""
    width = np.clip((high - low) * px_per_m * (1.0 if low > 0 else 2.0), 0.0, 1.0)
    inside = np.minimum((distance - low) * px_per_m + 0.5 if low > 0 else 1.0, (high - distance) * px_per_m + 0.5)
    return np.asarray(np.clip(inside, 0.0, 1.0) * width, np.float32)


def _blend(ground: Plane, cover: Plane, colour: Plane) -> None:
    ground += cover[..., None] * (colour - ground)


def _rgb(colour: Colour) -> Plane:
    return np.asarray(colour, np.float32)
