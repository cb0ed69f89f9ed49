"""The same ranking on a GPU: both stages as matrix products of torch, for indexes whose encoder computes there.

Geo-embeddings are copied to the device once, clusters as float16 in the order of their cells. FAISS has a GPU index
too, but hands out 2048 entries at most, and wants a copy of its own.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geoindex.search.posterior import LEAST, TINY, Breadth, Ranker, Ranking

if TYPE_CHECKING:
    import torch

CHUNK_BYTES = 2**28
"""Geo-embeddings that are gathered at once."""


class DeviceRanker:
    """Ranks clusters for queries on a device, as `Ranker` does; safe in threads."""

    def __init__(self, ranker: Ranker, device: str) -> None:
        """Copy the geo-embeddings of a ranker to a device."""
        import torch

        ids, vectors, sizes = ranker.ann.contents()
        self._ranker, self._device = ranker, torch.device(device)
        self._cells = self._put(ranker.ann.cells.vectors)
        self._ids, self._vectors, self._sizes = self._put(ids), self._put(vectors.astype(np.float16)), self._put(sizes)
        self._starts = self._sizes.cumsum(0) - self._sizes
        self._cell_weight, self._weight = self._put(ranker.weights.cell), self._put(ranker.weights.cluster)

    def _put(self, values: NDArray[Any]) -> "torch.Tensor":
        import torch

        return torch.from_numpy(np.require(values, requirements=["C", "A", "W"])).to(self._device)

    def rank(self, queries: "NDArray[np.float32] | torch.Tensor", breadth: Breadth) -> list[Ranking]:
        """Rank the clusters of the most probable cells for each query, (Q, D) unit vectors, here or on the device."""
        import torch

        asked = queries if isinstance(queries, torch.Tensor) else self._put(queries)
        with torch.inference_mode():
            logits = self._ranker.scales.cell * (asked.float() @ self._cells.T) + self._cell_weight
            cells, log_p = self._probed(logits, breadth)
            parts = [self._candidates(asked[rows], cells[rows], log_p[rows]) for rows in self._chunks(cells)]
            total = torch.logsumexp(logits.double(), dim=1)
        found = [[one.cpu().numpy() for one in query] for part in parts for query in zip(*part, strict=True)]
        return [
            self._ranking(found[q], row, one_total)
            for q, (row, one_total) in enumerate(zip(logits.cpu().numpy(), total.tolist(), strict=True))
        ]

    def _probed(self, logits: "torch.Tensor", breadth: Breadth) -> tuple["torch.Tensor", "torch.Tensor"]:
        """Return the best cells by falling probability and its logarithm, each (Q, k): -inf for those left out."""
        best = logits.log_softmax(dim=1).topk(min(breadth.top_cells, logits.shape[1]), dim=1)
        p = best.values.double().exp()
        left_out = (p.cumsum(dim=1) - p >= breadth.top_p) & (breadth.top_p < 1.0)
        return best.indices, best.values.double().masked_fill(left_out, -np.inf)

    def _chunks(self, cells: "torch.Tensor") -> Iterator[slice]:
        """Yield runs of queries whose geo-embeddings fit into the memory that is meant for them."""
        width = max(1, int(self._sizes[cells].max())) if cells.numel() else 1
        step = max(1, CHUNK_BYTES // (cells.shape[1] * width * self._vectors.shape[1] * 2))
        return (slice(start, start + step) for start in range(0, len(cells), step))

    def _candidates(
        self, queries: "torch.Tensor", cells: "torch.Tensor", log_cells: "torch.Tensor"
    ) -> tuple["torch.Tensor", "torch.Tensor", "torch.Tensor"]:
        """Return all clusters of the probed cells, their cosines and log p, each (q, k W), by falling log p."""
        import torch

        place = torch.arange(int(self._sizes[cells].max()), device=self._device)
        rows = (self._starts[cells][..., None] + place).clamp(max=len(self._ids) - 1)  # (q, k, W)
        ids = self._ids[rows]
        entries = self._vectors[rows].flatten(1, 2)
        scores = torch.bmm(entries, queries.to(entries.dtype)[..., None])[..., 0].float().view(rows.shape)
        logits = self._ranker.scales.cluster * scores.double() + self._weight[ids]
        logits = logits.masked_fill(place >= self._sizes[cells][..., None], -np.inf)
        logits = logits - logits.amax(dim=2, keepdim=True).clamp(min=float(LEAST))
        within = logits - logits.exp().sum(dim=2, keepdim=True).clamp(min=float(TINY)).log()
        log_p, order = (within + log_cells[..., None]).flatten(1).sort(dim=1, descending=True, stable=True)
        return ids.flatten(1).gather(1, order), scores.flatten(1).gather(1, order), log_p

    def _ranking(self, found: list[NDArray[Any]], logits: NDArray[np.float32], total: float) -> Ranking:
        ids, scores, log_p = found
        count = int(np.isfinite(log_p).sum())
        return Ranking(ids[:count], scores[:count], np.exp(log_p[:count]), logits, total, self._ranker.geography)
