"""The encoder of an index -> an `Encoder` on the backend that is asked for, without torch where there is an export."""

import logging
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Literal

from geoindex.encoder.backends import AUTO, TORCH, candidates
from geoindex.encoder.encoder import Encoder
from geoindex.encoder.exported import open_export
from geoindex.encoder.exporting import export_folders, find_export, make_export
from geoindex.encoder.loading import load_encoder
from geoindex.encoder.process import check_process
from geoindex.errors import EncoderError, StorageError
from geoindex.recipe import EncoderRecipe

log = logging.getLogger(__name__)

EXACT: Literal["float32"] = "float32"


def open_encoder(
    spec: str, recipe: EncoderRecipe, fingerprint: str, *, backend: str = AUTO, kept: Path | None = None
) -> Encoder:
    """Make an encoder that is known by its fingerprint; an export is found or made, and else torch computes.

    Args:
        spec: as for `load_encoder`.
        recipe: likewise.
        fingerprint: what its weights and preprocessing must be. If they are not, the encoder that was loaded is
            returned, with another fingerprint.
        backend: auto, torch, openvino, onnx or onnx-int8; auto is the fastest that is installed, and torch on a GPU.
        kept: folder beside which exports are kept, if it can be written; else they are in the cache of the user.

    Raises:
        ConfigError: if there is no such backend, or it does not have the device or the arithmetic.
        MissingExtraError: if it is not installed.
        EncoderError: if the encoder cannot be loaded, or not be exported for a backend that is named.
        StorageError: likewise, if no folder can be written.
    """
    check_process()
    load = _loader(spec, recipe)
    for name in candidates(backend, recipe.device, recipe.dtype):
        if name == TORCH:
            break
        folders = export_folders(name, fingerprint, kept)
        found = find_export(name, fingerprint, folders)
        if found is None and load().fingerprint != fingerprint:
            break
        try:
            found = found or make_export(_exact(load(), recipe), name, folders)
            return open_export(*found, spec, recipe, _loader(spec, recipe))
        except (EncoderError, StorageError) as error:
            if backend != AUTO:
                raise
            log.warning("%s Going on without %s.", error, name)
    return load()


def _loader(spec: str, recipe: EncoderRecipe) -> Callable[[], Encoder]:
    """Return what loads an encoder with torch, once."""
    return cache(lambda: load_encoder(spec, recipe))


def _exact(encoder: Encoder, recipe: EncoderRecipe) -> Encoder:
    """Return the encoder as an export is compared with it: in float32."""
    return encoder if encoder.dtype == EXACT else load_encoder(encoder.spec, replace(recipe, dtype=EXACT))
