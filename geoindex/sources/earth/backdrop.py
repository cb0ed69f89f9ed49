"""Sky, clouds, far terrain and ground of a scene as arrays, at image size."""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from geoindex.sources.earth.camera import Camera, Light
from geoindex.sources.earth.colour import Colour, dim, mix
from geoindex.sources.earth.noise import ridge, tile
from geoindex.sources.earth.road import Road
from geoindex.sources.earth.scene import Scene

Plane: TypeAlias = NDArray[np.float32]

_SNOW: Colour = (236.0, 240.0, 246.0)


def paint_backdrop(
    scene: Scene, camera: Camera, light: Light, road: Road, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Return everything behind the objects: sky over ground, (side, side, 3)."""
    side = camera.side
    top = int(np.clip(round(camera.horizon), 8, side - 8))
    picture = np.empty((side, side, 3), np.float32)
    picture[:top] = _sky(scene, camera, light, top, rng)
    picture[top:] = _ground(scene, camera, light, road, top, rng)
    _terrain(picture, scene, camera, light, top, rng)
    np.clip(picture, 0.0, 255.0, out=picture)
    return picture.astype(np.uint8)


def _sky(scene: Scene, camera: Camera, light: Light, top: int, rng: np.random.Generator) -> Plane:
    climate, n = scene.climate, scene.nuisance
    bright = 0.80 + 0.20 * light.sun[1]
    rise = (top - np.arange(top, dtype=np.float32))[:, None] / np.float32(camera.focal)
    blend = np.exp(-rise / np.float32(0.13 + 0.16 * climate.haze))[..., None]
    clear = _rgb(dim(climate.zenith, bright)) * (1 - blend) + _rgb(light.haze) * blend
    sky = np.broadcast_to(clear, (top, camera.side, 3)) + _sun_glow(camera, light, rise)
    dull = n.weather in ("overcast", "rain", "fog")
    white = dim((226.0, 229.0, 233.0) if dull else (252.0, 250.0, 247.0), bright)
    white = mix(white, light.haze, 0.25)
    grey = dim(white, 0.84)
    cover, thick = _clouds(camera, top, rise, n.cloud, rng)
    sky = sky + cover[..., None] * (_rgb(white) + thick[..., None] * (_rgb(grey) - _rgb(white)) - sky)
    return np.asarray(sky, np.float32)


def _clouds(camera: Camera, top: int, rise: Plane, share: float, rng: np.random.Generator) -> tuple[Plane, Plane]:
    """Return opacity and thickness of clouds on a flat ceiling, each (top, side)."""
    texture = tile(1, 1.75)
    across = (np.arange(camera.side, dtype=np.float32) - np.float32(camera.vanish)) / np.float32(camera.focal)
    far = 1.0 / (rise + 0.10)
    offset = rng.integers(0, 512, 2)
    u = (across * far * 46.0).astype(np.int32) + offset[0]
    v = np.broadcast_to((far * 70.0).astype(np.int32) + offset[1], u.shape)
    noise = texture[v & 511, u & 511]
    level = np.float32(np.interp(share, [0.0, 0.15, 0.5, 0.9, 1.0], [3.0, 1.6, 0.1, -1.9, -3.0]))
    cover = np.clip((noise - level) * 1.1, 0.0, 1.0)
    cover *= np.clip(rise * 9.0 + 0.25, 0.0, 0.96)
    return cover, np.clip((noise - level) * 0.30 - 0.1, 0.0, 1.0)


def _sun_glow(camera: Camera, light: Light, rise: Plane) -> Plane:
    if light.sun[2] < 0.2 or light.shadow < 0.2:
        return np.zeros((1, 1, 3), np.float32)
    x = camera.vanish + camera.focal * light.sun[0] / light.sun[2]
    y = light.sun[1] / light.sun[2]
    across = (np.arange(camera.side, dtype=np.float32) - np.float32(x)) / np.float32(camera.focal)
    squared = across**2 + (rise - np.float32(y)) ** 2
    glow = 70.0 * np.exp(-squared / 0.05) + 120.0 * np.exp(-squared / 0.003)
    return np.asarray(glow[..., None] * _rgb(light.direct) * 1.3, np.float32)


def _terrain(picture: Plane, scene: Scene, camera: Camera, light: Light, top: int, rng: np.random.Generator) -> None:
    """Draw hills or mountains behind the ground, far ones first, and a line of far trees."""
    relief, climate = scene.climate.relief, scene.climate
    profile = ridge(1, 1.45)
    leafy = mix(climate.soil, climate.leaf, climate.density * 1.1)
    columns = np.arange(camera.side) * 448 // camera.side
    for layer, (reach_m, share) in enumerate(((1.6, 1.0), (0.8, 0.55), (0.35, 0.26))):
        steep = max(0.0, relief - 0.12) ** 1.4 * share * camera.focal * 0.36
        shape = profile[(columns + int(rng.integers(2048))) % 2048] * 0.45 + 1.0
        height = np.maximum(shape, 0.08) * (steep + 0.006 * camera.focal)
        rock = mix(leafy, mix(climate.soil, (120.0, 116.0, 114.0), 0.5), relief * (1.2 - 0.4 * layer))
        colour = light.up(mix(rock, _SNOW, scene.snow * 0.9))
        depth = min(0.80, reach_m * 0.42 + 0.25 * climate.haze) if light.visibility_m > 300.0 else 0.99
        capped = relief > 0.5 and scene.temperature_c < 14.0 and depth < 0.9
        cap = 0.5 * relief * camera.focal * 0.36 if capped else None
        _silhouette(picture, top, height, mix(colour, light.haze, depth), cap, light)
    trees = ridge(2, 0.55)[(columns * 3 + int(rng.integers(2048))) % 2048]
    height = np.maximum(1.0 + 0.3 * trees, 0.3) * climate.density * camera.focal * 0.028
    if climate.density > 0.15:
        colour = light.up(mix(dim(climate.leaf, 0.75), _SNOW, scene.snow * 0.45))
        _silhouette(picture, top, height, light.far(colour, 220.0), None, light)


def _silhouette(
    picture: Plane, top: int, height: NDArray[np.floating], colour: Colour, snow_px: float | None, light: Light
) -> None:
    tallest = int(min(np.ceil(height.max()) + 1, top))
    above = np.arange(tallest, 0, -1, dtype=np.float32)[:, None]
    cover = np.clip(height[None] - above + 1.0, 0.0, 1.0)[..., None]
    band = picture[top - tallest : top]
    paint = _rgb(colour)
    if snow_px is not None:
        white = np.clip((above - np.float32(snow_px)) / (0.35 * snow_px), 0.0, 0.85)[..., None]
        paint = paint + white * (_rgb(mix(light.up(_SNOW), light.haze, 0.35)) - paint)
    band += cover * (paint - band)


def _ground(scene: Scene, camera: Camera, light: Light, road: Road, top: int, rng: np.random.Generator) -> Plane:
    below = np.arange(top, camera.side, dtype=np.float32)[:, None] + np.float32(0.6) - np.float32(camera.horizon)
    z = np.minimum(camera.focal * camera.height_m / np.maximum(below, 0.3), 900.0)
    across = np.arange(camera.side, dtype=np.float32)[None] - np.float32(camera.vanish)
    x = across * (z / camera.focal) + np.float32(camera.x_m) - np.float32(camera.curve) * np.minimum(z, 220.0) ** 2
    fine, coarse = _ground_noise(x, z, rng)
    ground = _verge(scene, light, fine, coarse, z)
    road.paint(ground, x, z, fine, coarse, np.float32(camera.focal) / z)
    clear = np.exp(-z / np.float32(light.visibility_m))[..., None]
    haze = _rgb(light.haze)
    return np.asarray(haze + clear * (ground - haze), np.float32)


def _ground_noise(x: Plane, z: Plane, rng: np.random.Generator) -> tuple[Plane, Plane]:
    """Return a fine and a coarse texture lying on the ground, fading where pixels grow larger than they."""
    fine, coarse = tile(2, 0.55), tile(3, 1.5)
    a, b = rng.integers(0, 512, 2)
    v = z * 26.0
    near = fine[(v.astype(np.int32) + a) & 511, ((x * 26.0).astype(np.int32) + b) & 511]
    v = z * 3.0
    wide = coarse[(v.astype(np.int32) + b) & 511, ((x * 6.0).astype(np.int32) + a) & 511]
    return near * np.clip(9.0 / z, 0.0, 1.0), wide * np.clip(70.0 / z, 0.0, 1.0)


def _verge(scene: Scene, light: Light, fine: Plane, coarse: Plane, z: Plane) -> Plane:
    climate = scene.climate
    dry = min(max((6.0 - scene.temperature_c) / 12.0, 0.0), 0.6)
    grass = mix(climate.grass, (150.0, 132.0, 92.0), dry)
    covered = np.float32(2.6 * (climate.density * 1.25 - 0.42))
    mask = np.clip(0.5 + 1.1 * (covered + 0.6 * coarse + 0.25 * fine), 0.0, 1.0)[..., None]
    soil_rgb, grass_rgb = _rgb(light.up(climate.soil)), _rgb(light.up(grass))
    ground = soil_rgb + mask * (grass_rgb - soil_rgb)
    ground *= (1.0 + 0.09 * fine + 0.05 * coarse)[..., None]
    if scene.snow > 0.03:
        white = np.clip(scene.snow * 3.0 - 1.0 + 0.7 * coarse, 0.0, 0.97)[..., None]
        ground += white * (_rgb(light.up(_SNOW)) * (1.0 + 0.02 * coarse)[..., None] - ground)
    return np.asarray(ground, np.float32)


def _rgb(colour: Colour) -> Plane:
    return np.asarray(colour, np.float32)
