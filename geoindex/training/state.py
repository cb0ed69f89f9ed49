"""What learns and how it is saved: model, optimiser, running mean; in parts where processes share it out."""

from typing import Any

from torch import nn
from torch.optim import AdamW, Optimizer

from geoindex.recipe import Recipe
from geoindex.training import processes
from geoindex.training.checkpoints import Checkpoints, Position
from geoindex.training.learner import Learner
from geoindex.training.sharding import put_parts, shards_of, take_parts
from geoindex.training.weights import rates


class FitState:
    """Weights, moments, and the running mean of weights.

    Attributes:
        learner: what learns.
        optimiser: its moments.
        ema: running mean of its weights; None if there is none.
        shards: names of the weights of which this process has a part.
    """

    def __init__(self, learner: Learner, recipe: Recipe, checkpoints: Checkpoints) -> None:
        self.learner, self._checkpoints = learner, checkpoints
        self.optimiser: Optimizer = AdamW(rates(learner, recipe.training, recipe.finetuning))
        self.ema = _running_mean(learner, recipe.finetuning.ema)
        self.shards = shards_of(learner)

    @property
    def validated(self) -> Learner:
        """The weights that are validated and kept."""
        mean: Learner = self.learner if self.ema is None else self.ema.module
        return mean

    def save(self, position: Position) -> None:
        """Write the checkpoint; all processes call it together."""
        state, rank = self._state(), processes.rank()
        if self.shards and rank:
            self._checkpoints.save_part(position.step, rank, take_parts(state, self.shards, self._shard_numbers()))
        processes.wait()
        if rank == 0:
            self._checkpoints.save(position, state)
        processes.wait()

    def restore(self) -> Position | None:
        """Go back to the last checkpoint and return where it is; None if there is none."""
        found = self._checkpoints.load()
        if found is None:
            return None
        position, state = found
        if self.shards and processes.rank():
            put_parts(state, self._checkpoints.load_part(position.step, processes.rank()))
        self.learner.load_state_dict(state["learner"])
        self.optimiser.load_state_dict(state["optimiser"])
        if self.ema is not None:
            self.ema.load_state_dict(state["ema"])
        return position

    def keep_best(self, epoch: int) -> None:
        """Write the weights that were validated; the checkpoint that follows makes them the best."""
        rank, weights = processes.rank(), self.validated.state_dict()
        if rank == 0:
            self._checkpoints.save_best(epoch, weights)
        elif self.shards:
            self._checkpoints.save_best(epoch, {name: weights[name] for name in self.shards}, rank)

    def load_best(self, epoch: int) -> None:
        """Take the weights of the best epoch."""
        weights = self._checkpoints.load_best(epoch)
        if self.shards and processes.rank():
            weights |= self._checkpoints.load_best(epoch, processes.rank())
        self.validated.load_state_dict(weights)

    def _state(self) -> dict[str, Any]:
        state = {"learner": self.learner.state_dict(), "optimiser": self.optimiser.state_dict()}
        return state if self.ema is None else state | {"ema": self.ema.state_dict()}

    def _shard_numbers(self) -> list[int]:
        """Return the numbers in the optimiser of the weights of which this process has a part."""
        named = dict(self.learner.named_parameters())
        shards = [id(named[name]) for name in self.shards]
        order = [weights for group in self.optimiser.param_groups for weights in group["params"]]
        return [number for number, weights in enumerate(order) if id(weights) in shards]


def _running_mean(learner: nn.Module, decay: float) -> Any:
    if not decay:
        return None
    from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

    mean = AveragedModel(learner, multi_avg_fn=get_ema_multi_avg_fn(decay))  # type: ignore[no-untyped-call]
    return mean.requires_grad_(False)
