"""Geo-embeddings of more clusters than one device holds: each process has those of some cells, and lends them.

A step needs few of them: the clusters that its batch is told from. Their rows come from the processes that have them,
and their gradients go back there. Weights, gradients and moments of a row are in one process alone.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, distributed, nn
from torch.nn.functional import normalize

from geoindex.training import processes
from geoindex.training.classes import Rows
from geoindex.training.heads import GeoHead

WHOLE_BYTES = 8 * 2**30
"""Most bytes of rows, gradients and two moments that every process has all of."""

ROWS_NAME = "rows"
SENT_ROWS = 65_536
"""Rows that are sent at a time when the first process collects all: its device has no room for more."""


def cluster_head(rows: NDArray[np.float32], cell: Rows, scale: float) -> GeoHead:
    """Return the head of clusters, (M, dim), which are ordered by cell, (M,): shared out if it is large."""
    if processes.count() > 1 and 4 * rows.nbytes > WHOLE_BYTES:
        return ShardedGeoHead(rows, cell, scale)
    return GeoHead(rows, scale)


def shard_starts(cell: Rows, count: int) -> Rows:
    """Return where the clusters of each process start, (count + 1,): whole cells, and about as many clusters."""
    starts = np.append(np.flatnonzero(np.diff(cell, prepend=-1)), len(cell))
    wanted = np.linspace(0, len(cell), count + 1)
    return np.asarray(starts[np.searchsorted(starts, wanted)], np.int64)


class ShardedGeoHead(GeoHead):
    """Clusters as `GeoHead` has them, of which this process holds the rows of some cells.

    All processes call it together, in training and validation.

    Attributes:
        starts: where the clusters of each process start, (P + 1,).
        first, last: those of this one.
    """

    def __init__(self, rows: NDArray[np.float32], cell: Rows, scale: float) -> None:
        """Start from prototypes of all clusters, (M, dim), which are ordered by cell, (M,)."""
        starts = shard_starts(cell, processes.count())
        first, last = starts[processes.rank()], starts[processes.rank() + 1]
        super().__init__(rows[first:last], scale)
        self.starts, self.first, self.last = starts, int(first), int(last)

    def forward(self, embeddings: Tensor, classes: Tensor | None = None) -> Tensor:
        """Return logits of unit vectors (B, dim) for all classes (B, M), or for some, ascending, (B, len(classes))."""
        if classes is None:
            classes = torch.arange(int(self.starts[-1]), device=embeddings.device)
        return self.scale * (embeddings @ normalize(self._borrowed(classes), dim=1).T)

    def own_logits(self, embeddings: Tensor) -> Tensor:
        """Return logits of unit vectors (B, dim) for the clusters of this process, (B, last - first)."""
        return super().forward(embeddings)

    def geo_embeddings(self) -> NDArray[np.float32]:
        """Return the rows of all processes as unit vectors, (M, dim), in the first process; elsewhere its own."""
        own = normalize(self.rows.detach(), dim=1)
        if processes.rank():
            for first in range(0, len(own), SENT_ROWS):
                distributed.send(own[first : first + SENT_ROWS].contiguous(), 0)
            return own.cpu().numpy()
        found = [own.cpu().numpy()]
        for rank in range(1, processes.count()):
            for first in range(self.starts[rank], self.starts[rank + 1], SENT_ROWS):
                part = own.new_empty(min(SENT_ROWS, self.starts[rank + 1] - first), own.shape[1])
                distributed.recv(part, rank)
                found.append(part.cpu().numpy())
        return np.concatenate(found)

    def _borrowed(self, classes: Tensor) -> Tensor:
        """Return rows of any process, (K, dim), of classes that ascend, (K,)."""
        bounds = torch.from_numpy(self.starts).to(classes.device)
        asked = torch.diff(torch.searchsorted(classes, bounds)).tolist()
        lent = _exchange_counts(asked, classes.device)
        ids = classes.new_empty(sum(lent))
        distributed.all_to_all_single(ids, classes.contiguous(), lent, asked)
        rows: Tensor = _Lend.apply(self.rows[ids - self.first], lent, asked)
        return rows


def _exchange_counts(asked: list[int], device: torch.device) -> list[int]:
    """Return how many rows each process asks this one for, from how many it asks of each."""
    own = torch.tensor(asked, device=device)
    found = torch.empty_like(own)
    distributed.all_to_all_single(found, own)
    return [int(count) for count in found]


class _Lend(torch.autograd.Function):
    """Rows go to who asked for them; their gradients come back."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, lent: list[int], asked: list[int]) -> Tensor:
        ctx.lent, ctx.asked = lent, asked
        out = rows.new_empty(sum(asked), rows.shape[1])
        distributed.all_to_all_single(out, rows.contiguous(), asked, lent)
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        back = gradient.new_empty(sum(ctx.lent), gradient.shape[1])
        distributed.all_to_all_single(back, gradient.contiguous(), ctx.lent, ctx.asked)
        # each process answers for its part of a sum whose mean over processes counts; see share_of_mean
        return back / processes.count(), None, None


def shards_of(module: nn.Module) -> list[str]:
    """Return the names of the weights of which this process has a part."""
    heads = (name for name, part in module.named_modules() if isinstance(part, ShardedGeoHead))
    return [f"{name}.{ROWS_NAME}" for name in heads]


def clip_gradients(module: nn.Module, most: float) -> None:
    """Scale gradients so that their norm, over the parts of all processes, is at most so much."""
    shards = set(shards_of(module))
    learned = {name: weights for name, weights in module.named_parameters() if weights.grad is not None}
    whole = [weights.grad for name, weights in learned.items() if name not in shards and weights.grad is not None]
    norm = nn.utils.get_total_norm(whole)
    if shards:
        parts = [weights.grad for name, weights in learned.items() if name in shards and weights.grad is not None]
        squared = nn.utils.get_total_norm(parts).square().to(norm.device)
        distributed.all_reduce(squared)
        norm = (norm.square() + squared).sqrt()
    nn.utils.clip_grads_with_norm_(learned.values(), most, norm)


def take_parts(state: Mapping[str, Any], shards: list[str], numbers: list[int]) -> dict[str, Any]:
    """Return what of a state is this process's own.

    Args:
        state: of learner, optimiser and perhaps ema, as `state_dict` gives them.
        shards: names of the weights of which each process has a part.
        numbers: of these weights in the optimiser.
    """
    weights = {part: {name: state[part][name] for name in _names(part, shards)} for part in _modules(state)}
    moments = state["optimiser"]["state"]
    return weights | {"optimiser": {number: moments[number] for number in numbers if number in moments}}


def put_parts(state: Mapping[str, Any], parts: Mapping[str, Any]) -> None:
    """Put what `take_parts` took into a state, in the place of another process's."""
    for part in _modules(state):
        state[part].update(parts[part])
    state["optimiser"]["state"].update(parts["optimiser"])


def _modules(state: Mapping[str, Any]) -> Iterator[str]:
    return (part for part in ("learner", "ema") if part in state)


def _names(part: str, shards: list[str]) -> list[str]:
    return [f"module.{name}" if part == "ema" else name for name in shards]
