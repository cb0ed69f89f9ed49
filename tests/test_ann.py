import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geoindex.ann import NO_CLUSTER, TwoStageIndex, top_columns
from geoindex.ann.cells import PACKED_CELLS, CellScan
from geoindex.ann.lists import HALF_CLUSTERS, entry_type
from geoindex.ann.ranges import build_range, cell_ranges
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
    ann = TwoStageIndex.build(cells, clusters, cell_of)
    best_cells = top_columns(ann.cells.exact(queries), top_cells)
    found, scores = ann.clusters_in(queries, best_cells)
    for row, query in enumerate(queries):
        assert set(best_cells[row]) == set(np.argsort(-(cells @ query), kind="stable")[:top_cells])
        for place, cell in enumerate(best_cells[row]):
            own = found[row, place][found[row, place] != NO_CLUSTER]
            assert sorted(own) == np.flatnonzero(cell_of == cell).tolist()
            np.testing.assert_allclose(scores[row, place][: len(own)], clusters[own] @ query, atol=1e-5)
            assert (np.diff(scores[row, place][: len(own)]) <= 0).all()


def test_an_index_survives_its_file(tmp_path):
    rng = np.random.default_rng(1)
    cells, clusters, cell_of = unit(rng, 5, 8), unit(rng, 40, 8), np.sort(rng.integers(0, 5, 40))
    built = TwoStageIndex.build(cells, clusters, cell_of)
    built.save(tmp_path / "index.faiss")
    loaded = TwoStageIndex.load(CheckedFile(tmp_path / "index.faiss"))
    assert (loaded.n_cells, loaded.n_clusters, loaded.dim) == (5, 40, 8)
    queries = unit(rng, 3, 8)
    probed = np.array([[4, 0], [1, 2], [3, 3]])
    for own, read in zip(built.clusters_in(queries, probed), loaded.clusters_in(queries, probed), strict=True):
        np.testing.assert_array_equal(own, read)


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


def test_many_cells_are_estimated_within_the_stated_bound():
    rng = np.random.default_rng(4)
    scan = CellScan(unit(rng, PACKED_CELLS, 24))
    queries = unit(rng, 30, 24) * np.linspace(0.1, 20, 30, dtype=np.float32)[:, None]
    estimates, bound = scan.estimate(queries)
    off = np.abs(estimates - queries @ scan.vectors.T)
    assert (off <= bound[:, None] + 1e-6).all()
    assert (bound < 0.05 * np.linalg.norm(queries, axis=1)).all()
    assert off.max() > 0  # they are estimates
    rows, cells = np.array([0, 3, 29]), np.array([5, PACKED_CELLS - 1, 7])
    np.testing.assert_allclose(scan.some(queries, rows, cells), (queries @ scan.vectors.T)[rows, cells], rtol=1e-5)


def test_cells_that_are_all_alike_take_no_memory_of_note():
    scan = CellScan(np.tile(unit(np.random.default_rng(0), 1, 512), (PACKED_CELLS, 1)))
    queries = unit(np.random.default_rng(1), 40, 512)
    rows, cells = np.divmod(np.arange(len(queries) * PACKED_CELLS), PACKED_CELLS)
    tracemalloc.start()
    products = scan.some(queries, rows, cells)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_allclose(products.reshape(len(queries), -1), queries @ scan.vectors.T, atol=1e-6)
    assert peak < 4 * scan.vectors.nbytes  # both vectors of every pair would be twenty times as much


def test_few_cells_are_read_as_they_are():
    rng = np.random.default_rng(5)
    scan = CellScan(unit(rng, PACKED_CELLS - 1, 24))
    queries = unit(rng, 3, 24)
    estimates, bound = scan.estimate(queries)
    np.testing.assert_array_equal(estimates, queries @ scan.vectors.T)
    assert bound.tolist() == [0, 0, 0]


def test_zeros_are_estimated_as_zeros():
    rng = np.random.default_rng(6)
    vectors = unit(rng, PACKED_CELLS, 8)
    vectors[3] = 0
    estimates, _ = CellScan(vectors).estimate(np.concatenate([np.zeros((1, 8), np.float32), unit(rng, 1, 8)]))
    assert (estimates[0] == 0).all()
    assert estimates[1, 3] == 0


@pytest.fixture
def large(tmp_path):
    """An index with so many clusters that they are stored as float16, in a file."""
    rng = np.random.default_rng(7)
    cells, clusters = unit(rng, 50, 16), unit(rng, HALF_CLUSTERS, 16)
    cell_of = np.sort(rng.integers(0, 50, HALF_CLUSTERS))
    TwoStageIndex.build(cells, clusters, cell_of).save(tmp_path / "index.faiss")
    return CheckedFile(tmp_path / "index.faiss"), clusters, cell_of


