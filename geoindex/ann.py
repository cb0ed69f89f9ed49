"""The two-stage index: a FAISS IVF whose inverted lists are the geocells.

The coarse quantiser holds the geo-embeddings of the cells, list c holds those of the clusters of cell c. All
entries of a probed cell come back, so that p(cluster | cell) is exact (architecture, section on search).
"""

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoindex.errors import IndexDamagedError
from geoindex.store.checked import CheckedFile

Rows = NDArray[np.int64]

NO_CLUSTER = -1
"""Fills rows of `Hits.clusters` behind the last entry."""

HEAD = struct.Struct("<4siq")
"""Start of FAISS's file: kind of index, length and number of its vectors."""

ID_BYTES, NUMBER_BYTES = 8, 4


@dataclass(frozen=True, slots=True)
class Hits:
    """What a search found for Q queries.

    Attributes:
        cell_scores: inner product with every cell, (Q, C).
        cells: the probed cells by falling score, (Q, k).
        clusters: every cluster of the probed cells by falling score, (Q, K), filled up with `NO_CLUSTER`.
        cluster_scores: their inner products, (Q, K).
    """

    cell_scores: NDArray[np.float32]
    cells: NDArray[np.int64]
    clusters: NDArray[np.int64]
    cluster_scores: NDArray[np.float32]


