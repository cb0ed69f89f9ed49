"""From the causes of a scene to its picture."""

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from geoindex.sources.earth.backdrop import paint_backdrop
from geoindex.sources.earth.camera import NEAR_M, Camera, Canvas, Light
from geoindex.sources.earth.climate import PLANTS
from geoindex.sources.earth.colour import Colour, dim, from_hsv, mix
from geoindex.sources.earth.houses import House, draw_house
from geoindex.sources.earth.noise import tile
from geoindex.sources.earth.plants import HABITS, VARIANTS, Plant, draw_plant
from geoindex.sources.earth.road import Road
from geoindex.sources.earth.scene import Scene
from geoindex.sources.earth.street import Car, Pole, Sign, draw_car, draw_pole, draw_sign

Item: TypeAlias = tuple[float, Callable[[Canvas], None]]
"""Something to draw and its distance; far things are drawn first."""

_CAR_PAINTS: tuple[Colour, ...] = (
    (232.0, 232.0, 230.0), (44.0, 46.0, 50.0), (128.0, 132.0, 138.0), (178.0, 182.0, 186.0), (160.0, 36.0, 38.0),
    (44.0, 74.0, 128.0), (88.0, 92.0, 84.0), (206.0, 178.0, 70.0),
)  # fmt: skip


def paint(scene: Scene, image_size: int, rng: np.random.Generator) -> Image.Image:
    """Draw a scene as a square RGB picture; `rng` decides details that are no causes."""
    light = Light.of(scene)
    road = Road.of(scene, light, rng)
    base = paint_backdrop(scene, Camera.of(scene, image_size, road.lane_m), light, road, rng)
    side = 2 * image_size
    image = Image.fromarray(base).resize((side, side), Image.Resampling.BILINEAR)
    canvas = Canvas(image, Camera.of(scene, side, road.lane_m), light)
    plants = list(_plants(scene, road, rng))
    houses = list(_houses(scene, road, rng))
    _cast_shadows(canvas, plants, houses)
    items: list[Item] = [(p.z_m, partial(_plant_on, p)) for p in plants]
    items += [(max(h.z0, NEAR_M), partial(_house_on, h, scene)) for h in houses]
    items += _furniture(scene, road, rng)
    for _, draw in sorted(items, key=lambda item: -item[0]):
        draw(canvas)
    return _exposed(canvas.image.reduce(2), scene, rng)


def _plant_on(plant: Plant, canvas: Canvas) -> None:
    draw_plant(canvas, plant)


def _house_on(house: House, scene: Scene, canvas: Canvas) -> None:
    draw_house(canvas, house, scene)


def _cast_shadows(canvas: Canvas, plants: list[Plant], houses: list[House]) -> None:
    for plant in plants:
        if plant.z_m < 60.0:
            half = plant.height_m * HABITS[plant.kind].width * (0.15 if plant.kind == "bare" else 0.40)
            canvas.shadow(plant.x_m, plant.z_m, (half, half), plant.height_m * 0.55)
    for house in houses:
        _house_shadow(canvas, house)


def _house_shadow(canvas: Canvas, house: House) -> None:
    """Cast a house's shadow on the street, if the sun stands behind it."""
    sun, face = canvas.light.sun, house.face_m
    across, along = house.side * sun[0], sun[2]
    if across < 0.1 or canvas.light.shadow < 0.1 or house.z1 < 9.0:
        return
    reach = min(house.storeys * 3.0 / max(sun[1], 0.1), (face + 2.0) / across)
    z0, z1 = max(house.z0, NEAR_M), house.z1
    corners = [(face, z0), (face, z1), (face - across * reach, z1 - along * reach)]
    corners.append((face - across * reach, max(z0 - along * reach, NEAR_M)))
    if corners[2][1] > NEAR_M + 0.5:
        points = [canvas.camera.project(house.side * x, 0.0, z) for x, z in corners]
        canvas.glow(points, (20.0, 24.0, 36.0), 0.8 * canvas.light.shadow * math.exp(-z0 / 90.0))


