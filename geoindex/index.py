"""An open index: images in, predictions out.

image -> images.load_image -> encoder -> search -> estimate -> Prediction; no LanceDB read on the way.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import islice
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Unpack

import numpy as np
from numpy.typing import NDArray

from geoindex.encoder.projection import Projection, check_units, mean_direction
from geoindex.errors import ConfigError, ModelMismatchError, UnreadableImageError
from geoindex.images import ImageInput, load_image
from geoindex.prediction import Prediction
from geoindex.progress import Stages
from geoindex.recipe import EncoderRecipe
from geoindex.recipe_files import recipe_from_dict
from geoindex.search.answer import QueryKeywords, QueryOptions, answer, query_options
from geoindex.search.searcher import Searcher
from geoindex.store.generations import IndexFolder
from geoindex.store.manifest import Manifest

if TYPE_CHECKING:
    from geoindex.encoder import Encoder

DEFAULT_INDEX_VARIABLE = "GEOINDEX_HOME"
DEFAULT_INDEX = "indexes/default"
BATCH_IMAGES = 32


class GeoIndex:
    """One generation of an index, open for queries; `reload` moves on to the live one.

    Example::

        index = geoindex.open_index("indexes/world")
        print(index.query_image("beach.jpg"))
    """

    def __init__(self, folder: IndexFolder, *, encoder: "Encoder | None" = None, device: str = "auto") -> None:
        """Open the live generation.

        Raises:
            StoreError: if there is no index, or it is damaged.
            ModelMismatchError: if `encoder` is not the one that built the index.
        """
        self._folder, self._device = folder, device
        self._given = self._encoder = encoder
        self._open()

    def _open(self) -> None:
        """Open the live generation; whatever is wrong with it leaves this object as it was."""
        generation = self._folder.current()
        manifest = generation.manifest
        if self._given is not None:
            self._check_encoder(self._given, manifest)
        searcher = Searcher.open(generation)
        projection = Projection.load(generation.whole("projection.safetensors"))
        if self._encoder is not None and self._encoder.fingerprint != manifest.encoder["fingerprint"]:
            self._encoder = None  # the new one is loaded at the next image
        self._searcher, self._projection = searcher, projection
        self.manifest: Manifest = manifest

    def reload(self) -> bool:
        """Move on to the live generation; tell whether it is another one.

        Raises:
            StoreError: if it is damaged, or the encoder given at opening is not its own; the old one goes on answering.
        """
        before = self.manifest.generation
        self._open()
        return self.manifest.generation != before

    @property
    def path(self) -> Path:
        """Folder of the index."""
        return self._folder.root

    @property
    def searcher(self) -> Searcher:
        """The search files of this generation."""
        return self._searcher

    @property
    def projection(self) -> Projection:
        """Map from features to embeddings."""
        return self._projection

    @property
    def encoder(self) -> "Encoder":
        """The encoder that built the index; loaded at first use.

        Raises:
            ModelMismatchError: if the weights at hand are not those that built the index.
            EncoderError: if they cannot be loaded.
        """
        if self._encoder is None:
            encoder = self._load_encoder()
            self._check_encoder(encoder, self.manifest)
            self._encoder = encoder
        return self._encoder

    def _load_encoder(self) -> "Encoder":
        from geoindex.encoder import load_encoder

        entry = self.manifest.encoder
        if not entry["spec"]:
            raise ModelMismatchError(
                f"The index at '{self.path}' was built from ready embeddings, so it has no encoder for images; "
                "use query_embeddings, or open it with encoder=..."
            )
        recipe = recipe_from_dict(self.manifest.recipe).encoding
        if entry["kept"]:
            folder = self._folder.encoder_folder(entry["fingerprint"])
            return load_encoder(str(folder), recipe=EncoderRecipe(device=self._device, dtype=recipe.dtype))
        values = {name: getattr(recipe, name) for name in ("image_size", "mean", "std", "dtype")}
        return load_encoder(entry["spec"], recipe=EncoderRecipe(**values, device=self._device))

    def _check_encoder(self, encoder: "Encoder", manifest: Manifest) -> None:
        wanted = manifest.encoder["fingerprint"]
        if encoder.fingerprint != wanted:
            raise ModelMismatchError(
                f"Encoder '{encoder.spec}' ({encoder.fingerprint[:12]}) is not the one that built '{self.path}' "
                f"('{manifest.encoder['spec']}', {wanted[:12]}); use that one, or build the index again."
            )

    def query_image(self, image: ImageInput, **options: Unpack[QueryKeywords]) -> Prediction:
        """Say where one photo was taken. GPS in its EXIF is never used.

        Args:
            image: a path, encoded bytes, an open file, a PIL image, an (H, W, 3) array or a (3, H, W) tensor.
            options: fields of `QueryOptions`.

        Raises:
            UnreadableImageError: if it cannot be decoded.
            ConfigError: if an option cannot be meant.
        """
        return self.query_views([image], **options)

    def query_views(self, images: Sequence[ImageInput], **options: Unpack[QueryKeywords]) -> Prediction:
        """Say where several photos of one place were taken, such as views in four directions.

        The query is the mean of their unit embeddings, normalised again.

        Args:
            images: one or more images.
            options: fields of `QueryOptions`.

        Raises:
            UnreadableImageError: if one cannot be decoded.
            ConfigError: if there is no image, or an option cannot be meant.
        """
        views, chosen = _checked_views(images), query_options(options)
        encoder, stages = self.encoder, Stages()
        with stages("decode"):
            pixels = np.stack([self._pixels(image) for image in views])
        with stages("encode"):
            parts = [encoder.features(pixels[i : i + BATCH_IMAGES]) for i in range(0, len(views), BATCH_IMAGES)]
        with stages("project"):
            embedding = mean_direction(self._projection.apply(np.concatenate(parts)))
        return self._predict(embedding[None], chosen, stages)[0]

    def query_images(
        self,
        images: Iterable[ImageInput],
        *,
        on_error: Literal["raise", "return"] = "raise",
        **options: Unpack[QueryKeywords],
    ) -> Iterator[Prediction | UnreadableImageError]:
        """Say where each photo was taken, in order, in batches.

        Args:
            images: any number of images.
            on_error: raise at the first unreadable image, or yield its error in its place.
            options: fields of `QueryOptions`.
        """
        chosen, todo = query_options(options), iter(images)
        while batch := list(islice(todo, BATCH_IMAGES)):
            yield from self._answer_batch(batch, chosen, on_error)

    def _answer_batch(
        self, batch: list[ImageInput], options: QueryOptions, on_error: str
    ) -> list[Prediction | UnreadableImageError]:
        stages = Stages()
        with stages("decode"):
            prepared = [self._prepare(image, on_error) for image in batch]
        pixels = [p for p in prepared if isinstance(p, np.ndarray)]
        answers: Iterator[Prediction] = iter(())
        if pixels:
            with stages("encode"):
                features = self.encoder.features(np.stack(pixels))
            with stages("project"):
                embeddings = self._projection.apply(features)
            answers = iter(self._predict(embeddings, options, stages))
        return [p if isinstance(p, UnreadableImageError) else next(answers) for p in prepared]

    def _prepare(self, image: ImageInput, on_error: str) -> NDArray[np.uint8] | UnreadableImageError:
        try:
            return self._pixels(image)
        except UnreadableImageError as error:
            if on_error == "raise":
                raise
            return error

    def _pixels(self, image: ImageInput) -> NDArray[np.uint8]:
        return self.encoder.prepare(load_image(image, min_side=self.encoder.min_side))

    def query_embeddings(self, embeddings: NDArray[np.float32], **options: Unpack[QueryKeywords]) -> list[Prediction]:
        """Answer queries that are embeddings already, (Q, dim) unit vectors.

        Raises:
            ModelMismatchError: if they have another length than the index's.
            ConfigError: if one is no unit vector.
        """
        embeddings = np.asarray(embeddings, np.float32)
        if embeddings.ndim != 2 or embeddings.shape[1] != self.manifest.dim:
            raise ModelMismatchError(
                f"Embeddings {embeddings.shape} do not fit the index at '{self.path}': "
                f"it needs (Q, {self.manifest.dim})."
            )
        check_units(embeddings)
        return self._predict(embeddings, query_options(options), Stages())

    def _predict(self, embeddings: NDArray[np.float32], options: QueryOptions, stages: Stages) -> list[Prediction]:
        top_cells = options.top_cells or int(self.manifest.recipe["search"]["top_cells"])
        rule = options.rule or str(self.manifest.rule["name"])
        with stages("search"):
            rankings = self._searcher.rank(embeddings, top_cells)
        with stages("answer"):
            answers = [
                answer(self._searcher, ranking, query, rule, options)
                for ranking, query in zip(rankings, embeddings, strict=True)
            ]
        # a batch shares its times evenly
        timings = {step: round(ms / max(len(answers), 1), 3) for step, ms in stages.milliseconds().items()}
        origin = {"generation": self.manifest.generation, "encoder": self.manifest.encoder["fingerprint"]}
        return [replace(a, timings_ms=timings, **origin) for a in answers]

    def __repr__(self) -> str:
        counts = self.manifest.counts
        return f"GeoIndex({str(self.path)!r}, {counts['gallery']} images, {counts['clusters']} clusters)"


def _checked_views(images: Sequence[ImageInput]) -> list[ImageInput]:
    views = [] if isinstance(images, str | bytes) else list(images)
    if not views:
        raise ConfigError("query_views needs one or more images of one place, as a list; for one photo, take [photo].")
    return views


def open_index(
    path: str | PathLike[str] | None = None, *, encoder: "Encoder | None" = None, device: str = "auto"
) -> GeoIndex:
    """Open an index for queries.

    Args:
        path: its folder; None: what the environment variable GEOINDEX_HOME names, else indexes/default.
        encoder: one that is loaded already; None: the index's own, loaded at the first image.
        device: where the encoder computes: auto, cpu, cuda, mps.

    Raises:
        StoreError: if there is no index, or it is damaged.
        ModelMismatchError: if `encoder` is not the one that built the index.
    """
    folder = Path(path or os.environ.get(DEFAULT_INDEX_VARIABLE) or DEFAULT_INDEX)
    return GeoIndex(IndexFolder(folder), encoder=encoder, device=device)


@lru_cache(maxsize=2)
def _opened(path: str, generation: bytes) -> GeoIndex:
    return open_index(path)


def query_image(
    image: ImageInput, *, index: GeoIndex | str | PathLike[str] | None = None, **options: Unpack[QueryKeywords]
) -> Prediction:
    """Say where one photo was taken.

    Args:
        image: a path, encoded bytes, an open file, a PIL image, an (H, W, 3) array or a (3, H, W) tensor.
        index: an open index or its folder; a folder is opened once, and again when it has a new generation.
        options: fields of `QueryOptions`.

    Raises:
        UnreadableImageError: if the image cannot be decoded.
        StoreError: if there is no index, or it is damaged.
    """
    if not isinstance(index, GeoIndex):
        path = Path(index or os.environ.get(DEFAULT_INDEX_VARIABLE) or DEFAULT_INDEX)
        pointer = path / "CURRENT"
        index = _opened(str(path), pointer.read_bytes() if pointer.is_file() else b"")
    return index.query_image(image, **options)