class TwoStageIndex:
    """Geo-embeddings of cells and clusters, searched in two stages by inner product."""

    def __init__(self, ivf: Any, file_lists: "_ListBytes | None" = None) -> None:
        import faiss

        self._ivf, self._bytes = ivf, file_lists
        lists = ivf.invlists
        self._list_sizes = np.array([lists.list_size(c) for c in range(ivf.nlist)], np.int64)
        quantizer: Any = faiss.downcast_index(ivf.quantizer)
        # a view of the quantiser's own memory, which lives as long as self._ivf does
        flat: NDArray[np.float32] = faiss.rev_swig_ptr(quantizer.get_xb(), ivf.nlist * ivf.d)
        self._cells = flat.reshape(ivf.nlist, ivf.d)

    @classmethod
    def build(
        cls, cells: NDArray[np.float32], clusters: NDArray[np.float32], cell_of: NDArray[np.int64]
    ) -> "TwoStageIndex":
        """Build from geo-embeddings: cells (C, D), clusters (M, D), and the cell of each cluster (M,).

        Raises:
            ValueError: if shapes do not fit, a value is not finite, or a cell is not 0..C-1.
        """
        import faiss
        from faiss.contrib.ivf_tools import add_preassigned

        _check(cells, clusters, cell_of)
        cells, clusters = np.ascontiguousarray(cells, np.float32), np.ascontiguousarray(clusters, np.float32)
        # named arrays: FAISS keeps only pointers while it reads them
        labels, ids = np.ascontiguousarray(cell_of, np.int64), np.arange(len(clusters), dtype=np.int64)
        count, dim = cells.shape
        quantizer = faiss.IndexFlatIP(dim)
        quantizer.add(cells)
        ivf = faiss.IndexIVFFlat(quantizer, dim, count, faiss.METRIC_INNER_PRODUCT)
        ivf.is_trained = True
        add_preassigned(ivf, clusters, labels, ids)
        return cls(ivf)

    @classmethod
    def load(cls, file: CheckedFile) -> "TwoStageIndex":
        """Read from a file; all but the lists is checked now, each list when its cell is first probed.

        Raises:
            IndexDamagedError: if FAISS cannot read it, it is another kind of index, or it is not what was written.
        """
        import faiss

        try:
            file.check(0, _start_of_lists(file))
            ivf = faiss.read_index(str(file.path))
        except (RuntimeError, struct.error) as error:
            raise _refused(file.path, "cannot be read by FAISS") from error
        if not _two_stages(ivf):
            raise _refused(file.path, "is not an index of cells and clusters by inner product")
        return cls(ivf, _ListBytes(ivf, file))

    def save(self, path: Path) -> None:
        """Write to a file; what was loaded is checked whole first, as it gets new checksums.

        Raises:
            IndexDamagedError: if it is not what was written.
        """
        import faiss

        if self._bytes is not None:
            self._bytes.file.check_all()

        faiss.write_index(self._ivf, str(path))

    def replace(
        self, cells: Rows, cell_vectors: NDArray[np.float32], clusters: Rows, cluster_vectors: NDArray[np.float32],
        cell_of: Rows,
    ) -> None:  # fmt: skip
        """Replace some geo-embeddings in memory.

        Args:
            cells: cells that change, (c,).
            cell_vectors: their new geo-embeddings, (c, D).
            clusters: clusters that change, (m,).
            cluster_vectors: their new geo-embeddings, (m, D).
            cell_of: cell of each of those clusters, (m,).

        Raises:
            IndexDamagedError: if a cluster is not in the list of its cell.
        """
        self._cells[cells] = cell_vectors
        for cluster, vector, cell in zip(clusters.tolist(), cluster_vectors, cell_of.tolist(), strict=True):
            ids, vectors = self._list(cell)
            place = np.flatnonzero(ids == cluster)
            if len(place) != 1:
                raise IndexDamagedError(
                    f"The search index has cluster {cluster} {len(place)} times in the list of cell {cell}; "
                    "run 'geoindex repair' to make it again."
                )
            vectors[place[0]] = vector

    def _list(self, cell: int) -> tuple[Rows, NDArray[np.float32]]:
        """Return ids, (n,), and vectors, (n, D), of a cell's list: views of its memory."""
        import faiss

        lists, size = self._ivf.invlists, int(self._list_sizes[cell])
        if size == 0:
            return np.zeros(0, np.int64), np.zeros((0, self.dim), np.float32)
        ids: Rows = faiss.rev_swig_ptr(lists.get_ids(cell), size)
        codes: NDArray[np.uint8] = faiss.rev_swig_ptr(lists.get_codes(cell), size * lists.code_size)
        return ids, codes.view(np.float32).reshape(size, self.dim)

    @property
    def n_cells(self) -> int:
        """Number of cells."""
        return int(self._ivf.nlist)

    @property
    def n_clusters(self) -> int:
        """Number of clusters, as the lists hold them."""
        return int(self._list_sizes.sum())

    @property
    def dim(self) -> int:
        """Length of an embedding."""
        return int(self._ivf.d)

    def cell_scores(self, queries: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the inner product of each query, (Q, D), with every cell, (Q, C)."""
        return np.asarray(queries @ self._cells.T)

    def clusters_in(
        self, queries: NDArray[np.float32], cells: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return every cluster in the given cells of each query, (Q, k), by falling score.

        Returns:
            Clusters and their inner products, (Q, K); K is the longest row, others end in `NO_CLUSTER`.

        Raises:
            ValueError: if a cell is not 0..C-1.
            IndexDamagedError: if the list of a cell is not what was written.
        """
        import faiss

        if cells.size and not (cells.min() >= 0 and cells.max() < self.n_cells):
            raise ValueError(f"cells must be 0..{self.n_cells - 1}")
        queries, cells = np.ascontiguousarray(queries, np.float32), np.ascontiguousarray(cells, np.int64)
        if self._bytes is not None:
            self._bytes.check(cells)
        count, probes = cells.shape
        width = int(self._list_sizes[cells].sum(axis=1).max(initial=0))
        coarse = np.zeros(cells.shape, np.float32)
        scores, clusters = np.empty((count, width), np.float32), np.empty((count, width), np.int64)
        parameters: Any = faiss.SearchParametersIVF
        if count and width:
            self._ivf.search_preassigned_c(
                count, faiss.swig_ptr(queries), width, faiss.swig_ptr(cells), faiss.swig_ptr(coarse),
                faiss.swig_ptr(scores), faiss.swig_ptr(clusters), False, parameters(nprobe=probes),
            )  # fmt: skip
        return clusters, scores

    def search(self, queries: NDArray[np.float32], top_cells: int) -> Hits:
        """Find the best cells for each query, (Q, D), and every cluster in them."""
        cell_scores = self.cell_scores(queries)
        cells = top_columns(cell_scores, top_cells)
        clusters, scores = self.clusters_in(queries, cells)
        return Hits(cell_scores, cells, clusters, scores)


class _ListBytes:
    """Where the lists of an index lie in its file: one after the other at its end, each codes and then ids."""

    def __init__(self, ivf: Any, file: CheckedFile) -> None:
        import faiss

        entry = ivf.code_size + ID_BYTES
        sizes = np.array([ivf.invlists.list_size(c) for c in range(ivf.nlist)], np.int64)
        self.file, self._stops = file, len(file) - int(sizes.sum()) * entry + np.cumsum(sizes) * entry
        self._starts = self._stops - sizes * entry
        first = int(np.argmax(sizes > 0))
        # an index without any vector has no codes either, and is refused for its counts
        codes = faiss.rev_swig_ptr(ivf.invlists.get_codes(first), int(sizes[first]) * ivf.code_size)
        start = int(self._starts[first])
        if start < 0 or file.data[start : start + len(codes)] != codes.tobytes():
            file.check_all()  # written by a FAISS with another order

    def check(self, cells: NDArray[np.int64]) -> None:
        """Check the lists of some cells."""
        if self.file.sound:
            return
        for cell in np.unique(cells).tolist():
            self.file.check(int(self._starts[cell]), int(self._stops[cell]))


def _start_of_lists(file: CheckedFile) -> int:
    """Return where the lists begin, from what the start of the file says of their length."""
    file.check(0, HEAD.size)
    _, dim, count = HEAD.unpack_from(file.data)
    start = len(file) - count * (NUMBER_BYTES * dim + ID_BYTES)
    return start if start > 0 else len(file)


def _two_stages(ivf: Any) -> bool:
    """Tell whether an index is of the kind that `build` makes."""
    import faiss

    if not isinstance(ivf, faiss.IndexIVFFlat):
        return False
    quantizer: Any = faiss.downcast_index(ivf.quantizer)
    flat = isinstance(quantizer, faiss.IndexFlat) and (quantizer.ntotal, quantizer.d) == (ivf.nlist, ivf.d)
    return flat and ivf.metric_type == quantizer.metric_type == faiss.METRIC_INNER_PRODUCT


def _refused(path: Path, fault: str) -> IndexDamagedError:
    return IndexDamagedError(f"'{path}' {fault}; run 'geoindex repair' to make it again.")


def top_columns(scores: NDArray[np.floating], count: int) -> NDArray[np.int64]:
    """Return the columns of the `count` largest scores of each row, largest first, ties to the lowest column."""
    if count < scores.shape[1]:
        columns = np.sort(np.argpartition(-scores, count - 1, axis=1)[:, :count], axis=1)
    else:
        columns = np.broadcast_to(np.arange(scores.shape[1]), scores.shape)
    order = np.argsort(-np.take_along_axis(scores, columns, axis=1), axis=1, kind="stable")
    return np.ascontiguousarray(np.take_along_axis(columns, order, axis=1), np.int64)


def _check(cells: NDArray[np.float32], clusters: NDArray[np.float32], cell_of: NDArray[np.int64]) -> None:
    if cells.ndim != 2 or clusters.ndim != 2 or cells.shape[1] != clusters.shape[1] or len(cells) == 0:
        raise ValueError(f"cells {cells.shape} and clusters {clusters.shape} must be (C, D) and (M, D)")
    if cell_of.shape != (len(clusters),):
        raise ValueError(f"cell_of {cell_of.shape} must be ({len(clusters)},)")
    # FAISS writes outside its memory for a label beyond the last list
    if len(cell_of) and not (cell_of.min() >= 0 and cell_of.max() < len(cells)):
        raise ValueError(f"cells of clusters must be 0..{len(cells) - 1}")
    if not (np.isfinite(cells).all() and np.isfinite(clusters).all()):
        raise ValueError("geo-embeddings must be finite")
