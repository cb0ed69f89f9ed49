"""The state of a fit on the disk: whole or not there, so that a killed run goes on where it was."""

import io
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from geoindex.errors import ConfigError
from geoindex.store.durable import storage_errors, write_durably

STATE_FILE = "checkpoint.pt"
BEST = "best-{:04d}.pt"
PART, BEST_PART = "part-{:08d}-{}.pt", "best-{:04d}-{}.pt"
"""What a further process has of a checkpoint, by step and rank, and of the weights of the best epoch."""


@dataclass
class Position:
    """Where a fit is.

    Attributes:
        epoch: the running one, from 1.
        batch: batches of it that are done.
        step: steps of the optimiser so far.
        losses: sum and number of the losses of the running epoch.
        history: one row a finished epoch; row 0 is the start.
        best_epoch: the one with the best validation.
        seconds: time that was spent training.
    """

    epoch: int = 1
    batch: int = 0
    step: int = 0
    losses: tuple[float, int] = (0.0, 0)
    history: list[dict[str, Any]] = field(default_factory=list)
    best_epoch: int = 0
    seconds: float = 0.0


class Checkpoints:
    """One checkpoint and the weights of the best epoch, in a folder."""

    def __init__(self, folder: Path, key: str) -> None:
        """Take a folder, and what identifies the fit: a checkpoint of another one is refused."""
        self.folder, self.key = folder, key
        with storage_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)

    def save(self, position: Position, state: dict[str, Any]) -> None:
        """Replace the checkpoint; it is on the disk when this returns. The parts of its step are there before."""
        self._write(STATE_FILE, {"key": self.key, "position": asdict(position), **state})
        kept = BEST.format(position.best_epoch)[:-3], PART.format(position.step, "")[:-3]
        for path in (*self.folder.glob("best-*.pt"), *self.folder.glob("part-*.pt")):
            if not path.name.startswith(kept):
                path.unlink()

    def save_part(self, step: int, rank: int, part: dict[str, Any]) -> None:
        """Write what a further process has of the checkpoint of a step, which the first one writes afterwards."""
        self._write(PART.format(step, rank), part)

    def load_part(self, step: int, rank: int) -> dict[str, Any]:
        """Return what `save_part` wrote."""
        return self._read(PART.format(step, rank))

    def load(self) -> tuple[Position, dict[str, Any]] | None:
        """Return the last checkpoint, or None if there is none.

        Raises:
            ConfigError: if it is of another fit, or damaged.
        """
        path = self.folder / STATE_FILE
        if not path.exists():
            return None
        cure = f"delete '{self.folder}' to start anew, or take another folder"
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # torch raises many kinds on damaged files
            raise ConfigError(f"The checkpoint '{path}' cannot be read; {cure}.") from error
        if state.pop("key") != self.key:
            raise ConfigError(f"'{self.folder}' holds a fit with another recipe, source or encoder; {cure}.")
        position = Position(**state.pop("position"))
        position.losses = (position.losses[0], position.losses[1])
        return position, state

    def save_best(self, epoch: int, weights: dict[str, Any], rank: int = 0) -> None:
        """Write the weights of an epoch that a process has; the checkpoint that follows makes them the best."""
        self._write(BEST_PART.format(epoch, rank) if rank else BEST.format(epoch), weights)

    def load_best(self, epoch: int, rank: int = 0) -> dict[str, Any]:
        """Return the weights of the best epoch that a process has."""
        return self._read(BEST_PART.format(epoch, rank) if rank else BEST.format(epoch))

    def _read(self, name: str) -> dict[str, Any]:
        state: dict[str, Any] = torch.load(self.folder / name, map_location="cpu", weights_only=True)
        return state

    def _write(self, name: str, data: dict[str, Any]) -> None:
        buffer = io.BytesIO()
        torch.save(data, buffer)
        with storage_errors(self.folder):
            write_durably(self.folder / name, buffer.getvalue())
