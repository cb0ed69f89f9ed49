"""An encoder alone: a recipe in, fine-tuned weights in a folder out."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geoindex.assembly.finetuning import finetune, unread_images
from geoindex.assembly.report import Published
from geoindex.assembly.sizes import Extent, require_tuning_room
from geoindex.distributed.executor import LOCAL, executing
from geoindex.errors import ConfigError
from geoindex.pipeline import default_folder, read_samples, resolve_recipe
from geoindex.progress import Stages
from geoindex.recipe import Recipe
from geoindex.sources import open_source
from geoindex.sources.source import left_out_lines
from geoindex.store.address import folder_of
from geoindex.store.lock import locked
from geoindex.training.tuned import read_heads

if TYPE_CHECKING:
    from geoindex.encoder import Encoder


@dataclass(frozen=True, slots=True)
class TuningReport(Published):
    """How a fit went.

    Attributes:
        path: folder of the encoder; name it as the encoder of an index.
        best_epoch: the one that was kept; 0 is the encoder as it was.
        history: epoch, loss, median_km, geoscore (validation), images_per_s and the share of time spent waiting for
            images, one row an epoch.
        left_out: samples that it saw nothing of: count and examples by reason.
    """

    path: Path
    best_epoch: int
    history: list[dict[str, Any]]
    left_out: dict[str, Any]

    def to_text(self) -> str:
        """Return the epochs as a table."""
        header = f"  {'epoch':>5}{'loss':>10}{'median km':>12}{'GeoScore':>10}{'images/s':>10}{'waiting %':>11}"
        lines = [_line(row, row["epoch"] == self.best_epoch) for row in self.history]
        note = "* kept: the best GeoScore of the most probable cluster on validation"
        build = f"build an index with it: geoindex build RECIPE --encoder {self.path} --training.method images"
        if self.best_epoch == 0:
            build = "no epoch was better than the start, so the encoder is as it was; more epochs or photos may help"
        return "\n".join([header, *lines, "", note, *left_out_lines(self.left_out), build])


def train_encoder(
    source: str | PathLike[str] | Recipe,
    *,
    out: str | PathLike[str] | None = None,
    executor: str = LOCAL,
    **keys: Any,
) -> TuningReport:
    """Fine-tune an encoder on geotagged images, or go on with a run that was stopped.

    Args:
        source: a source (see `Recipe.source`), a recipe file (.toml), or a recipe.
        out: folder for checkpoints, metrics.jsonl, curves.png and, at the end, the encoder; None: the recipe's, else
            as for an index, with -encoder behind it.
        executor: where it learns, as for `build_index`; on Ray, one process for each GPU.
        keys: keys of the recipe that override it; training.method is images.

    Raises:
        IndexLockedError: if another process trains in this folder.
        GeoindexError: if anything else fails; the last checkpoint stays.
        KeyboardInterrupt: after Ctrl-C, once the checkpoint is written.
    """
    from geoindex.encoder import choose_encoder

    recipe = resolve_recipe(source, keys)
    recipe = replace(recipe, training=replace(recipe.training, method="images"))
    folder = folder_of(out or recipe.out or f"{default_folder(source, recipe)}-encoder")
    opened = open_source(recipe.source, columns=recipe.columns)
    samples, split, left_out = read_samples(opened, recipe)
    encoder = choose_encoder(recipe.encoder, recipe.encoding, recipe.weights)
    extent = Extent.of(samples, split, encoder.dim)
    with _writing(folder, extent, encoder, recipe), executing(executor, Stages()) as heavy:
        fit = partial(finetune, opened, samples, split, recipe=recipe, folder=folder.absolute())
        path = heavy.joined(fit, encoder, folder, recipe.training.epochs)
    heads = read_heads(path)
    if heads is None:
        raise ConfigError(f"The encoder in '{path}' has no heads; delete '{folder}' and train again.")
    left_out.absorb(unread_images(opened, samples, encoder, folder))
    return TuningReport(path, heads.best_epoch, heads.history, left_out.to_dict())


@contextmanager
def _writing(folder: Path, extent: Extent, encoder: "Encoder", recipe: Recipe) -> Iterator[None]:
    """Hold the right to write into a folder with room for a fit; of torchrun's processes the first does it for all."""
    from geoindex.training.processes import leads

    if not leads():
        yield
        return
    require_tuning_room(folder, extent, encoder, recipe)
    with locked(folder):
        yield


def _line(row: Mapping[str, Any], kept: bool) -> str:
    def cell(key: str, form: str, width: int, factor: float = 1.0) -> str:
        value = row.get(key)
        return ("-" if value is None else format(factor * value, form)).rjust(width)

    figures = cell("loss", ".3f", 10) + cell("median_km", ",.0f", 12) + cell("geoscore", ",.0f", 10)
    speed = cell("images_per_s", ",.0f", 10) + cell("waited", ".1f", 11, 100.0)
    return f"{'*' if kept else ' '} {row['epoch']:>5}{figures}{speed}"
