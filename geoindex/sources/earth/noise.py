"""Smooth random fields over the sphere, and textures that repeat without a seam.

A field is a sum of plane waves evaluated at unit vectors (random Fourier features of a Gaussian covariance), so it
has neither a seam at the antimeridian nor a knot at the poles. Values are about standard normal.
"""

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from geoindex.geo import EARTH_RADIUS_KM, to_unit

WORLD_SEED = 20_011
"""There is one synthetic Earth: the seed of a source chooses photographs, not worlds."""

FIELD_KM = {
    "warmth": 2200.0,
    "rain": 1600.0,
    "swing": 3000.0,
    "relief": 900.0,
    "sky_hue": 2600.0,
    "sky_depth": 2000.0,
    "haze": 1800.0,
    "light": 2600.0,
    "green_hue": 1500.0,
    "green_depth": 1100.0,
    "soil_red": 1500.0,
    "soil_dark": 1100.0,
    "density": 1000.0,
    "wall_hue": 1000.0,
    "wall_depth": 1300.0,
    "wall_value": 1100.0,
    "roof": 1000.0,
    "asphalt": 1200.0,
    "wealth": 2500.0,
    "storeys": 1400.0,
}
"""Length scale of each field in km: two places this far apart still correlate by 0.6."""

_WAVES = 24


def sphere_fields(lat: float, lon: float) -> dict[str, float]:
    """Return the value of every field at one position."""
    frequency, phase = _waves()
    waves = np.cos(frequency @ to_unit(lat, lon) + phase).reshape(-1, _WAVES)
    values = waves.sum(axis=1) * math.sqrt(2.0 / _WAVES)
    return dict(zip(FIELD_KM, values.tolist(), strict=True))


def field_at(name: str, xyz: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the value of one field at unit vectors (N, 3), (N,)."""
    first = list(FIELD_KM).index(name) * _WAVES
    frequency, phase = (part[first : first + _WAVES] for part in _waves())
    values: NDArray[np.float64] = np.cos(xyz @ frequency.T + phase).sum(axis=1) * math.sqrt(2.0 / _WAVES)
    return values


@lru_cache(maxsize=1)
def _waves() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    rng = np.random.default_rng([WORLD_SEED, 1])
    scale = np.repeat(EARTH_RADIUS_KM / np.array(list(FIELD_KM.values())), _WAVES)
    frequency = rng.standard_normal((len(scale), 3)) * scale[:, None]
    return frequency, rng.uniform(0.0, 2.0 * math.pi, len(scale))


@lru_cache(maxsize=8)
def tile(kind: int, slope: float, side: int = 512) -> NDArray[np.float32]:
    """Return a (side, side) texture, periodic in both axes, standard normal, whose spectrum falls by `slope`."""
    rng = np.random.default_rng([WORLD_SEED, 2, kind])
    fy, fx = np.meshgrid(np.fft.fftfreq(side), np.fft.rfftfreq(side), indexing="ij")
    radius = np.hypot(fy, fx)
    radius[0, 0] = np.inf
    white = rng.standard_normal((side, side // 2 + 1)) + 1j * rng.standard_normal((side, side // 2 + 1))
    texture = np.fft.irfft2(white * radius**-slope, s=(side, side))
    return _standard(texture)


@lru_cache(maxsize=4)
def ridge(kind: int, slope: float, length: int = 2048) -> NDArray[np.float32]:
    """Return a periodic profile (length,), standard normal, whose spectrum falls by `slope`."""
    rng = np.random.default_rng([WORLD_SEED, 3, kind])
    frequency = np.fft.rfftfreq(length)
    frequency[0] = np.inf
    white = rng.standard_normal(len(frequency)) + 1j * rng.standard_normal(len(frequency))
    white[:4] = 0.0
    profile = np.fft.irfft(white * frequency**-slope, n=length)
    return _standard(profile)


def _standard(values: NDArray[np.float64]) -> NDArray[np.float32]:
    standard = np.asarray((values - values.mean()) / values.std(), np.float32)
    standard.setflags(write=False)
    return standard
