"""Positions and images -> a fine-tuned encoder in a folder, with the geo-embeddings of the cells it was trained on."""

import hashlib
import json
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geoindex.assembly.division import DividedPositions, divide_positions, sample_labels, site_vectors
from geoindex.assembly.gallery import projection_of
from geoindex.assembly.learning import describe_classes
from geoindex.embed import unread
from geoindex.errors import ConfigError, EmptyDatasetError
from geoindex.lookahead import available_cores
from geoindex.progress import Progress
from geoindex.recipe import Recipe
from geoindex.shards import stamp_of
from geoindex.sources import Source
from geoindex.sources.source import EmbeddedSource, LeftOut
from geoindex.store.durable import storage_errors, write_arrays
from geoindex.training.tuned import TunedHeads
from geoindex.types import Samples

if TYPE_CHECKING:
    import torch

    from geoindex.encoder import Encoder
    from geoindex.training.checkpoints import Position
    from geoindex.training.classes import Truth
    from geoindex.training.fit import FitJob, ImageFit, LabelledImages
    from geoindex.training.learner import RetrievalLearner
    from geoindex.training.pixels import PixelReader

GIB = 2**30
MAX_WORKERS = 8
START_FILE, PIXELS_FILE = "start-{}-{}.npz", "pixels-{}.npy"