def _plants(scene: Scene, road: Road, rng: np.random.Generator) -> Iterator[Plant]:
    climate = scene.climate
    count = rng.poisson(4.0 + 30.0 * climate.density * (1.0 - 0.55 * scene.urbanity))
    kinds = rng.choice(len(PLANTS), size=count, p=climate.plants)
    for kind in kinds:
        name = PLANTS[int(kind)]
        if scene.urbanity > 0.38 and name in ("bush", "cactus") and rng.random() < 0.6:
            continue
        low, high = HABITS[name].height_m
        height = float(rng.uniform(low, high)) * (0.72 + 0.28 * climate.density)
        z = float(6.0 + 110.0 * rng.random() ** 1.5)
        gap = 1.0 + (0.6 if name in ("bush", "cactus") else height * HABITS[name].width * 0.22)
        spread = float(rng.exponential(2.5 if scene.urbanity > 0.38 else 9.0))
        side = float(rng.choice([-1.0, 1.0]))
        room = 3.5 if side == road.side and z < 18.0 else 0.0  # signs stay in sight
        x = side * (road.clear_m + gap + spread + room)
        yield _seasonal(
            Plant(name, x, z, height, _leaf_colour(scene, name, rng), 0.0, int(rng.integers(VARIANTS))), scene
        )


def _leaf_colour(scene: Scene, kind: str, rng: np.random.Generator) -> Colour:
    shift = {
        "conifer": (40.0, 92.0, 66.0), "cypress": (58.0, 88.0, 56.0), "birch": (150.0, 164.0, 84.0),
        "bush": (132.0, 128.0, 88.0), "cactus": (96.0, 130.0, 84.0), "jungle": (48.0, 98.0, 50.0),
        "acacia": (128.0, 136.0, 66.0),
    }.get(kind)  # fmt: skip
    leaf = scene.climate.leaf if shift is None else mix(scene.climate.leaf, shift, 0.55)
    return dim(leaf, float(rng.uniform(0.88, 1.12)))


def _seasonal(plant: Plant, scene: Scene) -> Plant:
    """Give a plant its leaves, autumn colour, bare branches or snow."""
    kind, leaf, cool = plant.kind, plant.leaf, scene.temperature_c
    if HABITS[kind].deciduous and scene.climate.swing_c > 5.0:
        if cool < 5.0:
            kind = "bare"
        elif cool < 9.5 and math.sin(2.0 * math.pi * scene.nuisance.day / 365.0) * scene.lat < 0:
            leaf = mix(leaf, from_hsv(22.0 + 8.0 * plant.variant, 0.72, 0.74), 0.75)
    snow = scene.snow * 0.75
    return Plant(kind, plant.x_m, plant.z_m, plant.height_m, leaf, snow, plant.variant)


def _houses(scene: Scene, road: Road, rng: np.random.Generator) -> Iterator[House]:
    town = scene.urbanity
    if town < 0.12:
        return
    setback = 0.3 if town > 0.62 else 2.5 + 9.0 * (0.62 - town) / 0.62
    for side in (-1, 1):
        z = float(rng.uniform(-6.0, 6.0))
        while z < 130.0:
            length = float(rng.uniform(8.0, 15.0))
            if rng.random() < min(1.0, 0.15 + 1.25 * town):
                face = road.clear_m + setback + float(rng.uniform(0.0, 0.6 if town > 0.62 else 3.0))
                yield _house(scene, (side, face, z, z + length), rng)
            z += length + (float(rng.choice([0.0, 0.0, 2.0])) if town > 0.62 else float(rng.uniform(3.0, 12.0)))


def _house(scene: Scene, box: tuple[int, float, float, float], rng: np.random.Generator) -> House:
    side, face, z0, z1 = box
    culture, town = scene.culture, scene.urbanity
    typical = 1.0 + (culture.storeys - 1.0) * min(1.0, max(town - 0.15, 0.0) * 1.6)
    tone = culture.walls[int(rng.choice(3, p=[0.55, 0.3, 0.15]))]
    shop = town > 0.5 and rng.random() < 0.5
    roof = culture.roof if rng.random() < 0.85 and typical < 4.5 else "flat"
    return House(
        side=side,
        face_m=face,
        deep_m=float(rng.uniform(7.0, 11.0)),
        z0=z0,
        z1=z1,
        storeys=int(np.clip(round(typical + rng.normal(0.0, 0.6)), 1, 7)),
        wall=dim(tone, float(rng.uniform(0.93, 1.06))),
        roof_colour=culture.roofs[int(rng.random() < 0.3)],
        roof=roof,
        shop=from_hsv(float(rng.uniform(0.0, 360.0)), float(rng.uniform(0.2, 0.8)), 0.75) if shop else None,
        script=culture.script,
        seed=int(rng.integers(2**31)),
    )


