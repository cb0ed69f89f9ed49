"""Is a generation what it says? Reload its files and ask them questions whose answers are known."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoindex.ann import NO_CLUSTER, top_columns
from geoindex.encoder.projection import Projection
from geoindex.errors import GeoindexError, IndexDamagedError
from geoindex.recipe import EncoderRecipe
from geoindex.search.posterior import Breadth
from geoindex.search.searcher import Searcher
from geoindex.store.generations import Generation, IndexFolder
from geoindex.store.schemas import vectors_from_arrow
from geoindex.store.tables import LanceTables

TOLERANCE = 2e-3
"""Largest difference of a component or a cosine; gallery embeddings are float16."""

CANARIES = 8
"""Gallery images whose best cluster is recorded, spread over the gallery."""


def record_canaries(searcher: Searcher, top_cells: int) -> list[dict[str, Any]]:
    """Return gallery rows with the cluster that each finds first."""
    live = np.flatnonzero(searcher.sidecar.gallery.live())
    rows = live[np.unique(np.linspace(0, len(live) - 1, min(CANARIES, len(live))).astype(np.int64))]
    queries = searcher.sidecar.gallery.vectors(rows).astype(np.float32)
    rankings = searcher.rank(queries, Breadth(top_cells))
    return [{"row": int(row), "cluster": int(r.clusters[0])} for row, r in zip(rows, rankings, strict=True)]


def verify_generation(tables: LanceTables, generation: Generation) -> None:
    """Check the files of a generation against their checksums, their canaries, and the tables they were made from.

    Raises:
        IndexDamagedError: at the first thing that is not as written.
    """
    generation.check()
    verify_answers(tables, generation)


def verify_encoder(index: IndexFolder, generation: Generation) -> None:
    """Load the encoder that an index keeps, if it does: its fingerprint stands for a checksum.

    Raises:
        IndexDamagedError: if it is not what was written.
    """
    entry = generation.manifest.encoder
    if not entry["kept"]:
        return
    from geoindex.encoder import load_encoder

    try:
        load_encoder(str(index.encoder_folder(entry["fingerprint"])), EncoderRecipe(device="cpu"))
    except GeoindexError as error:
        raise IndexDamagedError(str(error)) from error


def verify_answers(tables: LanceTables, generation: Generation) -> None:
    """Compare what a generation answers with its canaries and with the tables that it was made from.

    Raises:
        IndexDamagedError: at the first thing that is not as written.
    """
    searcher = Searcher.open(generation)
    top_cells = int(generation.manifest.recipe["search"]["top_cells"])
    if record_canaries(searcher, top_cells) != generation.manifest.canaries:
        raise _damaged(generation, "canary queries find other clusters than when it was built")
    _compare_gallery(tables, generation, searcher)
    _compare_search(tables, generation, searcher, top_cells)


def _compare_gallery(tables: LanceTables, generation: Generation, searcher: Searcher) -> None:
    """Project stored features of the canaries again."""
    gallery = searcher.sidecar.gallery
    places = np.array([canary["row"] for canary in generation.manifest.canaries], np.int64)
    rows = np.array([fact["row"] for fact in gallery.facts(places)])
    where = f"row IN ({', '.join(map(str, rows))})"
    stored = tables.read("images", generation.manifest.tables["images"], ["row", "features"], where)
    if not np.array_equal(stored["row"].to_numpy(), np.sort(rows)):
        raise _damaged(generation, "the images table lacks images of the gallery")
    features = vectors_from_arrow(stored["features"].combine_chunks())[np.argsort(np.argsort(rows))]
    projection = Projection.load(generation.whole("projection.safetensors"))
    embeddings = projection.apply(features.astype(np.float32))
    if not _alike(embeddings, gallery.vectors(places)):
        raise _damaged(generation, "embeddings of the gallery are not those of the stored features")


def _compare_search(tables: LanceTables, generation: Generation, searcher: Searcher, top_cells: int) -> None:
    """Compare both stages of the search index with the stored geo-embeddings that they were made from."""
    cells, ann = _geo_embeddings(tables, generation, "cells"), searcher.ann
    if not _alike(ann.cells.vectors, cells):
        raise _damaged(generation, "the first stage of the search index does not hold the stored geo-embeddings")
    places = np.array([canary["row"] for canary in generation.manifest.canaries], np.int64)
    queries = searcher.sidecar.gallery.vectors(places).astype(np.float32)
    probed = top_columns(queries @ cells.T, min(top_cells, len(cells)))
    for query, own, found, scores in zip(queries, probed, *ann.clusters_in(queries, probed), strict=True):
        listed = np.flatnonzero(found.ravel() != NO_CLUSTER)
        order = listed[np.argsort(found.ravel()[listed])]
        if not np.array_equal(found.ravel()[order], np.flatnonzero(np.isin(searcher.geography.cell, own))):
            raise _damaged(generation, "the lists of the search index are not the cells")
        where = f"cell IN ({', '.join(map(str, own))})"
        if not _alike(scores.ravel()[order], _geo_embeddings(tables, generation, "clusters", where) @ query):
            raise _damaged(generation, "the search index does not hold the stored geo-embeddings")


def _geo_embeddings(
    tables: LanceTables, generation: Generation, level: str, where: str | None = None
) -> NDArray[np.float32]:
    """Return the stored geo-embeddings of cells or clusters, (N, D)."""
    stored = tables.read(level, generation.manifest.tables[level], [level.removesuffix("s"), "embedding"], where)
    return vectors_from_arrow(stored["embedding"].combine_chunks())


def _alike(found: NDArray[np.floating], wanted: NDArray[np.floating]) -> bool:
    """Tell whether two arrays hold the same, within `TOLERANCE`; a table that is another one has other rows."""
    return found.shape == wanted.shape and np.allclose(found, wanted, atol=TOLERANCE)


def _damaged(generation: Generation, fault: str) -> IndexDamagedError:
    return IndexDamagedError(
        f"Generation '{generation.folder}' is damaged: {fault}; run 'geoindex repair' to make it again."
    )
