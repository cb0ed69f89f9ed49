"""The photos of another source with positions dealt anew: whatever is learned from them is chance."""

import numpy as np
from numpy.typing import NDArray

from geoindex.sources.source import LeftOut, Scan, Source
from geoindex.types import Samples


class ShuffledSource:
    """Samples with positions and labels of other photos of their split, so that the splits stay as they are."""

    def __init__(self, source: Source, samples: Samples, split: NDArray[np.str_], seed: int) -> None:
        """Take a source, the samples that are used of it, the split of each, (N,), and a seed."""
        self.uri, self.file_of, self.read = f"shuffled:{source.uri}", source.file_of, source.read
        self._samples = _dealt(samples, split, np.random.default_rng(seed))

    def scan(self) -> Scan:
        """Return the samples."""
        return Scan(self._samples, LeftOut())


def _dealt(samples: Samples, split: NDArray[np.str_], random: np.random.Generator) -> Samples:
    rows = np.arange(len(samples))
    for part in np.unique(split):
        inside = np.flatnonzero(split == part)
        rows[inside] = random.permutation(inside)
    table = samples.table.take(rows)
    for name in ("id", "image"):
        table = table.set_column(table.schema.get_field_index(name), name, samples.table[name])
    return Samples(table)
