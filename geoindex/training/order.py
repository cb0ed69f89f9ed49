"""Which images an epoch sees, and in what order: a function of seed and epoch alone, so that a fit can be resumed."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from geoindex.errors import ConfigError
from geoindex.training.batches import place_batches
from geoindex.training.classes import Rows, Truth

AREA_DEG = 1.0
"""Height of the bands and width at the equator of the tiles that `area` draws alike."""


def epoch_order(
    truth: Truth, share: NDArray[np.float64] | None, places: int, images: int, seed: int, epoch: int
) -> list[Rows]:
    """Return the batches of an epoch, as rows of the gallery.

    Args:
        truth: of the gallery.
        share: probability of each image, (N,); None for each image once.
        places: groups of a batch.
        images: images of a group, of one cluster.
        seed: of the order.
        epoch: another order each.
    """
    if share is None:
        return list(place_batches(truth.cluster, places, images, seed, epoch))
    rows = np.random.default_rng([seed, epoch, 1]).choice(len(truth), len(truth), p=share)
    return [rows[batch] for batch in place_batches(truth.cluster[rows], places, images, seed, epoch)]


def draw_shares(balance: str, truth: Truth, countries: Sequence[str | None]) -> NDArray[np.float64] | None:
    """Return the probability of each image with which cells, countries or areas count alike, (N,); None for uniform.

    Raises:
        ConfigError: if countries are to count alike and no image has one.
    """
    if balance == "none":
        return None
    group = truth.cell if balance == "cell" else _tiles(truth) if balance == "area" else _codes(countries)
    _, inverse, counts = np.unique(group, return_inverse=True, return_counts=True)
    share: NDArray[np.float64] = 1.0 / counts[inverse] / len(counts)
    return share


def places_of(truth: Truth, sequences: Sequence[str | None]) -> Rows:
    """Return the number of the place of each image: its sequence, or else its position to about 10 m, (N,)."""
    rounded = np.char.add(np.round(truth.lat, 4).astype(np.str_), np.round(truth.lon, 4).astype(np.str_))
    known = np.array([sequence or "" for sequence in sequences], np.str_)
    places: Rows = np.unique(np.where(known == "", rounded, known), return_inverse=True)[1].astype(np.int64)
    return places


def _tiles(truth: Truth) -> Rows:
    band = np.floor(truth.lat / AREA_DEG).astype(np.int64)
    width = AREA_DEG / np.cos(np.radians(np.clip((band + 0.5) * AREA_DEG, -89.5, 89.5)))
    tiles: Rows = band * 100_000 + np.floor(truth.lon / width).astype(np.int64)
    return tiles


def _codes(countries: Sequence[str | None]) -> Rows:
    if not any(countries):
        raise ConfigError("No image names its country; take finetuning.balance cell or area.")
    return np.unique([country or "" for country in countries], return_inverse=True)[1].astype(np.int64)