def test_many_clusters_are_stored_in_half_the_bytes(large):
    file, clusters, cell_of = large
    index = TwoStageIndex.load(file)
    assert index.entries == np.float16
    assert len(file) < HALF_CLUSTERS * (16 * 2 + 8) * 1.2
    queries = unit(np.random.default_rng(8), 4, 16)
    found, scores = index.clusters_in(queries, np.array([[3, -1, 9]] * 4))
    assert (found[:, 1] == NO_CLUSTER).all()
    for row, query in enumerate(queries):
        for place, cell in ((0, 3), (2, 9)):
            kept = found[row, place][found[row, place] != NO_CLUSTER]
            assert sorted(kept) == np.flatnonzero(cell_of == cell).tolist()
            np.testing.assert_allclose(scores[row, place][: len(kept)], clusters[kept] @ query, atol=2e-3)
            assert (np.diff(scores[row, place][: len(kept)]) <= 0).all()


def test_a_copy_of_a_large_index_can_be_changed(large, tmp_path):
    file, clusters, cell_of = large
    copy, new = TwoStageIndex.load_copy(file), unit(np.random.default_rng(9), 1, 16)
    cell = int(cell_of[77])
    copy.replace(np.array([cell]), new, np.array([77]), new, np.array([cell]))
    copy.save(tmp_path / "changed.faiss")
    changed = TwoStageIndex.load(CheckedFile(tmp_path / "changed.faiss"))
    own, old = np.array([[cell]]), TwoStageIndex.load(file)
    assert changed.clusters_in(new, own)[0][0, 0, 0] == 77
    assert changed.cells.exact(new).argmax() == cell
    assert old.clusters_in(clusters[77:78], own)[0][0, 0, 0] == 77  # the file is as it was


def test_a_file_whose_entries_are_of_another_kind_is_refused(tmp_path):
    import faiss

    quantizer = faiss.IndexFlatIP(8)
    quantizer.add(unit(np.random.default_rng(0), 2, 8))
    kind = faiss.ScalarQuantizer.QT_8bit
    bytes_ = faiss.IndexIVFScalarQuantizer(quantizer, 8, 2, kind, faiss.METRIC_INNER_PRODUCT, False)
    bytes_.train(unit(np.random.default_rng(1), 20, 8))
    faiss.write_index(bytes_, str(tmp_path / "index.faiss"))
    with pytest.raises(IndexDamagedError, match="is not an index of cells and clusters"):
        TwoStageIndex.load(CheckedFile(tmp_path / "index.faiss"))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), n_cells=st.integers(1, 30), n_clusters=st.integers(1, 200), size=st.integers(1, 80))
def test_runs_of_cells_join_to_the_index_that_is_built_at_once(seed, n_cells, n_clusters, size):
    rng = np.random.default_rng(seed)
    cells, clusters = unit(rng, n_cells, 12), unit(rng, n_clusters, 12)
    cell_of = np.sort(rng.integers(0, n_cells, n_clusters))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("geoindex.ann.ranges.RANGE_CLUSTERS", size)
        runs = cell_ranges(cell_of, n_cells)
    assert [run.cells.start for run in runs[1:]] == [run.cells.stop for run in runs[:-1]]
    assert sum(run.clusters.stop - run.clusters.start for run in runs) == n_clusters
    for run in runs:  # none is longer than asked for but by its last cell
        last = np.count_nonzero(cell_of == run.cells.stop - 1)
        assert run.clusters.stop - run.clusters.start - last < size
    for of_clusters in (n_clusters, HALF_CLUSTERS):  # as float32 and as float16
        parts = [
            build_range(cells[r.cells], clusters[r.clusters], cell_of[r.clusters] - r.cells.start, of_clusters)
            for r in runs
        ]
        joined = TwoStageIndex.joined(cells, parts, entry_type(of_clusters))
        whole = TwoStageIndex.build(cells, clusters, cell_of, entry_type(of_clusters))
        np.testing.assert_array_equal(joined.serialized(), whole.serialized())


def test_clusters_of_no_cell_and_out_of_order_are_refused():
    for bad in ([0, 0, 4], [-1, 0, 1], [1, 0, 2]):
        with pytest.raises(ValueError, match=r"must ascend in 0\.\.3"):
            cell_ranges(np.array(bad), 4)


def test_parts_of_other_cells_are_refused():
    rng = np.random.default_rng(10)
    cells, clusters = unit(rng, 4, 8), unit(rng, 6, 8)
    part = build_range(cells[:2], clusters, np.sort(rng.integers(0, 2, 6)), 6)
    for parts in ([part], [part, part, part]):
        with pytest.raises(ValueError, match=r"the parts have \d cells, not 4"):
            TwoStageIndex.joined(cells, parts, entry_type(6))


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), columns=st.integers(1, 60), count=st.integers(1, 60))
def test_the_best_columns_come_by_score_and_then_by_number(seed, columns, count):
    scores = np.random.default_rng(seed).integers(0, 3, (4, columns)).astype(np.float32)
    wanted = np.argsort(-scores, axis=1, kind="stable")[:, :count]
    np.testing.assert_array_equal(top_columns(scores, count), wanted)