Rows = NDArray[np.int64]
GeoEmbeddings = tuple[NDArray[np.float32], NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class StartFeatures:
    """What the encoder makes of the images before it learns.

    Attributes:
        rows: of the images that could be read, ascending, (n,).
        features: theirs, (n, D) float16.
        failures: reason by row of the others.
    """

    rows: Rows
    features: NDArray[np.float16]
    failures: dict[int, str]

    @classmethod
    def load(cls, path: Path) -> "StartFeatures":
        """Read what `save` wrote."""
        with np.load(path) as stored:
            return cls(stored["rows"], stored["features"], _failures(stored))

    def save(self, path: Path) -> None:
        """Write it durably."""
        text = np.frombuffer(json.dumps(self.failures).encode(), np.uint8)
        with storage_errors(path):
            write_arrays(path, rows=self.rows, features=self.features, failures=text)


def _failures(stored: Mapping[str, NDArray[Any]]) -> dict[int, str]:
    # earlier versions did not keep them
    text = stored["failures"].tobytes() if "failures" in stored else b"{}"
    return {int(row): reason for row, reason in json.loads(text).items()}


def finetune(
    source: Source, samples: Samples, split: NDArray[np.str_], encoder: "Encoder | None", recipe: Recipe, folder: Path,
    kept: Path | None = None,
) -> Path:  # fmt: skip
    """Fine-tune an encoder on the train split, or go on with a run that was stopped.

    Under torchrun every process calls this; the first one writes.

    Args:
        source: reads the images.
        samples: all of them.
        split: train, val or test of each, (N,).
        encoder: to start from; its weights stay as they are. None where the source has features instead of images.
        recipe: encoding, geocells, clusters, training, finetuning, seed.
        folder: for checkpoints and metrics; the result is its folder `encoder`.
        kept: folder of prepared images, which several fits can share; None: the same folder.

    Returns:
        The folder that `load_encoder` reads.

    Raises:
        ConfigError: if the encoder cannot learn as the recipe says.
        EmptyDatasetError: if no image of the train split could be read.
    """
    from geoindex.training import processes
    from geoindex.training.fit import ImageFit

    if encoder is None or isinstance(source, EmbeddedSource):
        raise ConfigError("Features alone cannot teach an encoder; take training.method features.")
    kept = kept or folder
    with processes.joined(training_device(encoder)) as device:
        if processes.rank() > 0:
            processes.wait()  # until the first one has read all images
        reader = image_reader(source, samples, encoder, recipe, kept, device)
        start = _start_features(reader, encoder, kept)
        job, divided = _job(reader, start, samples, split, encoder, recipe)
        fit = ImageFit(job, device, folder)
        position = fit.run()
        rows = _learner_of(fit).objective.geo_embeddings()
        if processes.rank() == 0:
            _export(fit, rows, position, divided, encoder, recipe, folder / "encoder")
        processes.wait()
    return folder / "encoder"


def training_device(encoder: "Encoder") -> "torch.device":
    """Return the device that an encoder learns on.

    Raises:
        ConfigError: if no fit runs there.
    """
    import torch

    device = torch.device(encoder.device)
    if device.type not in ("cpu", "cuda"):
        raise ConfigError(f"Fine-tuning runs on cpu and cuda, not on {device.type}; set encoding.device.")
    return device


def image_reader(
    source: Source, samples: Samples, encoder: "Encoder", recipe: Recipe, folder: Path, device: "torch.device"
) -> "PixelReader":
    """Return what reads the images; it keeps them in the folder if they are few enough."""
    from geoindex.training.pixels import PixelCache, PixelReader, PreparedImages

    images = samples.images
    prepared = PreparedImages(source, images, encoder.preprocessing)
    size, tuning = encoder.image_size, recipe.finetuning
    gib = 3 * len(images) * size * size / GIB
    path = folder / PIXELS_FILE.format(_digest(source.uri, encoder, images))
    workers = tuning.workers
    if workers is None:
        workers = min(MAX_WORKERS, available_cores()) if device.type == "cuda" else 0
    cache = PixelCache(path, len(images), size, _stamps(source, images)) if gib <= tuning.cache_gib else None
    return PixelReader(prepared, cache, workers, device.type == "cuda")


def _stamps(source: Source, images: list[str]) -> list[str] | None:
    """Return what changes when an image does, of each; the other processes trust what the first one has read."""
    from geoindex.training import processes

    return [stamp_of(source.file_of(image)) for image in images] if processes.rank() == 0 else None


def kept_pixels(source: Source, samples: Samples, encoder: "Encoder", folder: Path) -> "Source":
    """Return the source, or one that hands out what a fit in this folder has read and kept of it."""
    from geoindex.training.pixels import kept_images

    path = folder / PIXELS_FILE.format(_digest(source.uri, encoder, samples.images))
    return kept_images(source, samples.images, path)


def _digest(uri: str, encoder: "Encoder", images: list[str]) -> str:
    state = hashlib.blake2b(f"{uri}\n{encoder.preprocessing}\n".encode(), digest_size=12)
    for image in images:
        state.update(image.encode() + b"\n")
    return state.hexdigest()


def _start_features(reader: "PixelReader", encoder: "Encoder", folder: Path) -> StartFeatures:
    """Read every image once: which can be read, and what the encoder makes of them before it learns."""
    from geoindex.training import processes

    path = _start_file(reader.prepared.source, list(reader.prepared.images), encoder, folder)
    cached = reader.cache is None or reader.cache.complete
    if processes.rank() == 0 and not (path.exists() and cached):
        _encode_all(reader, encoder).save(path)
    if processes.rank() == 0:
        processes.wait()
    return StartFeatures.load(path)


def _start_file(source: Source, images: list[str], encoder: "Encoder", folder: Path) -> Path:
    return folder / START_FILE.format(_digest(source.uri, encoder, images), encoder.fingerprint[:16])


def unread_images(source: Source, samples: Samples, encoder: "Encoder", folder: Path) -> LeftOut:
    """Return the images that could not be read when a fit in this folder first looked at all of them."""
    with np.load(_start_file(source, samples.images, encoder, folder)) as stored:
        return unread(_failures(stored), samples)


def _encode_all(reader: "PixelReader", encoder: "Encoder") -> StartFeatures:
    rows, features, failures = [], [], dict[int, str]()
    count = len(reader.prepared)
    order = [np.arange(i, min(i + encoder.batch_size, count)) for i in range(0, count, encoder.batch_size)]
    with Progress("first look at the images", count, "image") as bar:
        for read in reader.batches(order):
            bar.advance(len(read.rows) + len(read.failures))
            failures |= read.failures
            if len(read.rows):
                rows.append(read.rows)
                features.append(encoder.features(read.pixels.numpy()).astype(np.float16))
    if not rows:
        raise EmptyDatasetError("None of the images could be read; check that the paths fit the folder.")
    return StartFeatures(np.concatenate(rows), np.concatenate(features), failures)


def _job(
    reader: "PixelReader", start: StartFeatures, samples: Samples, split: NDArray[np.str_], encoder: "Encoder",
    recipe: Recipe,
) -> "tuple[FitJob, DividedPositions]":  # fmt: skip
    """Divide the Earth by the train split, and describe cells and clusters by what the encoder sees at first."""
    from geoindex.training.classes import Truth
    from geoindex.training.fit import FitJob
    from geoindex.training.learner import RetrievalLearner
    from geoindex.training.weights import open_weights

    of_train, of_val = (split[start.rows] == name for name in ("train", "val"))
    if not of_train.any():
        raise EmptyDatasetError("No image of the train split could be read; check the paths, or the split.")
    labels = sample_labels(samples, recipe.geocells.within)

    def some(part: NDArray[np.bool_]) -> tuple[Rows, Samples, Any]:
        rows = start.rows[part]
        return rows, samples.take(rows), labels and [labels[row] for row in rows.tolist()]

    rows, theirs, own = some(of_train)
    divided = divide_positions(theirs.lat, theirs.lon, own, recipe)
    truth = Truth(theirs.lat, theirs.lon, divided.cell_of, divided.cluster_of)
    projection = projection_of(start.features[of_train], recipe)
    partition, clusters = divided.fitted.partition, divided.clusters
    classes = describe_classes(start.features[of_train], truth, partition, clusters, projection)
    val_rows, val, val_own = some(of_val)
    cell = partition.assign(val.lat, val.lon, val_own)
    val_truth = Truth(val.lat, val.lon, cell, clusters.assign(val.lat, val.lon, cell))
    gallery, counts = _labelled(rows, theirs, truth, recipe)
    validation = _validation(val_rows, val_truth)
    backbone = open_weights(deepcopy(encoder.module), recipe.finetuning)
    learner = RetrievalLearner(
        backbone, encoder.preprocessing, projection, classes, recipe.training, recipe.finetuning, counts
    )
    return FitJob(learner, encoder.fingerprint, reader, gallery, validation, recipe), divided


def _labelled(rows: Rows, samples: Samples, truth: "Truth", recipe: Recipe) -> "tuple[LabelledImages, dict[str, int]]":
    from geoindex.training.auxiliary import encode_labels, label_of
    from geoindex.training.fit import LabelledImages
    from geoindex.training.order import draw_shares, places_of

    tuning = recipe.finetuning
    encoded = {name: encode_labels(name, samples.label(label_of(name))) for name in tuning.auxiliary}
    labels = {name: classes for name, (classes, _) in encoded.items()}
    countries = samples.label("country") if tuning.balance == "country" else []
    share = draw_shares(tuning.balance, truth, countries)
    place = places_of(truth, samples.label("sequence")) if tuning.views > 1 else np.arange(len(rows))
    counts = {name: count for name, (_, count) in encoded.items()}
    return LabelledImages(rows, truth, place, labels, share), counts


def _validation(rows: Rows, truth: "Truth") -> "LabelledImages":
    from geoindex.training.fit import LabelledImages

    return LabelledImages(rows, truth, np.arange(len(rows)), {})


def _learner_of(fit: "ImageFit") -> "RetrievalLearner":
    """Return what is validated."""
    from geoindex.training.learner import RetrievalLearner

    learner = fit.validated
    assert isinstance(learner, RetrievalLearner)
    return learner


def _export(
    fit: "ImageFit", rows: GeoEmbeddings, position: "Position", divided: DividedPositions, encoder: "Encoder",
    recipe: Recipe, folder: Path,
) -> None:  # fmt: skip
    """Write the weights of the best epoch as an encoder, with the heads beside it."""
    from geoindex.encoder import Encoder
    from geoindex.training.weights import merged

    learner = _learner_of(fit)
    recipe_of_result = replace(recipe.encoding, device="cpu")
    module = merged(learner.backbone).cpu()
    tuned = Encoder(encoder.spec, encoder.architecture, encoder.preprocessing, module, recipe_of_result)
    tuned.save(folder)
    sites = site_vectors(divided.fitted.partition, divided.clusters)
    TunedHeads(learner.projection(), *rows, *sites, position.history, position.best_epoch).save(folder)
