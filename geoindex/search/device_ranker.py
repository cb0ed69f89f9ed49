"""The same ranking on a GPU, for indexes whose encoder computes there: both stages, up to sorted candidates.

Geo-embeddings are copied to the device once. The cells are one matrix product; their clusters are `device_lists`.
"""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geoindex.ann import TwoStageIndex
from geoindex.encoder.device import Vectors, full_precision, is_full, to_host
from geoindex.encoder.process import check_process
from geoindex.search.device_lists import DeviceLists, open_lists, put
from geoindex.search.first_stage import LEAST
from geoindex.search.posterior import TINY, Breadth, Ranker, Ranking

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

CHUNK_BYTES = 2**28
"""Memory for what is computed at once, of the cells and of the clusters in them."""

CELL_BYTES, ENTRY_BYTES = 32, 64
"""What a query takes for a cell, and for an entry of a probed one, in numbers on the way to its ranking."""


@dataclass(frozen=True, slots=True)
class Copies:
    """Geo-embeddings on a device.

    Attributes:
        cells: (C, D).
        lists: the clusters of each.
    """

    cells: "torch.Tensor"
    lists: DeviceLists

    @classmethod
    def of(cls, ann: TwoStageIndex, device: "torch.device") -> "Copies":
        """Copy those of an index.

        Raises:
            torch.OutOfMemoryError: if they do not fit.
            IndexDamagedError: if they are not what was written.
        """
        cells = put(ann.cells.vectors, device)
        return cls(cells, open_lists(ann, cells.device))  # the device with its number


class DeviceRanker:
    """Ranks clusters for queries on a device, as `Ranker` does, and on the processor if it is full; safe in threads."""

    def __init__(self, ranker: Ranker, copies: Copies | None) -> None:
        """Rank with copies of the geo-embeddings of a ranker; None: there was no room for them."""
        self._ranker, self._copies = ranker, copies
        if copies is not None:
            self._cell_weight = put(ranker.weights.cell, copies.cells.device)
            self._weight = put(ranker.weights.cluster, copies.cells.device)

    @classmethod
    def on(cls, device: str, ranker: Ranker) -> "DeviceRanker":
        """Return what ranks on a device, to which it copies the geo-embeddings of a ranker.

        Raises:
            IndexDamagedError: if they are not what was written.
            ForkError: if the process that this one was forked from has computed features.
        """
        import torch

        check_process()
        return cls._fitting(ranker, lambda: Copies.of(ranker.ann, torch.device(device)))

    def weighing(self, ranker: Ranker) -> "DeviceRanker":
        """Return one with the weights of another ranker of the same geo-embeddings, which are not copied again."""
        return self._fitting(ranker, lambda: self._copies)

    @classmethod
    def _fitting(cls, ranker: Ranker, copy: Callable[[], Copies | None]) -> "DeviceRanker":
        try:
            return cls(ranker, copy())
        except RuntimeError as error:
            _say_full(error)
        return cls(ranker, None)

    def rank(self, queries: Vectors, breadth: Breadth) -> list[Ranking]:
        """Rank the clusters of the most probable cells for each query, (Q, D) unit vectors.

        Args:
            queries: here or on the device.
            breadth: how far to look.
        """
        import torch

        if self._copies is None:
            return self._ranker.rank(to_host(queries), breadth)
        try:
            with torch.inference_mode(), full_precision(self._copies.cells.device):
                return self._rank_all(queries, self._copies, breadth)
        except RuntimeError as error:
            _say_full(error)
        return self._ranker.rank(to_host(queries), breadth)

    def _rank_all(self, queries: Vectors, there: Copies, breadth: Breadth) -> list[Ranking]:
        import torch

        asked = queries if isinstance(queries, torch.Tensor) else put(queries, there.cells.device)
        runs = _runs(len(asked), CHUNK_BYTES // (CELL_BYTES * len(there.cells)))
        return [ranking for rows in runs for ranking in self._rank(asked[rows].float(), there, breadth)]

    def _rank(self, queries: "torch.Tensor", there: Copies, breadth: Breadth) -> list[Ranking]:
        import torch

        logits = self._ranker.scales.cell * (queries @ there.cells.T) + self._cell_weight
        cells, log_p = self._probed(logits, breadth)
        longest = self._ranker.ann.list_sizes[cells.cpu().numpy()].max(axis=1, initial=1)  # (Q,)
        widest = int(longest.max())
        a_query = cells.shape[1] * (there.lists.bytes_a_cell(widest) + ENTRY_BYTES * widest)
        found = []
        for rows in _runs(len(queries), CHUNK_BYTES // a_query):
            ids, scores = there.lists.score(queries[rows], cells[rows], int(longest[rows].max()))  # (q, k, W)
            found.append(self._ordered(ids, scores, log_p[rows]))
        total = torch.logsumexp(logits.double(), dim=1).tolist()
        ranked = [one for part in found for one in zip(*part, strict=True)]
        return [
            self._ranking(*one, row, one_total)
            for one, row, one_total in zip(ranked, logits.cpu().numpy(), total, strict=True)
        ]

    def _probed(self, logits: "torch.Tensor", breadth: Breadth) -> tuple["torch.Tensor", "torch.Tensor"]:
        """Return the best cells by falling probability and its logarithm, each (Q, k): -inf for those left out."""
        best = logits.log_softmax(dim=1).topk(min(breadth.top_cells, logits.shape[1]), dim=1)
        p = best.values.double().exp()
        left_out = (p.cumsum(dim=1) - p >= breadth.top_p) & (breadth.top_p < 1.0)
        return best.indices, best.values.double().masked_fill(left_out, -np.inf)

    def _ordered(
        self, ids: "torch.Tensor", scores: "torch.Tensor", log_cells: "torch.Tensor"
    ) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        """Return clusters, their cosines and log p, each (q, k W), by falling log p.

        Args:
            ids: clusters of the probed cells, (q, k, W).
            scores: their cosines.
            log_cells: log p of those cells, (q, k).
        """
        logits = self._ranker.scales.cluster * scores.double() + self._weight[ids.clamp(min=0)]
        logits = logits.masked_fill(ids < 0, -np.inf)
        logits = logits - logits.amax(dim=2, keepdim=True).clamp(min=float(LEAST))
        within = logits - logits.exp().sum(dim=2, keepdim=True).clamp(min=float(TINY)).log()
        log_p, order = (within + log_cells[..., None]).flatten(1).sort(dim=1, descending=True, stable=True)
        ids, scores = ids.flatten(1).gather(1, order), scores.flatten(1).gather(1, order)
        return ids.cpu().numpy(), scores.cpu().numpy(), log_p.cpu().numpy()

    def _ranking(
        self, ids: NDArray[np.int64], scores: NDArray[np.float32], log_p: NDArray[np.float64],
        logits: NDArray[np.float32], total: float,
    ) -> Ranking:  # fmt: skip
        count = int(np.isfinite(log_p).sum())
        ranker, p = self._ranker, np.exp(log_p[:count])
        return Ranking(ids[:count], scores[:count], p, logits, total, ranker.geography, ranker.open_nats)


def _runs(count: int, length: int) -> Iterator[slice]:
    step = max(1, length)
    return (slice(start, start + step) for start in range(0, count, step))


def _say_full(error: RuntimeError) -> None:
    if not is_full(error):
        raise error
    log.warning("No room to search on the GPU (%s); the processor does.", str(error).partition(".")[0])
