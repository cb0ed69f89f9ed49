"""The clusters of all cells on a GPU, and their inner products with queries: by FAISS where it can, else by torch."""

import logging
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from geoindex.ann import NO_CLUSTER, TwoStageIndex
from geoindex.ann.gpu_lists import GpuLists

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)


class DeviceLists(Protocol):
    """What scores clusters on a device."""

    def bytes_a_cell(self, width: int) -> int:
        """Return the memory that probing a cell for a query takes, with lists of up to `width` entries."""

    def score(
        self, queries: "torch.Tensor", cells: "torch.Tensor", width: int
    ) -> tuple["torch.Tensor", "torch.Tensor"]:
        """Return every cluster in the given cells of each query, (Q, k), and its inner product, each (Q, k, W).

        W is `width`, no less than the longest of these lists; `NO_CLUSTER` stands behind the last of the others.
        """


class TorchLists:
    """Clusters as they are stored, in the order of their cells; those of probed cells are gathered and multiplied."""

    def __init__(self, ann: TwoStageIndex, device: "torch.device") -> None:
        """Copy the lists of an index to a device.

        Raises:
            torch.OutOfMemoryError: if they do not fit.
            IndexDamagedError: if they are not what was written.
        """
        ids, vectors, sizes = ann.contents()
        self._ids, self._vectors, self._sizes = put(ids, device), put(vectors, device), put(sizes, device)
        self._starts = self._sizes.cumsum(0) - self._sizes

    def bytes_a_cell(self, width: int) -> int:
        """Return the memory that probing a cell for a query takes, with lists of up to `width` entries."""
        return width * (self._vectors.shape[1] * (self._vectors.element_size() + 4) + 12)

    def score(
        self, queries: "torch.Tensor", cells: "torch.Tensor", width: int
    ) -> tuple["torch.Tensor", "torch.Tensor"]:
        """Return every cluster in the given cells of each query, (Q, k), and its inner product, each (Q, k, W)."""
        import torch

        place = torch.arange(width, device=cells.device)
        rows = (self._starts[cells][..., None] + place).clamp(max=len(self._ids) - 1)
        found = self._ids[rows].masked_fill(place >= self._sizes[cells][..., None], NO_CLUSTER)
        entries = self._vectors[rows].flatten(1, 2).float()  # products of float16 would be rounded to that
        return found, torch.bmm(entries, queries.float()[..., None]).view(rows.shape)


def open_lists(ann: TwoStageIndex, device: "torch.device") -> DeviceLists:
    """Copy the lists of an index to a device.

    Raises:
        torch.OutOfMemoryError: if they do not fit.
        IndexDamagedError: if they are not what was written.
    """
    import faiss

    if device.type == "cuda" and faiss.get_num_gpus() > 0:
        try:
            return GpuLists(ann, device)
        except RuntimeError as error:
            log.info("FAISS does not search on %s (%s); torch does.", device, str(error).strip().partition("\n")[0])
    return TorchLists(ann, device)


def put(values: NDArray[Any], device: "torch.device") -> "torch.Tensor":
    """Copy an array to a device."""
    import torch

    return torch.from_numpy(np.require(values, requirements=["C", "A", "W"])).to(device)
