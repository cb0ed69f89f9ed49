"""Files that carry right checksums and yet are not what the tables hold must be noticed before publishing."""

from dataclasses import replace

import numpy as np
import pytest

from geoindex.ann import TwoStageIndex
from geoindex.assembly.verification import record_canaries, verify_generation
from geoindex.errors import IndexDamagedError
from geoindex.search.searcher import Searcher
from geoindex.store.generations import IndexFolder
from geoindex.store.schemas import vectors_from_arrow
from geoindex.store.sealing import seal


@pytest.fixture
def index(index_folder):
    return IndexFolder(index_folder)


def resealed(index):
    """Return the live generation with the checksums and canaries of its files as they are now."""
    live = index.current()
    (live.folder / "manifest.json").unlink()
    sealed = seal(live.folder, live.manifest)
    canaries = record_canaries(Searcher.open(sealed), live.manifest.recipe["search"]["top_cells"])
    return replace(sealed, manifest=replace(sealed.manifest, canaries=canaries))


def geo_embeddings(index, table, column):
    stored = index.tables.read(table, index.current().manifest.tables[table], [column, "embedding"])
    return vectors_from_arrow(stored["embedding"].combine_chunks())


def test_a_sound_generation_passes(index):
    verify_generation(index.tables, resealed(index))


def test_a_checksum_that_does_not_fit_is_damage(index):
    live = index.current()
    path = live.folder / "gallery.npy"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(IndexDamagedError, match=r"gallery\.npy' does not have the checksum"):
        verify_generation(index.tables, live)


def test_gallery_embeddings_of_other_images_are_damage(index):
    path = index.current().folder / "gallery.npy"
    np.save(path, np.load(path)[::-1])
    with pytest.raises(IndexDamagedError, match="not those of the stored features"):
        verify_generation(index.tables, resealed(index))


def test_a_first_stage_of_other_embeddings_is_damage(index):
    cells, clusters = geo_embeddings(index, "cells", "cell"), geo_embeddings(index, "clusters", "cluster")
    cell = Searcher.open(index.current()).geography.cell
    other = TwoStageIndex.build(np.roll(cells, 1, axis=1), clusters, cell)
    other.save(index.current().folder / "index.faiss")
    with pytest.raises(IndexDamagedError, match="first stage of the search index does not hold"):
        verify_generation(index.tables, resealed(index))


def test_a_search_index_of_other_embeddings_is_damage(index):
    clusters = geo_embeddings(index, "clusters", "cluster")
    cell = Searcher.open(index.current()).geography.cell
    other = TwoStageIndex.build(geo_embeddings(index, "cells", "cell"), np.roll(clusters, 1, axis=1), cell)
    other.save(index.current().folder / "index.faiss")
    with pytest.raises(IndexDamagedError, match="does not hold the stored geo-embeddings"):
        verify_generation(index.tables, resealed(index))
