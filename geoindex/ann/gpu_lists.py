"""The lists of a two-stage index on a GPU, as FAISS keeps them there.

It reads the entries of a probed cell where they lie, in blocks of `BLOCK`. What it finds it selects with at most
`MOST_ENTRIES` places, so a longer list cannot come back whole. Where it lacks memory or kernels it often ends the
process instead of raising, so both are looked at before.
"""

from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

from geoindex.ann.two_stage import NO_CLUSTER, TwoStageIndex

if TYPE_CHECKING:
    import torch

MOST_ENTRIES = 2048
"""Entries of a list that a search of FAISS on a GPU hands out at most."""

BLOCK = 32
"""Entries that are stored together; the last ones of a list are filled up."""

SELECTIONS = (1, 32, 64, 128, 256, 512, 1024, MOST_ENTRIES)
"""Entries up to which a search takes the same kernels; a kernel is loaded when it is first used."""

LEAST_CAPABILITY = (7, 0)
"""Oldest GPUs that FAISS is built for."""

SCRATCH_BYTES = 2**28
"""Memory of the device that FAISS keeps for its searches; its own choice is 1.5 GB."""

SPARE_BYTES = 2**29
"""What shall be free beside, for the libraries below it."""

TRIED_CELLS = 64
"""Cells whose lists are compared with those of the processor before any answer rests on them."""

CLOSE = 1e-3
"""Most by which inner products of unit vectors may differ there."""


class GpuLists:
    """Scores clusters on a GPU. Safe in threads: one at a time, as FAISS's indexes of GPUs are not."""

    def __init__(self, ann: TwoStageIndex, device: "torch.device") -> None:
        """Copy the lists of an index to a GPU, a device with a number.

        Raises:
            RuntimeError: if they do not fit, FAISS refuses them, or finds something else in them.
            IndexDamagedError: if they are not what was written.
        """
        import faiss

        longest = int(ann.list_sizes.max())
        if longest > MOST_ENTRIES:
            raise RuntimeError(f"a cell has {longest:,} clusters, and FAISS hands out {MOST_ENTRIES:,}")
        _check_device(device, _bytes_of(ann))
        self._device, self._lock = device, Lock()
        self._gpu, self._index = _copied(ann.faiss_index(), device)
        self._one_list: Any = faiss.SearchParametersIVF(nprobe=1)  # type: ignore[call-arg]
        self._compare(ann)

    def bytes_a_cell(self, width: int) -> int:
        """Return the memory that probing a cell for a query takes, with lists of up to `width` entries."""
        return 4 * int(self._index.d) + 24 * width

    def score(
        self, queries: "torch.Tensor", cells: "torch.Tensor", width: int
    ) -> tuple["torch.Tensor", "torch.Tensor"]:
        """Return every cluster in the given cells of each query, cell by cell by falling score.

        Args:
            queries: (Q, D), on the device.
            cells: (Q, k), likewise.
            width: entries of the longest of these cells' lists, W.

        Returns:
            Clusters, (Q, k, W), `NO_CLUSTER` behind the last of a list, and their inner products.

        Raises:
            torch.OutOfMemoryError: if the device is full.
        """
        import torch

        found = torch.empty((*cells.shape, width), dtype=torch.int64, device=self._device)
        scores = torch.empty(found.shape, dtype=torch.float32, device=self._device)
        # each list as a search of its own, as on the processor: then all of it comes back
        each = queries.float().repeat_interleave(cells.shape[1], dim=0)
        lists, coarse = cells.contiguous(), torch.zeros(cells.shape, dtype=torch.float32, device=self._device)
        try:
            with self._lock:
                self._search(each, width, lists, coarse, scores, found)
        except RuntimeError as error:  # it refuses nothing of this but for memory
            raise torch.OutOfMemoryError(str(error)) from error
        return found, scores

    def _search(
        self, queries: "torch.Tensor", width: int, lists: "torch.Tensor", coarse: "torch.Tensor",
        scores: "torch.Tensor", found: "torch.Tensor",
    ) -> None:  # fmt: skip
        if len(queries) == 0:
            return
        _follow(self._gpu, self._device)
        self._index.search_preassigned_c(
            len(queries), _floats(queries), width, _numbers(lists), _floats(coarse), _floats(scores), _numbers(found),
            False, self._one_list,
        )  # fmt: skip

    def _compare(self, ann: TwoStageIndex) -> None:
        """Ask for lists of all lengths, and compare with what the processor finds in them."""
        import torch

        by_length = np.argsort(ann.list_sizes, kind="stable")
        cells = by_length[np.linspace(0, ann.n_cells - 1, min(TRIED_CELLS, ann.n_cells)).astype(np.int64)][:, None]
        queries = np.array(ann.cells.vectors[cells[:, 0]], np.float32)
        wanted, scores = ann.clusters_in(queries, cells)
        asked, probed = (torch.from_numpy(each).to(self._device) for each in (queries, cells))
        width = max(1, wanted.shape[2])
        for fewer in SELECTIONS[: SELECTIONS.index(_selection(width))]:
            self.score(asked[:1], probed[:1], fewer)  # while there is memory for their kernels
        found, own = (each.cpu().numpy() for each in self.score(asked, probed, width))
        there = wanted != NO_CLUSTER
        same = wanted.size == 0 or np.array_equal(np.sort(found, axis=2), np.sort(wanted, axis=2))
        if not (same and np.abs(own - scores, where=there, out=np.zeros(there.shape)).max(initial=0) < CLOSE):
            raise RuntimeError("FAISS finds something else there than on the processor")


