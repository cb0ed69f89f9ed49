import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geoindex.ann import NO_CLUSTER, TwoStageIndex
from geoindex.errors import IndexDamagedError
from geoindex.store.checked import CheckedFile


def unit(rng, *shape):
    vectors = rng.standard_normal(shape).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    n_cells=st.integers(1, 30),
    n_clusters=st.integers(1, 200),
    n_queries=st.integers(1, 8),
    top_cells=st.integers(1, 40),
)
def test_two_stages_equal_brute_force_over_the_probed_cells(seed, n_cells, n_clusters, n_queries, top_cells):
    rng = np.random.default_rng(seed)
    cells, clusters, queries = unit(rng, n_cells, 12), unit(rng, n_clusters, 12), unit(rng, n_queries, 12)
    cell_of = np.sort(rng.integers(0, n_cells, n_clusters))
    hits = TwoStageIndex.build(cells, clusters, cell_of).search(queries, top_cells)
    for row, query in enumerate(queries):
        best_cells = np.argsort(-(cells @ query), kind="stable")[:top_cells]
        wanted = np.flatnonzero(np.isin(cell_of, best_cells))
        found = hits.clusters[row][hits.clusters[row] != NO_CLUSTER]
        assert set(hits.cells[row]) == set(best_cells)
        assert sorted(found) == sorted(wanted)
        np.testing.assert_allclose(hits.cluster_scores[row][: len(found)], clusters[found] @ query, atol=1e-5)
        assert (np.diff(hits.cluster_scores[row][: len(found)]) <= 0).all()


def test_an_index_survives_its_file(tmp_path):
    rng = np.random.default_rng(1)
    cells, clusters, cell_of = unit(rng, 5, 8), unit(rng, 40, 8), np.sort(rng.integers(0, 5, 40))
    built = TwoStageIndex.build(cells, clusters, cell_of)
    built.save(tmp_path / "index.faiss")
    loaded = TwoStageIndex.load(CheckedFile(tmp_path / "index.faiss"))
    assert (loaded.n_cells, loaded.n_clusters, loaded.dim) == (5, 40, 8)
    queries = unit(rng, 3, 8)
    np.testing.assert_array_equal(built.search(queries, 2).clusters, loaded.search(queries, 2).clusters)


def test_labels_beyond_the_last_cell_are_refused():
    rng = np.random.default_rng(2)
    cells, clusters = unit(rng, 3, 4), unit(rng, 2, 4)
    for bad in ([0, 3], [-1, 0]):
        with pytest.raises(ValueError, match=r"must be 0\.\.2"):
            TwoStageIndex.build(cells, clusters, np.array(bad))
    index = TwoStageIndex.build(cells, clusters, np.array([0, 2]))
    with pytest.raises(ValueError, match=r"must be 0\.\.2"):
        index.clusters_in(clusters, np.array([[3], [0]]))


def test_values_that_are_not_numbers_are_refused():
    cells = np.full((2, 4), np.nan, np.float32)
    with pytest.raises(ValueError, match="finite"):
        TwoStageIndex.build(cells, cells, np.array([0, 1]))


def test_a_file_of_something_else_is_an_error(tmp_path):
    path = tmp_path / "index.faiss"
    path.write_bytes(b"not an index at all")
    with pytest.raises(IndexDamagedError, match="geoindex repair"):
        TwoStageIndex.load(CheckedFile(path))
