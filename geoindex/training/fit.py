"""The loop: images in, a fine-tuned encoder and its geo-embeddings out (paper section 4).

Plain PyTorch, one process or many. What a step does follows from seed, epoch and batch alone, so a fit that was
killed goes on as if it had not been.
"""

import hashlib
import json
import logging
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from geoindex.encoder.device import BATCH_SIZE, choose_training_dtype
from geoindex.progress import Progress
from geoindex.recipe import Recipe
from geoindex.training import processes
from geoindex.training.augmentation import vary
from geoindex.training.checkpoints import Checkpoints, Position
from geoindex.training.classes import Floats, Rows, Truth
from geoindex.training.divergence import all_finite, require_finite_loss, require_finite_weights
from geoindex.training.journal import Journal
from geoindex.training.learner import Batch, Learner
from geoindex.training.order import epoch_order
from geoindex.training.pixels import PixelReader, Read
from geoindex.training.schedule import rate_at
from geoindex.training.sharding import clip_gradients
from geoindex.training.state import FitState
from geoindex.training.stopping import StopRequest, listening

log = logging.getLogger(__name__)

TELL_EVERY = 20
"""Steps between two rows of the journal."""

CURE = "lower training.lr and finetuning.lr, or take finetuning.dtype float32"


@dataclass(frozen=True, slots=True)
class LabelledImages:
    """Images that are fitted or validated on.

    Attributes:
        rows: of the reader, (N,).
        truth: where they were taken.
        place: number of the place of each, (N,).
        labels: class by auxiliary target, (N,) each, -1 where unknown.
        share: probability with which each is drawn, (N,); None for once an epoch.
    """

    rows: Rows
    truth: Truth
    place: Rows
    labels: Mapping[str, Rows]
    share: Any = None


@dataclass(frozen=True, slots=True)
class FitJob:
    """All that a fit works with.

    Attributes:
        learner: what learns.
        origin: fingerprint of the encoder that it starts from.
        reader: hands out prepared images.
        gallery: what is learned from.
        validation: what chooses the epoch; if it is empty, the last one is taken.
        recipe: its training, finetuning, seed, and the batch size of its encoding.
    """

    learner: Learner
    origin: str
    reader: PixelReader
    gallery: LabelledImages
    validation: LabelledImages
    recipe: Recipe

    def key(self) -> str:
        """Return what tells this fit from others, hex."""
        facts: dict[str, Any] = {"training": asdict(self.recipe.training), "finetuning": asdict(self.recipe.finetuning)}
        for free in ("workers", "cache_gib", "checkpoint_minutes"):
            del facts["finetuning"][free]
        facts |= {"seed": self.recipe.seed, "encoder": self.origin, "processes": processes.count()}
        digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
        for part in (self.gallery, self.validation):
            for values in (part.rows, part.truth.lat, part.truth.lon, part.truth.cell, part.truth.cluster):
                digest.update(np.ascontiguousarray(values).data)
        return digest.hexdigest()


