"""The images of an index as one version of their table holds them."""

import hashlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from geoindex.errors import IndexDamagedError
from geoindex.store.durable import FileRecord
from geoindex.store.generations import IndexFolder
from geoindex.store.schemas import vectors_from_arrow
from geoindex.store.tables import LanceTables
from geoindex.store.tombstones import Tombstones
from geoindex.types import LABELS

if TYPE_CHECKING:
    import pyarrow as pa

FACTS = ["row", "id", "image", "split", "lat", "lon"]

DATA = ("data", "_deletions")
"""Folders of a Lance table whose files hold rows, or say which are deleted."""


@dataclass(frozen=True, slots=True)
class StoredImages:
    """The images table without its features.

    Attributes:
        tables: where it lies.
        version: of the table.
        facts: columns row, id, image, split, lat, lon; ordered by row, which counts from 0.
        removed: of each row, (N,), whether its photo was removed; no split holds such a row.
    """

    tables: LanceTables
    version: int
    facts: "pa.Table"
    removed: NDArray[np.bool_]

    @classmethod
    def read(cls, tables: LanceTables, version: int, tombstones: Tombstones) -> "StoredImages":
        """Read all but the features."""
        facts = tables.read("images", version, FACTS)
        return cls(tables, version, facts, tombstones.cover(facts["id"]))

    @property
    def lat(self) -> NDArray[np.float64]:
        """Latitudes in degrees, (N,)."""
        lat: NDArray[np.float64] = self.facts["lat"].to_numpy()
        return lat

    @property
    def lon(self) -> NDArray[np.float64]:
        """Longitudes in degrees, (N,)."""
        lon: NDArray[np.float64] = self.facts["lon"].to_numpy()
        return lon

    def identity(self) -> str:
        """Return a hash of all that the table holds; see `table_identity`."""
        return table_identity(self.tables, self.version)

    def rows(self, split: str) -> NDArray[np.int64]:
        """Return the rows of one split."""
        import pyarrow.compute as pc

        return np.flatnonzero(pc.equal(self.facts["split"], split).to_numpy() & ~self.removed)

    def label(self, name: str) -> list[str | None]:
        """Read one label of every image, by row; None where the source did not know it.

        A table that is older than the label has no such column, and knows it of no image.
        """
        if name in LABELS and name not in self.tables.columns("images", self.version):
            return [None] * len(self.facts)
        values: list[str | None] = self.tables.read("images", self.version, ["row", name])[name].to_pylist()
        return values

    def features(self, split: str) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float16]]]:
        """Stream rows and features of one split, in no particular order."""
        for batch in self.tables.scan("images", self.version, ["row", "features"], f"split = '{split}'"):
            rows, features = batch["row"].to_numpy(), vectors_from_arrow(batch["features"])
            kept = ~self.removed[rows]
            yield rows[kept], features[kept]

    def sampled_features(
        self, split: str, count: int, dim: int, seed: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float16]]:
        """Return rows, ascending, and features, (n, dim), of one split, or of a seeded sample of `count` of it."""
        rows = self.rows(split)
        if len(rows) > count:
            rows = np.sort(np.random.default_rng(seed).choice(rows, count, replace=False))
        chosen = np.zeros((len(rows), dim), np.float16)
        for found, features in self.features(split):
            wanted = np.isin(found, rows)
            chosen[np.searchsorted(rows, found[wanted])] = features[wanted]
        return rows, chosen


def stored_images(index: IndexFolder, version: int) -> StoredImages:
    """Read the images of one version that were not removed since.

    Raises:
        IndexDamagedError: if the table, or the list of removed photos, is not what was written.
    """
    return StoredImages.read(index.tables, version, index.tombstones())


def table_identity(tables: LanceTables, version: int) -> str:
    """Return a hash of a version of the images table, which is the same when the same rows are written again.

    It is that of its files as they were written; only where nobody wrote down their checksums are they read.
    """
    records = dict[str, FileRecord]()
    with suppress(IndexDamagedError):
        records = tables.checksums.of("images", version)
    if not records or not all(record.sha256 for record in records.values()):
        paths = [path for part in DATA for path in (tables.folder / "images.lance" / part).glob("*")]
        records = {path.relative_to(tables.folder).as_posix(): FileRecord.of(path) for path in paths}
    # without the names, which are random
    found = sorted(record.sha256 for name, record in records.items() if name.split("/")[1] in DATA)
    return hashlib.sha256("\n".join(found).encode()).hexdigest()
