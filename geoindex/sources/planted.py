"""Planted embeddings: real positions with made-up features, for measuring speed and method, not the world."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import numpy as np
from numpy.typing import NDArray

from geoindex.errors import ConfigError, UnreadableImageError
from geoindex.geo import EARTH_RADIUS_KM, destination, haversine_km, to_unit
from geoindex.images import ImageInput
from geoindex.places import named_places
from geoindex.sources.source import LeftOut, Scan
from geoindex.types import Samples

if TYPE_CHECKING:
    from pathlib import Path

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]

SCALES_KM = (5000.0, 1500.0, 400.0, 100.0, 25.0)
"""Distances over which the parts of the signal change."""

SHARES = (0.30, 0.25, 0.20, 0.15, 0.10)
"""Share of each part in the signal's energy."""

JITTER_KM = 10.0
"""Samples lie up to this far from their place."""

_BLOCK = 1024  # samples that share a random generator, so that sample i is the same whatever the count
_FAR_DRAWS = 4


@dataclass
class PlantedEmbeddings:
    """Samples whose features are random functions of their position, plus noise.

    This source is for measuring the speed and the method of an index at any size without images or an encoder.
    It says nothing about the world: how well an index of it answers follows from `noise` and `ambiguous` alone.

    The signal is a sum over `SCALES_KM` of random Fourier features (Rahimi and Recht, 2007) of the unit vector of
    the position, so that the expected similarity of two samples falls with their distance d as
    sum(share * exp(-d^2 / (2 scale^2))). Sample i depends on the parameters and i, not on `count`.

    Attributes:
        count: number of samples.
        seed: of every random choice.
        dim: length of a feature vector.
        positions: table of positions, each used once and then again with jitter; None: populated places drawn
            by the square root of their population, with jitter.
        noise: norm of the isotropic Gaussian noise in units of the norm of the signal.
        ambiguous: share of samples whose signal is half that of a random far place.
        fingerprint: stands for the encoder; differs for other parameters, not for another count.
    """

    count: int
    seed: int = 0
    dim: int = 256
    positions: "str | Path | None" = None
    noise: float = 1.0
    ambiguous: float = 0.0
    fingerprint: str = field(init=False)

    def __post_init__(self) -> None:
        self.positions = None if self.positions is None else str(self.positions)
        _require(self.count >= 1, "count", self.count, "at least 1")
        _require(self.seed >= 0, "seed", self.seed, "0 or more")
        _require(self.dim >= 1, "dim", self.dim, "at least 1")
        _require(0.0 <= self.noise < np.inf, "noise", self.noise, "0 or more")
        _require(0.0 <= self.ambiguous <= 1.0, "ambiguous", self.ambiguous, "between 0 and 1")
        words = self._options() | {"scales_km": SCALES_KM, "shares": SHARES}
        self.fingerprint = "planted-" + hashlib.sha256(json.dumps(words, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def uri(self) -> str:
        """The URI that opens this source again."""
        options = {name: value for name, value in self._options().items() if value is not None}
        return f"planted:{self.count}?{urlencode(options)}"

    def scan(self) -> Scan:
        """List the samples.

        Raises:
            DatasetError: if the table of positions cannot be used.
        """
        lat, lon, labels = _spread(self)
        numbers = range(self.count)
        columns = {"id": [f"planted-{i}" for i in numbers], "lat": lat, "lon": lon}
        images = [f"{self._folder}{i}" for i in numbers]
        return Scan(Samples.from_columns(columns | {"image": images} | labels), LeftOut())

    def file_of(self, image: str) -> None:
        """Return None: samples are made, and never change."""

    def read(self, image: str) -> ImageInput:
        """Refuse: there is no image.

        Raises:
            UnreadableImageError: always.
        """
        raise UnreadableImageError(image, "planted samples have no pixels, they come as features")

    def features(self, samples: Samples) -> NDArray[np.float32]:
        """Return the features of these samples, (N, dim); apart from them only a block is held in memory.

        Raises:
            UnreadableImageError: if a sample is not of a planted source of this seed.
        """
        numbers = self._numbers(samples)
        lat, lon = samples.lat, samples.lon
        waves = _Waves.drawn(self.seed, self.dim)
        pool = _Pool.of(self.positions) if self.ambiguous else None
        out = np.empty((len(samples), self.dim), np.float32)
        for block, rows in _by_block(numbers):
            within = numbers[rows] % _BLOCK
            signal = waves.signal(lat[rows], lon[rows])
            if pool is not None:
                mixed, far_lat, far_lon = _far_places(self, pool, block, within, lat[rows], lon[rows])
                signal[mixed] = (signal[mixed] + waves.signal(far_lat, far_lon)) * np.float32(0.5**0.5)
            noise = _generator(self.seed, "noise", block).standard_normal((_BLOCK, self.dim), np.float32)
            out[rows] = (signal + np.float32(self.noise) * noise[within]) / np.float32(self.dim**0.5)
        return out

    @property
    def _folder(self) -> str:
        return f"planted/{self.seed}/"

    def _options(self) -> dict[str, object]:
        names = ("seed", "dim", "positions", "noise", "ambiguous")
        return {name: getattr(self, name) for name in names}

    def _numbers(self, samples: Samples) -> Rows:
        start = len(self._folder)
        images = samples.images
        wrong = next((i for i in images if not (i.startswith(self._folder) and i[start:].isdecimal())), None)
        if wrong is not None:
            raise UnreadableImageError(wrong, f"it is not a planted sample of seed {self.seed}")
        return np.fromiter((int(image[start:]) for image in images), np.int64, len(images))


@dataclass(frozen=True, slots=True)
class _Waves:
    """Random Fourier features of every scale.

    Attributes:
        frequency: (S, 3, dim).
        phase: (S, dim).
    """

    frequency: NDArray[np.float32]
    phase: NDArray[np.float32]

    @classmethod
    def drawn(cls, seed: int, dim: int) -> "_Waves":
        random = _generator(seed, "waves")
        per_radian = EARTH_RADIUS_KM / np.array(SCALES_KM)[:, None, None]
        frequency = random.standard_normal((len(SCALES_KM), 3, dim)) * per_radian
        phase = random.uniform(0.0, 2.0 * np.pi, (len(SCALES_KM), dim))
        return cls(frequency.astype(np.float32), phase.astype(np.float32))

    def signal(self, lat: Floats, lon: Floats) -> NDArray[np.float32]:
        """Return the signal at positions, (N, dim), of unit variance in every dimension."""
        xyz = to_unit(lat, lon).astype(np.float32)
        total = np.zeros((len(xyz), self.phase.shape[1]), np.float32)
        for share, frequency, phase in zip(SHARES, self.frequency, self.phase, strict=True):
            angle = xyz @ frequency + phase
            total += np.cos(angle, out=angle) * np.float32((2.0 * share) ** 0.5)
        return total


@dataclass(frozen=True, slots=True)
class _Pool:
    """Positions to draw from.

    Attributes:
        lat, lon: degrees, (P,).
        cumulative: running share of each position, (P,); None where a table is used row by row.
    """

    lat: Floats
    lon: Floats
    cumulative: Floats | None

    @classmethod
    def of(cls, positions: "str | Path | None") -> "_Pool":
        if positions is not None:
            from geoindex.sources.opening import open_source

            table = open_source(positions).scan().samples
            return cls(table.lat, table.lon, None)
        places = named_places()
        total = np.cumsum(np.sqrt(places.population.astype(float)))
        return cls(places.lat, places.lon, total / total[-1])

    def draw(self, random: np.random.Generator, shape: tuple[int, ...]) -> Rows:
        """Return random rows, by their shares if they have any."""
        if self.cumulative is None:
            return random.integers(len(self.lat), size=shape)
        rows = np.searchsorted(self.cumulative, random.random(shape), side="right")
        return np.asarray(np.minimum(rows, len(self.lat) - 1), np.int64)


def _spread(source: PlantedEmbeddings) -> tuple[Floats, Floats, dict[str, list[str]]]:
    """Return positions of all samples and what is known of them."""
    pool = _Pool.of(source.positions)
    blocks = range(-(-source.count // _BLOCK))
    rows = _rows(pool, source)
    draws = [_generator(source.seed, "jitter", block).random((_BLOCK, 2)) for block in blocks]
    turn, share = np.concatenate(draws)[: source.count].T
    reach_km = JITTER_KM * np.sqrt(share)
    if pool.cumulative is None:
        reach_km[: len(pool.lat)] = 0.0
    lat, lon = destination(pool.lat[rows], pool.lon[rows], 360.0 * turn, reach_km)
    return lat, lon, _labels(rows) if source.positions is None else {}


def _rows(pool: _Pool, source: PlantedEmbeddings) -> Rows:
    """Return the pool's row of each sample: a table is gone through in a seeded order, again and again."""
    if pool.cumulative is None:
        order = _generator(source.seed, "order").permutation(len(pool.lat))
        return np.asarray(np.resize(order, source.count), np.int64)
    blocks = range(-(-source.count // _BLOCK))
    drawn = [pool.draw(_generator(source.seed, "place", block), (_BLOCK,)) for block in blocks]
    return np.concatenate(drawn)[: source.count]


def _labels(rows: Rows) -> dict[str, list[str]]:
    places = named_places()
    known = {"country": places.country, "region": places.region, "city": places.city}
    return {name: [values[row] for row in rows.tolist()] for name, values in known.items()}


def _far_places(
    source: PlantedEmbeddings, pool: _Pool, block: int, within: Rows, lat: Floats, lon: Floats
) -> tuple[Rows, Floats, Floats]:
    """Return which samples of a block are ambiguous, and the farthest of a few random places for each."""
    random = _generator(source.seed, "ambiguous", block)
    mixed = np.flatnonzero(random.random(_BLOCK)[within] < source.ambiguous)
    drawn = pool.draw(random, (_BLOCK, _FAR_DRAWS))[within[mixed]]
    distance_km = haversine_km(lat[mixed, None], lon[mixed, None], pool.lat[drawn], pool.lon[drawn])
    far = np.take_along_axis(drawn, distance_km.argmax(axis=1)[:, None], axis=1)[:, 0]
    return mixed, pool.lat[far], pool.lon[far]


def _by_block(numbers: Rows) -> Iterator[tuple[int, Rows]]:
    """Yield each block that holds some of these samples, and their rows."""
    order = np.argsort(numbers, kind="stable")
    blocks, starts = np.unique(numbers[order] // _BLOCK, return_index=True)
    return zip(blocks.tolist(), np.split(order, starts[1:]), strict=False)


def _generator(seed: int, use: str, block: int = 0) -> np.random.Generator:
    return np.random.default_rng([seed, int.from_bytes(use.encode(), "little"), block])


def _require(holds: bool, name: str, value: object, wanted: str) -> None:
    if not holds:
        raise ConfigError(f"Planted embeddings with {name}={value!r} cannot be made; it must be {wanted}.")