class ImageFit:
    """Model, optimiser and state of one fit."""

    def __init__(self, job: FitJob, device: torch.device, folder: Path) -> None:
        self.job, self.device, self.folder = job, device, folder
        self.training, self.tuning = job.recipe.training, job.recipe.finetuning
        self.learner = job.learner.to(device)
        if device.type == "cuda":
            self.learner.to(memory_format=torch.channels_last)
        if self.tuning.compile:
            self.learner.backbone.compile()
        self.dtype = choose_training_dtype(self.tuning.dtype, device)
        self.state = FitState(self.learner, job.recipe, Checkpoints(folder, job.key()))
        self.model = self._distributed()
        self.position = Position()
        self._at = np.full(len(job.reader.prepared), -1)
        self._at[job.gallery.rows] = np.arange(len(job.gallery.rows))
        self._saved = perf_counter()
        self._sum, self._count = torch.zeros((), dtype=torch.float64, device=device), 0

    def _distributed(self) -> nn.Module:
        if processes.count() == 1:
            return self.learner
        devices = [self.device.index] if self.device.type == "cuda" else None
        parallel = nn.parallel.DistributedDataParallel
        parallel._set_params_and_buffers_to_ignore_for_model(self.learner, self.state.shards)  # type: ignore[no-untyped-call]
        return parallel(self.learner, device_ids=devices)

    @property
    def validated(self) -> Learner:
        """The weights that are validated and kept."""
        return self.state.validated

    def run(self) -> Position:
        """Fit, or go on with a fit that was stopped; the learner then has the weights of the best epoch.

        Raises:
            KeyboardInterrupt: after Ctrl-C, once the checkpoint is written.
            SystemExit: after SIGTERM, likewise.
            TrainingError: if the loss or the weights are NaN or infinite.
        """
        with torch.random.fork_rng(devices=[self.device.index or 0] if self.device.type == "cuda" else []):
            self._restore()
            journal = Journal(self.folder, self.position.step) if processes.rank() == 0 else None
            total = self.training.epochs * len(self.job.gallery.rows)
            with listening() as stop, Progress("fine-tuning", total, "image", self._seen_images()) as bar:
                if not self.position.history:
                    self._start()
                while not self._finished():
                    self._epoch(journal, stop, bar)
            if journal:
                journal.close(self.position.history)
        self.state.load_best(self.position.best_epoch)
        return self.position

    def _seen_images(self) -> int:
        batch = self.training.places * self.training.images
        return (self.position.epoch - 1) * len(self.job.gallery.rows) + self.position.batch * batch

    def _finished(self) -> bool:
        position = self.position
        stale = position.epoch - 1 - position.best_epoch >= self.training.patience
        return position.epoch > self.training.epochs or (stale and len(self.job.validation.rows) > 0)

    def _start(self) -> None:
        self.position.history.append({"epoch": 0, "loss": None, **self.validate()})
        self._keep_best(0)
        self._save()

    def _epoch(self, journal: Journal | None, stop: StopRequest, bar: Progress) -> None:
        """Take the steps that are left of an epoch, validate, and save."""
        started, waited, images = perf_counter(), 0.0, 0
        order = self._order()
        self.model.train()
        self.learner.backbone.train(self.tuning.weights != "frozen")
        left = [self.job.gallery.rows[self._own(rows)] for rows in order[self.position.batch :]]
        asked = perf_counter()
        for read in self.job.reader.batches(left):
            waited += perf_counter() - asked
            images += len(read.rows)
            self._learn(read, len(order))
            bar.advance(len(read.rows) * processes.count())
            self._tell_step(journal)
            self._pause(stop)
            asked = perf_counter()
        seconds = perf_counter() - started
        speed = {"images_per_s": images * processes.count() / seconds, "waited": waited / seconds}
        loss = self._finite_loss()
        row = {"epoch": self.position.epoch, "loss": loss, **self.validate(), **speed}
        self.position.seconds += perf_counter() - started
        self._close_epoch(row, journal)

    def _finite_loss(self) -> float:
        """Return the mean loss of the epoch over all processes, which refuse it and its weights together."""
        loss, epoch = processes.mean(self._mean_loss(), self.device), self.position.epoch
        require_finite_loss(loss, epoch, CURE)
        broken = processes.any_of(not all_finite(self.learner.parameters()), self.device)
        require_finite_weights(not broken, epoch, CURE)
        return loss

    def _mean_loss(self) -> float:
        """Return the mean over the running epoch so far."""
        total, count = self.position.losses
        return (total + float(self._sum)) / max(1, count + self._count)

    def _order(self) -> list[Rows]:
        """Return the batches of the epoch that all processes can share."""
        training, gallery, seed = self.training, self.job.gallery, self.job.recipe.seed
        order = epoch_order(gallery.truth, gallery.share, training.places, training.images, seed, self.position.epoch)
        return [rows for rows in order if len(rows) >= processes.count()]

    def _own(self, rows: Rows) -> Rows:
        """Return what this process does of a batch."""
        own: Rows = np.array_split(rows, processes.count())[processes.rank()]
        return own

    def _learn(self, read: Read, batches: int) -> None:
        """Add the gradient of a batch, and take a step when enough batches are together."""
        position = self.position
        seeds = [self.job.recipe.seed, position.epoch, position.batch, processes.rank()]
        random = np.random.default_rng(seeds)
        torch.manual_seed(int(random.integers(2**62)))
        together = (position.batch + 1) % self.tuning.accumulate == 0 or position.batch + 1 == batches
        alone = self.model.no_sync if processes.count() > 1 and not together else nullcontext
        with alone():  # type: ignore[operator]
            loss = self._loss(read, random)
            torch.autograd.backward(loss / self.tuning.accumulate)
        self._sum += loss.detach()
        self._count += 1
        position.batch += 1
        if together:
            self._step((position.epoch - 1 + position.batch / batches) / self.training.epochs)

    def _loss(self, read: Read, random: np.random.Generator) -> Tensor:
        gallery, at = self.job.gallery, self._at[read.rows]
        labels = {name: classes[at] for name, classes in gallery.labels.items()}
        batch = Batch(read.pixels, gallery.truth.take(at), gallery.place[at], labels)
        pixels = vary(self._to_device(read.pixels), self.tuning.augment, random)
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            loss: Tensor = self.model(pixels, batch, random)
        return loss

    def _to_device(self, pixels: Tensor) -> Tensor:
        moved = pixels.to(self.device, non_blocking=True)
        return moved.contiguous(memory_format=torch.channels_last) if self.device.type == "cuda" else moved

    def _step(self, share: float) -> None:
        for group in self.state.optimiser.param_groups:
            group["lr"] = group["base"] * rate_at(share, self.tuning.warm_up)
        clip_gradients(self.learner, self.training.clip)
        self.state.optimiser.step()
        self.state.optimiser.zero_grad(set_to_none=True)
        if self.state.ema is not None:
            self.state.ema.update_parameters(self.learner)
        self.position.step += 1

    def _tell_step(self, journal: Journal | None) -> None:
        position = self.position
        if position.step % TELL_EVERY or position.batch % self.tuning.accumulate:
            return
        loss = self._mean_loss()
        require_finite_loss(loss, position.epoch, CURE)
        if journal:
            learning_rate = float(self.state.optimiser.param_groups[-1]["lr"])
            journal.tell({"step": position.step, "epoch": position.epoch, "loss": loss, "lr": learning_rate})

    def _pause(self, stop: StopRequest) -> None:
        """Save what is due; leave if somebody asked for it."""
        if self.position.batch % self.tuning.accumulate:
            return  # gradients that wait for others are in no checkpoint
        leaving = processes.any_of(bool(stop), self.device)
        late = perf_counter() - self._saved > 60.0 * self.tuning.checkpoint_minutes
        if leaving or processes.any_of(late, self.device):
            self._save()
        if leaving:
            log.warning("Stopped in epoch %d; the same command goes on from there.", self.position.epoch)
            stop.leave()

    def _close_epoch(self, row: dict[str, Any], journal: Journal | None) -> None:
        position = self.position
        position.history.append(row)
        if journal:
            journal.tell({"step": position.step, **row})
        best = position.history[position.best_epoch]["geoscore"]
        if row["geoscore"] is None or row["geoscore"] > best:
            self._keep_best(position.epoch)
        position.epoch, position.batch, position.losses = position.epoch + 1, 0, (0.0, 0)
        self._sum.zero_()
        self._count = 0
        self._save()

    def _keep_best(self, epoch: int) -> None:
        self.position.best_epoch = epoch
        self.state.keep_best(epoch)

    def validate(self) -> dict[str, float | None]:
        """Return median km and GeoScore of the answers on validation."""
        validation = self.job.validation
        rows, found = self.answers(validation.rows)
        place = np.full(len(self._at), -1)
        place[validation.rows] = np.arange(len(validation.rows))
        return validation.truth.take(place[rows]).errors(found[:, 0], found[:, 1])

    @torch.no_grad()
    def answers(self, wanted: Rows) -> tuple[Rows, Floats]:
        """Return the rows among these that could be read, (n,), and where they were taken in degrees, (n, 2)."""
        learner = self.validated
        learner.eval()
        own = wanted[self._own(np.arange(len(wanted)))]
        size = self.job.recipe.encoding.batch_size or BATCH_SIZE  # what is learned takes memory too
        rows, found = [np.zeros(0, np.int64)], [np.zeros((0, 2))]
        batches = [own[first : first + size] for first in range(0, len(own), size)]
        # where clusters are shared out, all answer together, as often as who has most
        batches += [own[:0]] * (processes.most(len(batches), self.device) - len(batches))
        for read in self.job.reader.batches(batches):
            if len(read.rows) == 0 and not self.state.shards:
                continue
            with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
                found.append(learner.answers(self._to_device(read.pixels)))
            rows.append(read.rows)
        return processes.gather_rows(np.concatenate(rows)), processes.gather_rows(np.concatenate(found))

    def _save(self) -> None:
        position = self.position
        total, count = position.losses
        # the first process's checkpoint is that of all: the mean of their sums goes on alike in each
        position.losses = (processes.mean(total + float(self._sum), self.device), count + self._count)
        self._sum.zero_()
        self._count = 0
        self.state.save(position)
        self._saved = perf_counter()

    def _restore(self) -> None:
        self.position = self.state.restore() or self.position