def _selection(width: int) -> int:
    return next(most for most in SELECTIONS if width <= most)


def _bytes_of(ann: TwoStageIndex) -> int:
    """Return the memory that an index takes on a GPU."""
    blocks = int((-(-ann.list_sizes // BLOCK)).sum())
    entry = ann.entries.itemsize * ann.dim + 8
    return blocks * BLOCK * entry + 4 * ann.n_cells * ann.dim + SCRATCH_BYTES + SPARE_BYTES


def _check_device(device: "torch.device", needed: int) -> None:
    """Refuse a GPU on which FAISS would end the process.

    Raises:
        RuntimeError: if it is too old, or less than this is free on it.
    """
    import torch

    capability = torch.cuda.get_device_capability(device)
    if capability < LEAST_CAPABILITY:
        raise RuntimeError(f"it is built for compute capability 7.0 and up, not {capability[0]}.{capability[1]}")
    torch.cuda.empty_cache()  # what torch keeps for later counts as taken
    free, _ = torch.cuda.mem_get_info(device)
    if free < needed:
        raise RuntimeError(f"{free / 2**20:,.0f} MiB of it are free, and {needed / 2**20:,.0f} needed")


def _copied(ivf: Any, device: "torch.device") -> tuple[Any, Any]:
    """Return FAISS's resources of a GPU, and a copy of an index there."""
    import faiss

    resources: Any = faiss.StandardGpuResources()
    resources.setTempMemory(SCRATCH_BYTES)
    resources.setPinnedMemory(0)  # for copies from the processor, of which there are none
    options = faiss.GpuClonerOptions()
    options.use_cuvs = False  # which cannot search lists that are given
    return resources, faiss.index_cpu_to_gpu(resources, device.index, ivf, options)


def _follow(resources: Any, device: "torch.device") -> None:
    """Let FAISS work after what torch has begun on the device, and before what it begins next."""
    import faiss
    import torch

    gpu: Any = faiss  # whose types name what only builds for GPUs have in part
    stream = torch.cuda.current_stream(device)
    resources.setDefaultStream(device.index, gpu.cast_integer_to_cudastream_t(stream.cuda_stream))


def _floats(values: "torch.Tensor") -> Any:
    import faiss

    return faiss.cast_integer_to_float_ptr(values.data_ptr())


def _numbers(values: "torch.Tensor") -> Any:
    import faiss

    return faiss.cast_integer_to_idx_t_ptr(values.data_ptr())
