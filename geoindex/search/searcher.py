"""The files of a generation, opened for queries: search index, geography and gallery, memory-mapped."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoindex.ann import TwoStageIndex
from geoindex.errors import IndexDamagedError
from geoindex.search.posterior import Geography, Ranking, Scales, rank_clusters
from geoindex.store.generations import Generation
from geoindex.store.manifest import check_parts
from geoindex.store.sidecar import Sidecar, read_arrow

EVIDENCE_CLUSTERS = 8
"""Best clusters whose images are looked at for evidence."""


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
        ann: geo-embeddings of cells and clusters.
        sidecar: facts of cells, clusters and images.
        geography: positions and counts as arrays.
        scales: how scores become probabilities.
    """

    ann: TwoStageIndex
    sidecar: Sidecar
    geography: Geography
    scales: Scales

    @classmethod
    def open(cls, generation: Generation) -> "Searcher":
        """Open the files of a generation.

        Raises:
            IndexDamagedError: if a file is missing, has another size, or does not fit the others.
        """
        check_parts(generation.manifest, generation.folder)
        ann = TwoStageIndex.load(generation.file("index.faiss"))
        sidecar = open_sidecar(generation)
        posterior = generation.manifest.posterior
        scales = Scales(posterior["cell_scale"], posterior["cluster_scale"], posterior["prior"])
        searcher = cls(ann, sidecar, geography_of(sidecar), scales)
        searcher._check_counts(generation)
        return searcher

    def _check_counts(self, generation: Generation) -> None:
        counts = generation.manifest.counts
        found = (self.ann.n_cells, self.ann.n_clusters, len(self.sidecar.embeddings))
        wanted = (counts["cells"], counts["clusters"], counts["gallery"])
        if found != wanted or self.ann.dim != generation.manifest.dim:
            raise IndexDamagedError(
                f"The files in '{generation.folder}' hold {found} cells, clusters and images, "
                f"the manifest says {wanted}; run 'geoindex repair' to make them again."
            )

    def rank(self, queries: NDArray[np.float32], top_cells: int) -> list[Ranking]:
        """Rank the clusters of the best cells for each query, (Q, D) unit vectors."""
        return rank_clusters(self.ann, self.geography, self.scales, queries, top_cells)

    def neighbours(self, ranking: Ranking, query: NDArray[np.float32], count: int) -> list[Neighbour]:
        """Return the gallery images most similar to the query inside its best clusters."""
        if count < 1:
            return []
        parts = [self.sidecar.images_of(int(m)) for m in ranking.clusters[:EVIDENCE_CLUSTERS]]
        rows = np.concatenate([np.arange(part.start, part.stop) for part in parts])
        vectors = np.concatenate([self.sidecar.embeddings[part] for part in parts]).astype(np.float32)
        similarity = vectors @ query
        order = np.argsort(-similarity, kind="stable")[:count]
        return [Neighbour(int(rows[i]), float(similarity[i])) for i in order]


def open_sidecar(generation: Generation) -> Sidecar:
    """Memory-map the sidecar of a generation.

    Raises:
        IndexDamagedError: if a file is missing, has another size, or is not of its kind.
    """
    cells, clusters, gallery, embeddings = (
        generation.file(name) for name in ("cells.arrow", "clusters.arrow", "gallery.arrow", "gallery.npy")
    )
    try:
        return Sidecar(
            read_arrow(cells), read_arrow(clusters), read_arrow(gallery), np.load(embeddings, mmap_mode="r")
        )  # fmt: skip
    except (OSError, ValueError) as error:  # Arrow's errors are both
        raise IndexDamagedError(
            f"The files in '{generation.folder}' cannot be read ({str(error).splitlines()[0].rstrip('.')}); "
            "run 'geoindex repair' to make them again."
        ) from error


def geography_of(sidecar: Sidecar) -> Geography:
    """Return where the cells and clusters of a sidecar lie."""
    cells, clusters = sidecar.cells, sidecar.clusters

    def column(table: Any, name: str) -> NDArray[Any]:
        values: NDArray[Any] = table[name].to_numpy()
        return values

    return Geography(
        column(cells, "lat"), column(cells, "lon"), column(cells, "n_images"),
        column(clusters, "lat"), column(clusters, "lon"), column(clusters, "n_images"),
        column(clusters, "cell").astype(np.int64),
    )  # fmt: skip
