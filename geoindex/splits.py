"""Turns samples into train, val and test rows: by ratio, by label or by geographic block, deterministic.

`train` is the gallery. Splits by label or block keep whole groups together, so that no author, sequence or
place stands on both sides.
"""

import hashlib
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from geoindex.errors import ConfigError
from geoindex.geo import HALF_CIRCUMFERENCE_KM
from geoindex.types import LABELS, Samples

SPLITS = ("train", "val", "test")
"""Names of the three parts, in the order of a ratio."""

_RULES = ("ratio", "none", "block")


def split_samples(
    samples: Samples, *, by: str, ratio: tuple[float, float, float], block_km: float, seed: int
) -> NDArray[np.str_]:
    """Say for each sample whether it is train, val or test, (N,).

    The order of the rows never matters. Rules:

    * `ratio`: by a 64-bit hash of seed and id, so that new samples never move old ones (shares are met on
      average, and a small set may have an empty part);
    * `none`: all train;
    * `block`: whole tiles of about `block_km` x `block_km`;
    * a label out of `geoindex.types.LABELS`: all samples of one value together, and each sample without the
      label for itself.

    Groups are dealt one by one to the part that lacks most samples: first those larger than the smallest
    share, the largest first, then the others in the order of their hash. With at least as many groups as
    non-zero shares, each of these gets a group.

    Args:
        samples: what to split.
        by: ratio, none, block, or a label.
        ratio: shares of train, val and test; they sum to 1.
        block_km: side of a block in km.
        seed: another seed gives another split.

    Raises:
        ConfigError: if `by`, `ratio` or `block_km` is not valid, or no sample has the label.
    """
    _check(by, ratio, block_km)
    if by == "none" or len(samples) == 0:
        part = np.zeros(len(samples), np.int64)
    elif by == "ratio":
        part = _parts_by_hash(samples.ids, ratio, seed)
    else:
        group, names = _blocks(samples, block_km) if by == "block" else _label_groups(samples, by)
        part = _deal(np.bincount(group, minlength=len(names)), names, ratio, seed)[group]
    return np.asarray(SPLITS, np.str_)[part]


def tile_of(lat: ArrayLike, lon: ArrayLike, side_km: float) -> NDArray[np.int64]:
    """Return the number of the tile of about `side_km` x `side_km` that holds each position, (N,).

    Tiles lie in rows of equal height; each row has as many as fit its length, so that tiles have nearly
    equal areas, and a row closes at the antimeridian.
    """
    lat, lon = np.asarray(lat, float), np.asarray(lon, float)
    rows = max(1, round(HALF_CIRCUMFERENCE_KM / side_km))
    row = np.clip(np.floor((lat + 90.0) / 180.0 * rows), 0, rows - 1)
    length_km = 2.0 * HALF_CIRCUMFERENCE_KM * np.cos(np.radians((row + 0.5) * 180.0 / rows - 90.0))
    columns = np.maximum(1, np.round(length_km / side_km))
    column = np.floor((lon + 180.0) / 360.0 * columns) % columns
    return np.asarray(row.astype(np.int64) * 2**32 + column.astype(np.int64))


def _check(by: str, ratio: Sequence[float], block_km: float) -> None:
    if by not in _RULES and by not in LABELS:
        choices = ", ".join(_RULES + LABELS)
        raise ConfigError(f"Cannot split by {by!r}; choose one of {choices}.")
    if len(ratio) != len(SPLITS) or min(ratio) < 0 or abs(sum(ratio) - 1.0) > 1e-6:
        raise ConfigError(
            f"Split ratio {tuple(ratio)} must be three shares, none negative, that sum to 1, such as 0.8 0.1 0.1."
        )
    if not (math.isfinite(block_km) and block_km > 0):
        raise ConfigError(f"Block size {block_km} km must be positive, such as 100.")


def _hash(seed: int, name: str) -> int:
    digest = hashlib.blake2b(f"{seed}:{name}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big")


def _parts_by_hash(ids: Sequence[str], ratio: Sequence[float], seed: int) -> NDArray[np.int64]:
    # 53 bits, so that the quotient stays below 1
    uniform = np.fromiter(((_hash(seed, i) >> 11) * 2.0**-53 for i in ids), float, len(ids))
    edges = np.cumsum(ratio)
    edges[max(k for k, share in enumerate(ratio) if share > 0) :] = np.inf
    return np.asarray(np.searchsorted(edges, uniform, side="right"), np.int64)


def _blocks(samples: Samples, block_km: float) -> tuple[NDArray[np.int64], list[str]]:
    tiles, group = np.unique(tile_of(samples.lat, samples.lon, block_km), return_inverse=True)
    return np.asarray(group, np.int64), [str(tile) for tile in tiles]


def _label_groups(samples: Samples, label: str) -> tuple[NDArray[np.int64], list[str]]:
    import pyarrow.compute as pc

    values = samples.table[label]
    if values.null_count == len(values):
        known = [name for name in LABELS if samples.table[name].null_count < len(samples)]
        choices = ", ".join([*_RULES, *known])
        raise ConfigError(f"Cannot split by {label!r}: no sample has it; choose one of {choices}.")
    # the prefixes keep an id apart from an equal label
    alone = pc.binary_join_element_wise("id", samples.table["id"], ":")
    named = pc.if_else(pc.is_null(values), alone, pc.binary_join_element_wise("label", pc.fill_null(values, ""), ":"))
    encoded = named.combine_chunks().dictionary_encode()
    return encoded.indices.to_numpy().astype(np.int64), encoded.dictionary.to_pylist()


def _deal(sizes: NDArray[np.int64], names: Sequence[str], ratio: Sequence[float], seed: int) -> NDArray[np.int64]:
    """Return the part of each group, (G,)."""
    open_parts = [k for k, share in enumerate(ratio) if share > 0]
    lacking = [float(share * sizes.sum()) for share in ratio]
    empty = set(open_parts)
    scarce = len(sizes) < len(open_parts)
    part = np.zeros(len(sizes), np.int64)
    for dealt, group in enumerate(_dealing_order(sizes, names, min(lacking[k] for k in open_parts), seed)):
        must_fill = empty if len(sizes) - dealt <= len(empty) else open_parts
        chosen = min(must_fill) if scarce else max(must_fill, key=lambda k: (lacking[k], -k))
        part[group] = chosen
        lacking[chosen] -= float(sizes[group])
        empty.discard(chosen)
    return part


def _dealing_order(sizes: NDArray[np.int64], names: Sequence[str], smallest_share: float, seed: int) -> list[int]:
    def key(group: int) -> tuple[int, int, str]:
        size = int(sizes[group])
        return -size if size > smallest_share else 0, _hash(seed, names[group]), names[group]

    return sorted(range(len(sizes)), key=key)
