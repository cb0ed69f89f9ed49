"""Is a generation what it says? Reload its files and ask them questions whose answers are known."""

from typing import Any

import numpy as np

from geoindex.errors import IndexDamagedError
from geoindex.search.searcher import Searcher
from geoindex.store.generations import Generation
from geoindex.store.manifest import FileRecord

CANARIES = 8
"""Gallery images whose best cluster is recorded, spread over the gallery."""


def record_canaries(searcher: Searcher, top_cells: int) -> list[dict[str, Any]]:
    """Return gallery rows with the cluster that each finds first."""
    count = len(searcher.sidecar.embeddings)
    rows = np.unique(np.linspace(0, count - 1, min(CANARIES, count)).astype(np.int64))
    queries = searcher.sidecar.embeddings[rows].astype(np.float32)
    rankings = searcher.rank(queries, top_cells)
    return [{"row": int(row), "cluster": int(r.clusters[0])} for row, r in zip(rows, rankings, strict=True)]


def verify_generation(generation: Generation) -> None:
    """Check the files of a generation: checksums, counts, canary queries, two stages against brute force.

    Raises:
        IndexDamagedError: at the first thing that is not as written.
    """
    for name, record in generation.manifest.files.items():
        if FileRecord.of(generation.file(name)) != record:
            raise _damaged(generation, f"'{name}' does not have the checksum of the manifest")
    searcher = Searcher.open(generation)
    top_cells = int(generation.manifest.recipe["search"]["top_cells"])
    if record_canaries(searcher, top_cells) != generation.manifest.canaries:
        raise _damaged(generation, "canary queries find other clusters than when it was built")
    _compare_with_brute_force(generation, searcher, top_cells)


def _compare_with_brute_force(generation: Generation, searcher: Searcher, top_cells: int) -> None:
    rows = [canary["row"] for canary in generation.manifest.canaries]
    queries = searcher.sidecar.embeddings[rows].astype(np.float32)
    hits = searcher.ann.search(queries, top_cells)
    for cells, clusters in zip(hits.cells, hits.clusters, strict=True):
        wanted = np.flatnonzero(np.isin(searcher.geography.cell, cells))
        if not np.array_equal(np.sort(clusters[clusters >= 0]), wanted):
            raise _damaged(generation, "the lists of the search index are not the cells")


def _damaged(generation: Generation, fault: str) -> IndexDamagedError:
    return IndexDamagedError(
        f"Generation '{generation.folder}' is damaged: {fault}; run 'geoindex rebuild' to make it again."
    )
