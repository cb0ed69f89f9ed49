"""One process or many (torchrun): which one this is, and what the others have.

Everything here is the identity where a process is alone, so the loop is written once.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, distributed

N = TypeVar("N", bound=np.generic)

PATIENCE = timedelta(hours=12)
"""How long the others wait for the first process, which alone reads and prepares."""


def rank() -> int:
    """Return the number of this process, 0 if it is alone."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def count() -> int:
    """Return how many processes train together."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def leads() -> bool:
    """Tell whether this process is alone or the first of those that torchrun started, also before they are joined."""
    return "LOCAL_RANK" not in os.environ or os.environ.get("RANK", "0") == "0"


@contextmanager
def joined(device: torch.device) -> Iterator[torch.device]:
    """Join the processes that torchrun started, if it did; yield the device of this one."""
    if "LOCAL_RANK" not in os.environ or distributed.is_initialized():
        yield device
        return
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE)
    try:
        yield device
    finally:
        distributed.destroy_process_group()


def wait() -> None:
    """Wait until all processes are here."""
    if count() > 1:
        distributed.barrier()


def any_of(flag: bool, device: torch.device) -> bool:
    """Tell whether one of the processes says so."""
    return most(int(flag), device) > 0


def most(number: int, device: torch.device) -> int:
    """Return the largest of the numbers of all processes."""
    if count() == 1:
        return number
    largest = torch.tensor(number, device=device)
    distributed.all_reduce(largest, distributed.ReduceOp.MAX)
    return int(largest)


def share_of_mean(losses: Tensor) -> Tensor:
    """Return what this process must answer for, so that the mean over processes is the mean over all losses, (B,)."""
    if count() == 1:
        return losses.mean() if len(losses) else losses.sum()
    total = torch.tensor(float(len(losses)), device=losses.device)
    distributed.all_reduce(total)
    return losses.sum() * count() / total.clamp(min=1.0)


def gather(rows: Tensor) -> tuple[Tensor, int]:
    """Return the rows of all processes, (B, ...) each, and where ours begin; gradients flow back to their owner."""
    if count() == 1:
        return rows, 0
    sizes = _sizes(rows)
    padded = torch.cat([rows, rows.new_zeros(max(sizes) - len(rows), *rows.shape[1:])])
    gathered: Tensor = _Gather.apply(padded)
    parts = [part[:size] for part, size in zip(gathered, sizes, strict=True)]
    return torch.cat(parts), sum(sizes[: rank()])


class _Gather(torch.autograd.Function):
    """Rows of equal shape, (B, ...), of all processes, (P, B, ...); torch's own that has gradients is deprecated."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        parts = [torch.empty_like(rows) for _ in range(count())]
        distributed.all_gather(parts, rows.contiguous())
        return torch.stack(parts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.contiguous()
        distributed.all_reduce(total)
        return total[rank()]


def mean(value: float, device: torch.device) -> float:
    """Return the mean over all processes."""
    if count() == 1:
        return value
    total = torch.tensor(value, device=device)
    distributed.all_reduce(total)
    return float(total) / count()


def gather_rows(rows: NDArray[N]) -> NDArray[N]:
    """Return the numbers of all processes, (N, ...) each, one after the other."""
    if count() == 1:
        return rows
    found: list[NDArray[N] | None] = [None] * count()
    distributed.all_gather_object(found, rows)
    return np.concatenate([part for part in found if part is not None])


def _sizes(rows: Tensor) -> list[int]:
    own = torch.tensor(len(rows), device=rows.device)
    found = [torch.zeros_like(own) for _ in range(count())]
    distributed.all_gather(found, own)
    return [int(size) for size in found]