def _furniture(scene: Scene, road: Road, rng: np.random.Generator) -> Iterator[Item]:
    yield from _poles(scene, road, rng)
    yield from _signs(scene, road, rng)
    yield from _cars(scene, road, rng)


def _poles(scene: Scene, road: Road, rng: np.random.Generator) -> Iterator[Item]:
    if rng.random() < 0.12:
        return
    x = scene.culture.pole_side * (road.half_m + (0.6 if road.walk_m else float(rng.uniform(1.8, 4.0))))
    z, pitch = float(rng.uniform(5.0, 22.0)), float(rng.uniform(26.0, 36.0))
    for z_m in (z - pitch, z, z + pitch, z + 2 * pitch, z + 3 * pitch):
        pole = Pole(x, z_m, z_m + pitch if z_m < z + 3 * pitch else None, scene.culture)
        yield z_m + pitch * 0.2, partial(_pole_on, pole)


def _pole_on(pole: Pole, canvas: Canvas) -> None:
    draw_pole(canvas, pole)


def _signs(scene: Scene, road: Road, rng: np.random.Generator) -> Iterator[Item]:
    layouts = (("board",), ("warning",), ("limit",), ("warning", "limit"), ())
    for rank, kind in enumerate(layouts[int(rng.choice(5, p=[0.45, 0.15, 0.1, 0.15, 0.15]))]):
        z = float(rng.uniform(8.5, 13.0)) + 11.0 * rank
        off = road.half_m + (0.7 if kind != "board" else 2.1) + float(rng.uniform(0.0, 0.5))
        sign = Sign(kind, road.side * off, z, scene.culture, int(rng.integers(2**31)))
        yield z, partial(_sign_on, sign)


def _sign_on(sign: Sign, canvas: Canvas) -> None:
    draw_sign(canvas, sign)


def _cars(scene: Scene, road: Road, rng: np.random.Generator) -> Iterator[Item]:
    for oncoming in (True, False):
        z = float(rng.uniform(7.0, 13.0)) + (0.0 if oncoming else 4.0)
        for _ in range(int(rng.poisson(scene.nuisance.traffic * 0.8))):
            lane = -road.lane_m if oncoming else road.lane_m
            car = _car(scene, lane + float(rng.normal(0.0, 0.15)), z, oncoming, rng)
            yield z, partial(_car_on, car)
            z += float(rng.uniform(8.0, 30.0))
    if scene.urbanity > 0.38:
        for z in rng.uniform(7.0, 50.0, int(rng.poisson(1.5))):
            side = int(rng.choice([-1, 1]))
            car = _car(scene, side * (road.half_m - 0.2), float(z), side != road.side, rng)
            yield float(z), partial(_car_on, car)


def _car(scene: Scene, x: float, z: float, oncoming: bool, rng: np.random.Generator) -> Car:
    paint = _CAR_PAINTS[int(rng.integers(len(_CAR_PAINTS)))]
    return Car(x, z, oncoming, paint, float(rng.choice([1.0, 1.0, 1.15, 1.35])), scene.culture)


def _car_on(car: Car, canvas: Canvas) -> None:
    draw_car(canvas, car)


def _exposed(image: Image.Image, scene: Scene, rng: np.random.Generator) -> Image.Image:
    """Apply exposure, contrast, white balance and the grain of the sensor."""
    n, side = scene.nuisance, image.width
    ramp = np.arange(256) / 255.0
    bands = []
    for balance in (1.0 + n.warmth, 1.0, 1.0 - n.warmth):
        curve = np.clip((ramp - 0.5) * n.contrast + 0.5, 0.0, 1.0) * n.exposure * balance
        bands.append((np.clip(curve, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8))
    toned = np.asarray(image.point(np.concatenate(bands).tolist()), np.int16)
    grain = (tile(4, 0.15) * np.float32(n.grain)).astype(np.int16)
    dy, dx = rng.integers(0, 512, 2)
    rows, columns = (np.arange(side) + dy) & 511, (np.arange(side) + dx) & 511
    noisy: NDArray[np.int16] = toned + grain[np.ix_(rows, columns)][..., None]
    return Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))
