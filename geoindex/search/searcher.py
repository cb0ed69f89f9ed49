"""The files of a generation, opened for queries: search index, geography and gallery, memory-mapped."""

import threading
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from geoindex.ann import TwoStageIndex, half_products
from geoindex.calibration import Calibration
from geoindex.encoder.device import Vectors
from geoindex.errors import ConfigError, EmptyDatasetError, IndexDamagedError
from geoindex.estimate import Posterior
from geoindex.search.device_ranker import DeviceRanker
from geoindex.search.imagery import ImageLevel, with_images
from geoindex.search.posterior import Breadth, Geography, Ranker, Ranking, Scales
from geoindex.search.region import Region
from geoindex.store.generations import Generation
from geoindex.store.manifest import check_parts
from geoindex.store.sidecar import Sidecar, open_sidecar
from geoindex.store.tombstones import Tombstones

EVIDENCE_CLUSTERS = 8
"""Best clusters whose images are looked at for evidence."""

REGIONS = 8
"""Regions whose rankers are kept: one takes 4 bytes a cluster, and the geo-embeddings of its cells as bytes."""

_COPYING = threading.Lock()
"""Held while geo-embeddings are copied to a GPU: once is enough."""


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A gallery image near a query.

    Attributes:
        row: in the gallery.
        similarity: cosine with the query.
    """

    row: int
    similarity: float


@dataclass(frozen=True, slots=True)
class Searcher:
    """Answers queries from the files of one generation.

    Attributes:
        sidecar: facts of cells, clusters and images.
        ranker: geo-embeddings of cells and clusters, where they lie, and how scores become probabilities.
        calibration: how sure its answers are; None if never calibrated.
        images: how much the stored images count; None if they do not.
        inside: rankers that answer inside a region, the last ones that were asked for.
        devices: rankers that compute on a GPU, by device.
    """

    sidecar: Sidecar
    ranker: Ranker
    calibration: Calibration | None = None
    images: ImageLevel | None = None
    inside: dict[Region, Ranker] = field(default_factory=dict, compare=False, repr=False)
    devices: dict[str, DeviceRanker] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def open(cls, generation: Generation) -> "Searcher":
        """Open the files of a generation.

        Raises:
            IndexDamagedError: if a file is missing, has another size, or does not fit the others.
        """
        check_parts(generation.manifest, generation.folder)
        ann = TwoStageIndex.load(generation.checked("index.faiss"))
        sidecar = open_sidecar(generation)
        posterior = generation.manifest.posterior
        scales = Scales(posterior["cell_scale"], posterior["cluster_scale"], posterior["prior"])
        counted = posterior.get("images")
        learned = generation.manifest.calibration
        calibration = None if learned is None else Calibration.from_dict(learned)
        level = None if counted is None else ImageLevel(counted["weight"], counted["scale"])
        searcher = cls(sidecar, Ranker.of(ann, geography_of(sidecar), scales), calibration, level)
        searcher._check_counts(generation)
        return searcher

    def _check_counts(self, generation: Generation) -> None:
        counts = generation.manifest.counts
        live = len(self.sidecar.gallery) - len(self.sidecar.gallery.dead)
        found = (self.ann.n_cells, self.ann.n_clusters, live)
        wanted = (counts["cells"], counts["clusters"], counts["gallery"])
        if found != wanted or self.ann.dim != generation.manifest.dim:
            raise IndexDamagedError(
                f"The files in '{generation.folder}' hold {found} cells, clusters and images, "
                f"the manifest says {wanted}; run 'geoindex repair' to make them again."
            )

    def without(self, removed: Tombstones) -> "Searcher":
        """Return it without photos that were removed since its files were made; they are in no answer of it.

        What no photo is left of is answered no more; centroids stay until the next generation.
        """
        gallery = self.sidecar.gallery
        gone = gallery.find(removed.ids)
        if len(gone) == 0:
            return self
        sidecar = replace(self.sidecar, gallery=replace(gallery, dead=np.union1d(gallery.dead, gone)))
        cluster = gallery.column("cluster")[gone]
        images = self.geography.images - np.bincount(cluster, minlength=len(self.geography.images))
        cell_images = np.bincount(self.geography.cell, weights=images, minlength=self.ann.n_cells).astype(np.int64)
        geography = replace(self.geography, images=images, cell_images=cell_images)
        ranker = Ranker.of(self.ann, geography, self.ranker.scales)
        devices = {name: there.weighing(ranker) for name, there in list(self.devices.items())}
        return replace(self, sidecar=sidecar, ranker=ranker, inside={}, devices=devices)

    def _check_photos(self) -> None:
        gallery = self.sidecar.gallery
        if len(gallery) == len(gallery.dead):
            raise EmptyDatasetError(
                "All photos of this generation of the index were removed; open the index again, or call reload(), "
                "for the photos that it has now."
            )

    @property
    def ann(self) -> TwoStageIndex:
        """Geo-embeddings of cells and clusters."""
        return self.ranker.ann

    @property
    def geography(self) -> Geography:
        """Positions and counts of cells and clusters."""
        return self.ranker.geography

    def rank(self, queries: NDArray[np.float32], breadth: Breadth, region: Region | None = None) -> list[Ranking]:
        """Rank the clusters of the best cells, inside a region if one is given, for each query, (Q, D) unit vectors.

        Raises:
            ConfigError: if nothing of the index lies inside.
            EmptyDatasetError: if all photos were removed since.
        """
        self._check_photos()
        return (self.ranker if region is None else self._within(region)).rank(queries, breadth)

    def rank_on(self, device: str, queries: Vectors, breadth: Breadth) -> list[Ranking]:
        """Rank as `rank` does, on a GPU, where the geo-embeddings are copied to at the first call.

        Raises:
            IndexDamagedError: if they are not what was written.
            EmptyDatasetError: if all photos were removed since.
        """
        self._check_photos()
        if device not in self.devices:
            with _COPYING:
                if device not in self.devices:
                    self.devices[device] = DeviceRanker.on(device, self.ranker)
        return self.devices[device].rank(queries, breadth)

    def posterior(self, ranking: Ranking, query: NDArray[np.float32]) -> Posterior:
        """Return where a query, (D,), may have been taken, all levels together."""
        return with_images(ranking, self.sidecar.gallery, query, self.images)

    def _within(self, region: Region) -> Ranker:
        ranker = self.inside.get(region)
        if ranker is None:
            inside = region.holds(self.geography, self.sidecar.clusters) & (self.geography.images > 0)
            if not inside.any():
                raise ConfigError(f"No photo of the index lies in within={region}; take a larger region.")
            ranker = Ranker.of(self.ann, self.geography, self.ranker.scales, inside)
            if len(self.inside) >= REGIONS:
                self.inside.clear()
            self.inside[region] = ranker
        return ranker

    def neighbours(self, ranking: Ranking, query: NDArray[np.float32], count: int) -> list[Neighbour]:
        """Return the gallery images most similar to the query inside its best clusters."""
        if count < 1:
            return []
        gallery = self.sidecar.gallery
        rows = gallery.members(*ranking.clusters[:EVIDENCE_CLUSTERS].tolist())
        similarity = half_products(gallery.vectors(rows), query)
        order = np.argsort(-similarity, kind="stable")[:count]
        return list(map(Neighbour, rows[order].tolist(), similarity[order].tolist()))


def geography_of(sidecar: Sidecar) -> Geography:
    """Return where the cells and clusters of a sidecar lie."""
    cells, clusters = sidecar.cells.numbers, sidecar.clusters.numbers
    return Geography(
        cells("lat"), cells("lon"), cells("n_images"), clusters("lat"), clusters("lon"), clusters("n_images"),
        sidecar.cell_of_cluster,
    )  # fmt: skip
