"""The two-stage index: a FAISS IVF whose inverted lists are the geocells.

The coarse quantiser holds the geo-embeddings of the cells, list c holds those of the clusters of cell c. All
entries of a probed cell come back, so that p(cluster | cell) is exact (architecture, section on search).
"""

import os
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoindex.ann.cells import CellScan
from geoindex.ann.lists import ListBytes, entry_type, start_of_lists
from geoindex.errors import IndexDamagedError
from geoindex.store.checked import CheckedFile

Rows = NDArray[np.int64]
Serialized = NDArray[np.uint8]

NO_CLUSTER = -1
"""Fills the rows of shorter lists behind their last cluster."""

NO_CELL = -1
"""Stands for a cell that is not probed."""


class TwoStageIndex:
    """Geo-embeddings of cells and clusters, searched in two stages by inner product.

    Attributes:
        cells: the first stage.
        list_sizes: clusters of each cell, (C,).
    """

    def __init__(self, ivf: Any, file_lists: ListBytes | None = None) -> None:
        import faiss

        self._ivf, self._bytes = ivf, file_lists
        self._one_list: Any = faiss.SearchParametersIVF(nprobe=1)  # type: ignore[call-arg]
        self.list_sizes = np.array([ivf.invlists.list_size(c) for c in range(ivf.nlist)], np.int64)
        quantizer: Any = faiss.downcast_index(ivf.quantizer)
        # a view of the quantiser's own memory, which lives as long as self._ivf does
        flat: NDArray[np.float32] = faiss.rev_swig_ptr(quantizer.get_xb(), ivf.nlist * ivf.d)
        self.cells = CellScan(flat.reshape(ivf.nlist, ivf.d))

    @classmethod
    def build(
        cls,
        cells: NDArray[np.float32],
        clusters: NDArray[np.float32],
        cell_of: NDArray[np.int64],
        entries: np.dtype[Any] | None = None,
    ) -> "TwoStageIndex":
        """Build from geo-embeddings.

        Args:
            cells: (C, D).
            clusters: (M, D).
            cell_of: cell of each cluster, (M,).
            entries: how clusters are stored; None: as is best for so many.

        Raises:
            ValueError: if shapes do not fit, a value is not finite, or a cell is not 0..C-1.
        """
        from faiss.contrib.ivf_tools import add_preassigned

        _check(cells, clusters, cell_of)
        cells, clusters = np.ascontiguousarray(cells, np.float32), np.ascontiguousarray(clusters, np.float32)
        # named arrays: FAISS keeps only pointers while it reads them
        labels, ids = np.ascontiguousarray(cell_of, np.int64), np.arange(len(clusters), dtype=np.int64)
        ivf = _empty_lists(cells, entries or entry_type(len(clusters)))
        add_preassigned(ivf, clusters, labels, ids)
        return cls(ivf)

    @classmethod
    def joined(cls, cells: NDArray[np.float32], parts: Iterable[Serialized], entries: np.dtype[Any]) -> "TwoStageIndex":
        """Put together parts of runs of cells, in their order; the same as if it had been built at once.

        Args:
            cells: geo-embeddings of all cells, (C, D).
            parts: as `serialized` gives them.
            entries: how they store clusters.

        Raises:
            ValueError: if they do not have as many cells.
        """
        import faiss

        ivf = _empty_lists(np.ascontiguousarray(cells, np.float32), entries)
        done = 0
        part: Any
        for part in map(faiss.deserialize_index, parts):
            first = int(ivf.ntotal)  # clusters are numbered through
            for cell in range(min(part.nlist, len(cells) - done)):
                size = part.invlists.list_size(cell)
                ids = faiss.rev_swig_ptr(part.invlists.get_ids(cell), size) + first if size else np.zeros(0, np.int64)
                codes = part.invlists.get_codes(cell)
                ivf.invlists.add_entries(done + cell, size, faiss.swig_ptr(ids), codes)
            ivf.ntotal += part.ntotal
            done += part.nlist
        if done != len(cells):
            raise ValueError(f"the parts have {done} cells, not {len(cells)}")
        return cls(ivf)

    def serialized(self) -> Serialized:
        """Return it as bytes, for `joined`."""
        import faiss

        return np.asarray(faiss.serialize_index(self._ivf))

    @classmethod
    def load(cls, file: CheckedFile) -> "TwoStageIndex":
        """Map a file; all but the lists is checked now, each list when its cell is first probed.

        Raises:
            IndexDamagedError: if FAISS cannot read it, it is another kind of index, or it is not what was written.
        """
        import faiss

        # Windows has no such mapping in FAISS
        return cls._read(file, 0 if os.name == "nt" else faiss.IO_FLAG_MMAP_IFC)

    @classmethod
    def load_copy(cls, file: CheckedFile) -> "TwoStageIndex":
        """Read a file into memory, where `replace` may change it; otherwise as `load`."""
        return cls._read(file, 0)

    @classmethod
    def _read(cls, file: CheckedFile, flags: int) -> "TwoStageIndex":
        import faiss

        try:
            file.check(0, start_of_lists(file))
            ivf = faiss.read_index(str(file.path), flags)
        except (RuntimeError, struct.error) as error:
            raise _refused(file.path, "cannot be read by FAISS") from error
        if not _two_stages(ivf):
            raise _refused(file.path, "is not an index of cells and clusters by inner product")
        return cls(ivf, ListBytes(ivf, file))

    def save(self, path: Path) -> None:
        """Write to a file; what was loaded is checked whole first, as it gets new checksums.

        Raises:
            IndexDamagedError: if it is not what was written.
        """
        import faiss

        faiss.write_index(self.faiss_index(), str(path))

    def faiss_index(self) -> Any:
        """Return the index of FAISS.

        Raises:
            IndexDamagedError: if it is not what was written.
        """
        self._check_all()
        return self._ivf

    def _check_all(self) -> None:
        if self._bytes is not None:
            self._bytes.file.check_all()

    def replace(
        self, cells: Rows, cell_vectors: NDArray[np.float32], clusters: Rows, cluster_vectors: NDArray[np.float32],
        cell_of: Rows,
    ) -> None:  # fmt: skip
        """Replace some geo-embeddings in memory, of an index that was built or read by `load_copy`.

        Args:
            cells: cells that change, (c,).
            cell_vectors: their new geo-embeddings, (c, D).
            clusters: clusters that change, (m,).
            cluster_vectors: their new geo-embeddings, (m, D).
            cell_of: cell of each of those clusters, (m,).

        Raises:
            IndexDamagedError: if a cluster is not in the list of its cell.
        """
        self.cells.vectors[cells] = cell_vectors
        self.cells = CellScan(self.cells.vectors)
        for cluster, vector, cell in zip(clusters.tolist(), cluster_vectors, cell_of.tolist(), strict=True):
            ids, vectors = self._list(cell)
            place = np.flatnonzero(ids == cluster)
            if len(place) != 1:
                raise IndexDamagedError(
                    f"The search index has cluster {cluster} {len(place)} times in the list of cell {cell}; "
                    "run 'geoindex repair' to make it again."
                )
            vectors[place[0]] = vector

    def _list(self, cell: int) -> tuple[Rows, NDArray[np.floating]]:
        """Return ids, (n,), and vectors, (n, D), of a cell's list: views of its memory."""
        import faiss

        lists, size = self._ivf.invlists, int(self.list_sizes[cell])
        if size == 0:
            return np.zeros(0, np.int64), np.zeros((0, self.dim), self.entries)
        ids: Rows = faiss.rev_swig_ptr(lists.get_ids(cell), size)
        codes: NDArray[np.uint8] = faiss.rev_swig_ptr(lists.get_codes(cell), size * lists.code_size)
        return ids, codes.view(self.entries).reshape(size, self.dim)

    def contents(self) -> tuple[Rows, NDArray[np.floating], Rows]:
        """Return all clusters list by list, (M,), their geo-embeddings, (M, D), and the size of each list, (C,).

        Raises:
            IndexDamagedError: if they are not what was written.
        """
        self._check_all()
        lists = [self._list(cell) for cell in range(self.n_cells)]
        ids, vectors = (np.concatenate(parts) for parts in zip(*lists, strict=True))
        return ids, vectors, self.list_sizes

    @property
    def entries(self) -> np.dtype[Any]:
        """How the geo-embeddings of clusters are stored: float32 or float16."""
        return np.dtype(np.float16 if self._ivf.code_size < 4 * self.dim else np.float32)

    @property
    def n_cells(self) -> int:
        """Number of cells."""
        return int(self._ivf.nlist)

    @property
    def n_clusters(self) -> int:
        """Number of clusters, as the lists hold them."""
        return int(self.list_sizes.sum())

    @property
    def dim(self) -> int:
        """Length of an embedding."""
        return int(self._ivf.d)

    def clusters_in(
        self, queries: NDArray[np.float32], cells: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return every cluster in the given cells of each query, (Q, k), cell by cell by falling score.

        Returns:
            Clusters and their inner products, (Q, k, W); W is the longest list, others end in `NO_CLUSTER`, and so
            does all of a `NO_CELL`.

        Raises:
            ValueError: if a cell is not 0..C-1.
            IndexDamagedError: if the list of a cell is not what was written.
        """
        import faiss

        if cells.size and not (cells.min() >= NO_CELL and cells.max() < self.n_cells):
            raise ValueError(f"cells must be 0..{self.n_cells - 1}")
        if self._bytes is not None:
            self._bytes.check(cells)
        count, probes = cells.shape
        width = int(self.list_sizes[cells].max(initial=0))
        scores, clusters = np.empty((count, probes, width), np.float32), np.empty((count, probes, width), np.int64)
        if clusters.size:
            # each list as a search of its own: FAISS sorts what it finds, and short lists are sorted sooner
            each = np.repeat(np.ascontiguousarray(queries, np.float32), probes, axis=0)
            lists, coarse = np.ascontiguousarray(cells, np.int64), np.zeros(cells.shape, np.float32)
            self._ivf.search_preassigned_c(
                count * probes, faiss.swig_ptr(each), width, faiss.swig_ptr(lists), faiss.swig_ptr(coarse),
                faiss.swig_ptr(scores), faiss.swig_ptr(clusters), False, self._one_list,
            )  # fmt: skip
        return clusters, scores


def _empty_lists(cells: NDArray[np.float32], entries: np.dtype[Any]) -> Any:
    """Return an index of cells, (C, D), without clusters."""
    import faiss

    ivf: Any
    (count, dim), metric = cells.shape, faiss.METRIC_INNER_PRODUCT
    quantizer = faiss.IndexFlatIP(dim)
    quantizer.add(cells)
    if entries == np.float32:
        ivf = faiss.IndexIVFFlat(quantizer, dim, count, metric)
    else:  # whole vectors, not their differences to the cell's; so there is nothing to train
        ivf = faiss.IndexIVFScalarQuantizer(quantizer, dim, count, faiss.ScalarQuantizer.QT_fp16, metric, False)
    ivf.is_trained = True
    return ivf


def _two_stages(ivf: Any) -> bool:
    """Tell whether an index is of a kind that `build` makes."""
    import faiss

    if isinstance(ivf, faiss.IndexIVFScalarQuantizer):
        whole = ivf.sq.qtype == faiss.ScalarQuantizer.QT_fp16 and not ivf.by_residual
    else:
        whole = isinstance(ivf, faiss.IndexIVFFlat)
    if not whole:
        return False
    quantizer: Any = faiss.downcast_index(ivf.quantizer)
    flat = isinstance(quantizer, faiss.IndexFlat) and (quantizer.ntotal, quantizer.d) == (ivf.nlist, ivf.d)
    return flat and ivf.metric_type == quantizer.metric_type == faiss.METRIC_INNER_PRODUCT


def _refused(path: Path, fault: str) -> IndexDamagedError:
    return IndexDamagedError(f"'{path}' {fault}; run 'geoindex repair' to make it again.")


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
