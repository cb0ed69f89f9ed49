"""An encoder that computes without torch, out of an export that was compared with it."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from geoindex.encoder.backends import BACKENDS, EXACT, Compute, graphs_of
from geoindex.encoder.device import choose_batch_size
from geoindex.encoder.encoder import Encoder
from geoindex.encoder.export_record import ExportRecord
from geoindex.encoder.process import check_process
from geoindex.errors import EncoderError
from geoindex.recipe import EncoderRecipe

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)


class ExportedBackbone:
    """The forward pass of an export. Safe in threads.

    Attributes:
        device: always the CPU.
        dtype: arithmetic of the forward pass.
        dim: length of a feature vector.
    """

    device = "cpu"

    def __init__(self, compute: Compute, dim: int, dtype: str) -> None:
        self._compute, self.dim, self.dtype = compute, dim, dtype

    def features(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the features of pixels (B, 3, S, S) as (B, dim), in one forward pass.

        Raises:
            EncoderError: if features are not finite.
            ForkError: if the process that this one was forked from has computed features.
        """
        check_process()
        features = self._compute(np.ascontiguousarray(batch))
        if not np.isfinite(features).all():
            raise EncoderError(f"Features are not finite with {self.dtype}; take dtype float32 or backend torch.")
        return features

    features_there = features


class ExportedEncoder(Encoder):
    """An encoder whose features come from an export; its weights are loaded when somebody asks for them."""

    def __init__(
        self,
        spec: str,
        record: ExportRecord,
        backbone: ExportedBackbone,
        recipe: EncoderRecipe,
        load: Callable[[], Encoder],
    ) -> None:
        self.spec, self.weights = spec, ""
        self.architecture, self.preprocessing = record.architecture, record.preprocessing
        self.fingerprint = record.encoder["fingerprint"]
        self.recipe, self.batch_size = recipe, choose_batch_size(recipe.batch_size, backbone.device)
        self.backend = record.backend
        self._backbone, self._load = backbone, load

    @property
    def module(self) -> "torch.nn.Module":
        """The model itself, in evaluation mode and frozen."""
        return self._load().module


def open_export(
    folder: Path, record: ExportRecord, spec: str, recipe: EncoderRecipe, load: Callable[[], Encoder]
) -> Encoder:
    """Open a sound export; one that is not exact says so.

    Args:
        folder: where it lies.
        record: what is known of it.
        spec: the name of the encoder; a folder may have moved since the export was made.
        recipe: arithmetic and batch size.
        load: makes the same encoder with torch.

    Raises:
        EncoderError: if the library refuses it.
    """
    check_process()
    try:
        compute = graphs_of(record.backend).load(folder, recipe.dtype)
    except Exception as error:  # the libraries raise many kinds
        first = str(error).strip().partition("\n")[0]
        raise EncoderError(f"Cannot open the export in '{folder}' ({first}); remove that folder.") from error
    if BACKENDS[record.backend].floor < EXACT:
        log.warning(
            "Encoder '%s' computes with %s: cosine to torch %.4f on average and %.4f at least, of %d pictures.",
            spec, record.backend, *(record.cosine[key] for key in ("mean", "min", "images")),
        )  # fmt: skip
    dtype = "int8" if record.backend.endswith("int8") else "float32" if recipe.dtype == "auto" else recipe.dtype
    backbone = ExportedBackbone(compute, int(record.encoder["dim"]), dtype)
    return ExportedEncoder(spec, record, backbone, recipe, load)
