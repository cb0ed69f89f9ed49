"""The gallery of a generation: what a query needs to know of its images, in one or two segments.

The first segment is what a build or rebuild wrote, in the order of clusters; later generations share its files.
The second holds the photos that were added since, likewise ordered. A photo that was removed keeps its place in the
first segment until the index is compacted, and is named among the dead.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoindex.store.checked import CheckedRows
from geoindex.store.checked_table import CheckedTable
from geoindex.store.tombstones import covered

BASE, ADDED, DEAD = "gallery", "added", "dead.npy"
"""Names of the segments' files, without their endings .arrow and .npy, and of the file of dead rows."""

Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Segment:
    """Images in the order of their clusters.

    Attributes:
        facts: columns row (in the images table), id, image, lat, lon, cluster.
        embeddings: (N, D) float16.
        first: first image of each cluster, (M + 1,); the last is N.
    """

    facts: CheckedTable
    embeddings: CheckedRows
    first: Rows

    def __len__(self) -> int:
        return len(self.embeddings)


@dataclass(frozen=True, slots=True, eq=False)
class Gallery:
    """The images of a generation, counted through its segments.

    Attributes:
        segments: one or two.
        dead: images of the first that were removed, ascending.
    """

    segments: tuple[Segment, ...]
    dead: Rows

    def __len__(self) -> int:
        return sum(map(len, self.segments))

    def live(self) -> NDArray[np.bool_]:
        """Tell of each image, (N,), whether it is in answers."""
        live = np.ones(len(self), bool)
        live[self.dead] = False
        return live

    def live_embeddings(self) -> NDArray[np.float16]:
        """Return the embeddings of the live images, (n, D); as they are mapped, where all of one segment are live."""
        if len(self.segments) == 1 and len(self.dead) == 0:
            return self.segments[0].embeddings[:]
        return self.vectors(np.flatnonzero(self.live()))

    def positions(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return latitudes and longitudes of the live images in degrees, each (n,)."""
        live = self.live()
        return self.column("lat")[live], self.column("lon")[live]

    def members(self, *clusters: int) -> Rows:
        """Return the live images of some clusters, cluster by cluster."""
        chosen, parts, start = np.array(clusters, np.int64), [], 0
        for segment in self.segments:
            bounds = start + segment.first[chosen], start + segment.first[chosen + 1]
            parts.append(zip(*(each.tolist() for each in bounds), strict=True))
            start += len(segment)
        members = np.concatenate([np.arange(*run) for runs in zip(*parts, strict=True) for run in runs])
        return np.setdiff1d(members, self.dead, assume_unique=True) if len(self.dead) else members

    def column(self, name: str) -> NDArray[Any]:
        """Return a column of numbers of all images, (N,), the dead among them."""
        return np.concatenate([segment.facts.numbers(name) for segment in self.segments])

    def ids(self) -> list[str]:
        """Return the ids of all images, (N,), the dead among them."""
        return [id for segment in self.segments for id in segment.facts["id"].to_pylist()]

    def vectors(self, images: Rows) -> NDArray[np.float16]:
        """Return the embeddings of some images, (n, D)."""
        if len(self.segments) == 1:
            return self.segments[0].embeddings[images]
        out = np.empty((len(images), self.segments[0].embeddings.shape[1]), np.float16)
        for segment, places, rows in self._by_segment(images):
            out[places] = segment.embeddings[rows]
        return out

    def places(self, images: Rows) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return latitudes and longitudes of some images in degrees, each (n,)."""
        lat, lon = np.empty(len(images)), np.empty(len(images))
        for segment, places, rows in self._by_segment(images):
            lat[places], lon[places] = (segment.facts.numbers(name)[rows] for name in ("lat", "lon"))
        return lat, lon

    def facts(self, images: Rows, names: Sequence[str] | None = None) -> list[dict[str, Any]]:
        """Return the facts of some images, all or those of these names."""
        if len(self.segments) == 1:
            return self.segments[0].facts.rows(images, names)
        out: list[dict[str, Any]] = [{}] * len(images)
        for segment, places, rows in self._by_segment(images):
            for place, fact in zip(places.tolist(), segment.facts.rows(rows, names), strict=True):
                out[place] = fact
        return out

    def find(self, ids: Collection[str]) -> Rows:
        """Return the live images that have one of these ids."""
        if not ids:
            return np.zeros(0, np.int64)
        wanted = sorted(ids)
        found = np.concatenate([covered(segment.facts["id"], wanted) for segment in self.segments])
        return np.flatnonzero(found & self.live())

    def count_without(self, ids: Collection[str]) -> int:
        """Return how many live images are left if those with these ids go."""
        return int(np.sum(self.live())) - len(self.find(ids))

    def _by_segment(self, images: Rows) -> Iterator[tuple[Segment, Rows, Rows]]:
        """Yield each segment with the places of its images among these, and their rows in it."""
        start = 0
        for segment in self.segments:
            places = np.flatnonzero((images >= start) & (images < start + len(segment)))
            yield segment, places, images[places] - start
            start += len(segment)


def firsts(cluster: NDArray[np.int64], count: int) -> Rows:
    """Return where the images of each cluster start, (count + 1,), from the ascending clusters of the images, (N,)."""
    return np.searchsorted(cluster, np.arange(count + 1)).astype(np.int64)
