"""An encoder -> a folder with an export of it, made once, compared with torch before anyone relies on it."""

import logging
import shutil
from collections.abc import Sequence
from pathlib import Path
from tempfile import mkdtemp
from time import time
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from geoindex.encoder.backends import BACKENDS, Compute, graphs_of, version_of
from geoindex.encoder.check_images import check_batches
from geoindex.encoder.export_record import ExportRecord, measure_files, read_record, write_record
from geoindex.encoder.tracing import trace
from geoindex.errors import EncoderError
from geoindex.store.address import cache_folder
from geoindex.store.durable import storage_errors, sync

if TYPE_CHECKING:
    from geoindex.encoder.encoder import Encoder

log = logging.getLogger(__name__)

DAY_S = 86_400


def export_folders(backend: str, fingerprint: str, kept: Path | None) -> tuple[Path, ...]:
    """Return where an export may lie: beside the encoder that is kept, and in the cache of the user.

    The name is hidden, so that it does not travel with the encoder: what computes best differs between machines.
    """
    cache = cache_folder() / "encoder" / fingerprint
    return tuple(parent / f".{backend}" for parent in (kept, cache) if parent is not None)


def find_export(backend: str, fingerprint: str, folders: Sequence[Path]) -> tuple[Path, ExportRecord] | None:
    """Return the first folder with a sound export, and what is known of it."""
    for folder in folders:
        record = read_record(folder, backend, fingerprint)
        if record is not None:
            return folder, record
    return None


def make_export(encoder: "Encoder", backend: str, folders: Sequence[Path]) -> tuple[Path, ExportRecord]:
    """Export an encoder into the first folder that can be written; the folder is there when it is whole.

    Raises:
        EncoderError: if the model cannot be exported, or the export computes something else.
        StorageError: if no folder can be written.
    """
    *others, last = folders
    for folder in others:
        try:
            return folder, _export_into(encoder, backend, folder)
        except OSError as error:
            log.info("No export in '%s' (%s).", folder, error)
    with storage_errors(last):
        return last, _export_into(encoder, backend, last)


def _export_into(encoder: "Encoder", backend: str, folder: Path) -> ExportRecord:
    folder.parent.mkdir(parents=True, exist_ok=True)
    _sweep(folder)
    partial = Path(mkdtemp(prefix=f"{folder.name}.", dir=folder.parent))
    try:
        log.warning("Exporting encoder '%s' for backend %s, once.", encoder.spec, backend)
        record = _write(encoder, backend, partial)
        _put_in_place(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return record


def _sweep(folder: Path) -> None:
    """Remove what killed runs left beside a folder."""
    for leftover in folder.parent.glob(f"{folder.name}.*"):
        if time() - leftover.stat().st_mtime > DAY_S:
            shutil.rmtree(leftover, ignore_errors=True)


def _write(encoder: "Encoder", backend: str, folder: Path) -> ExportRecord:
    graphs = graphs_of(backend)
    program, pixels = trace(encoder)
    try:
        graphs.write(program, pixels, folder)
        cosines = _cosines(encoder, graphs.load(folder, "float32"))
    except OSError:
        raise
    except Exception as error:  # the libraries raise many kinds
        first = str(error).strip().partition("\n")[0]
        raise EncoderError(
            f"Encoder '{encoder.spec}' cannot be exported for {backend} ({first}); take backend torch."
        ) from error
    _require_close(encoder, backend, cosines)
    facts = {"min": float(cosines.min()), "mean": float(cosines.mean()), "images": len(cosines)}
    record = ExportRecord(backend, version_of(backend), encoder.to_config(), facts, measure_files(folder))
    write_record(record, folder)
    return record


def _cosines(encoder: "Encoder", compute: Compute) -> NDArray[np.float64]:
    """Compare an export with torch, in batches of several sizes; return a cosine an image."""
    cosines = []
    for batch in check_batches(encoder.image_size):
        right, found = encoder.features(batch).astype(np.float64), compute(batch).astype(np.float64)
        lengths = np.linalg.norm(right, axis=1) * np.linalg.norm(found, axis=1)
        cosines.append((right * found).sum(1) / np.maximum(lengths, np.finfo(np.float64).tiny))
    return np.concatenate(cosines)


def _require_close(encoder: "Encoder", backend: str, cosines: NDArray[np.float64]) -> None:
    floor = BACKENDS[backend].floor
    if not cosines.min() >= floor:  # so that what is not a number is refused too
        raise EncoderError(
            f"Encoder '{encoder.spec}' computes other features with {backend}: cosine {cosines.min():.5f} to torch, "
            f"where {floor} is asked for; take backend torch."
        )


def _put_in_place(partial: Path, folder: Path) -> None:
    """Let a finished folder take the place of one that is damaged or outdated, unless another process was faster."""
    partial.chmod(0o755)
    old = partial.with_name(f"{partial.name}.old")
    if folder.exists():
        folder.rename(old)
    try:
        partial.rename(folder)
    except OSError:
        if not folder.exists():
            raise
    sync(folder.parent)
    shutil.rmtree(old, ignore_errors=True)
