"""An open index: images in, predictions out.

image -> querying -> search -> estimate -> Prediction; no LanceDB read on the way.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from os import PathLike
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Unpack

import numpy as np
from numpy.typing import NDArray

from geoindex.encoder.projection import Projection, check_units, numbers_of
from geoindex.errors import ConfigError, ModelMismatchError, UnreadableImageError
from geoindex.images import ImageInput
from geoindex.live import LiveSnapshot
from geoindex.prediction import Prediction
from geoindex.progress import Stages
from geoindex.querying import answer_images, answer_views
from geoindex.remote.cache import CachedCopy, newer_copy, open_copy, use_copy
from geoindex.search.options import QueryKeywords, query_options
from geoindex.search.searcher import Searcher
from geoindex.snapshot import Snapshot
from geoindex.store.address import folder_of, url_of
from geoindex.store.generations import IndexFolder
from geoindex.store.manifest import Manifest

if TYPE_CHECKING:
    from geoindex.assembly.report import BuildReport
    from geoindex.encoder import Encoder
    from geoindex.updates.adding import Addition
    from geoindex.updates.compaction import Compaction
    from geoindex.updates.labelling import Labelling
    from geoindex.updates.removing import Removal

Report = TypeVar("Report")

DEFAULT_INDEX_VARIABLE = "GEOINDEX_HOME"
DEFAULT_INDEX = "indexes/default"


class GeoIndex:
    """An index, open for queries: it answers from one generation, and `reload` moves on to the live one.

    Example::

        index = geoindex.open_index("indexes/world")
        print(index.query_image("beach.jpg"))
    """

    def __init__(
        self,
        folder: IndexFolder,
        *,
        encoder: "Encoder | None" = None,
        device: str = "auto",
        follow: bool = False,
        backend: str = "auto",
        copy: CachedCopy | None = None,
    ) -> None:
        """Open the live generation.

        Raises:
            StoreError: if there is no index, or it is damaged.
            ModelMismatchError: if `encoder` is not the one that built the index.
        """
        self._live, self._copy = LiveSnapshot(folder, device, encoder, follow, backend), copy
        self._moving = Lock()

    def reload(self) -> bool:
        """Move on to the live generation; tell whether it is another one.

        Raises:
            StoreError: if it is damaged, or the encoder given at opening is not its own; the old one goes on answering.
        """
        if self._copy is None:
            return self._live.reload()
        with self._moving:
            copy = newer_copy(self._copy)
            if copy is not None:
                use_copy(copy, lambda folder: self._live.move_to(IndexFolder(folder)))
                self._copy = copy
        return copy is not None

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel as the path: another process opens what is live there.

        Raises:
            ConfigError: if it was opened with an encoder of its own.
        """
        if self._live.given is not None:
            raise ConfigError(
                f"The index at '{self.path}' was opened with encoder=..., which cannot travel to another process; "
                "open the index there."
            )
        place = self.url or self.path.absolute()
        return _reopen, (place, self._live.device, self._live.follow, self._live.backend)

    @property
    def path(self) -> Path:
        """Folder of the index; for one on object storage, its copy in the cache."""
        return self._live.index.root

    @property
    def url(self) -> str | None:
        """URL of the index; None for one in a folder."""
        return self._copy.url if self._copy else None

    @property
    def _own(self) -> Path:
        """Folder that may be changed: not a copy of what lies on object storage."""
        return folder_of(self.url or self.path)

    @property
    def live(self) -> LiveSnapshot:
        """What it answers from, and how that moves on."""
        return self._live

    @property
    def snapshot(self) -> Snapshot:
        """The generation that answers, whole; it stays as it is when the index moves on."""
        return self._live.open

    @property
    def manifest(self) -> Manifest:
        """What the generation is that answers."""
        return self.snapshot.manifest

    @property
    def searcher(self) -> Searcher:
        """The search files of this generation."""
        return self.snapshot.searcher

    @property
    def projection(self) -> Projection:
        """Map from features to embeddings."""
        return self.snapshot.projection

    @property
    def encoder(self) -> "Encoder":
        """The encoder that built the index; loaded at first use.

        Raises:
            ModelMismatchError: if the weights at hand are not those that built the index.
            EncoderError: if they cannot be loaded.
            ForkError: if this process was forked after the index was opened.
        """
        self._live.check_process()
        return self.snapshot.encoder.get()

    def query_image(self, image: ImageInput, **options: Unpack[QueryKeywords]) -> Prediction:
        """Say where one photo was taken. GPS in its EXIF is never used.

        Args:
            image: a path, encoded bytes, an open file, a PIL image, an (H, W, 3) array or a (3, H, W) tensor.
            options: fields of `QueryOptions`.

        Raises:
            UnreadableImageError: if it cannot be decoded.
            ConfigError: if an option is not valid.
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
            ConfigError: if there is no image, or an option is not valid.
        """
        return answer_views(self._live, images, query_options(options))

    def query_images(
        self,
        images: Iterable[ImageInput],
        *,
        on_error: Literal["raise", "return"] = "raise",
        **options: Unpack[QueryKeywords],
    ) -> Iterator[Prediction | UnreadableImageError]:
        """Say where each photo was taken, in order, in batches of 32; a batch is answered by one generation.

        While one batch is encoded the next two are decoded, so up to 64 images are read ahead of the answers.

        Args:
            images: any number of images; read as answers are asked for.
            on_error: raise at the first unreadable image, after the answers before it; or yield its error in its place.
            options: fields of `QueryOptions`.

        Raises:
            ConfigError: if an option is not valid.
        """
        if on_error not in ("raise", "return"):
            raise ConfigError(f"on_error is {on_error!r}; it must be 'raise' or 'return'.")
        return answer_images(self._live, images, query_options(options), on_error)

    def query_embeddings(self, embeddings: NDArray[np.float32], **options: Unpack[QueryKeywords]) -> list[Prediction]:
        """Answer queries that are embeddings already, (Q, dim) unit vectors.

        Raises:
            ModelMismatchError: if they have another length than the index's.
            ConfigError: if one is no unit vector, or they are no numbers.
        """
        snapshot, embeddings = self._live.get(), numbers_of(embeddings)
        if embeddings.ndim != 2 or embeddings.shape[1] != snapshot.manifest.dim:
            raise ModelMismatchError(
                f"Embeddings {embeddings.shape} do not fit the index at '{self.path}': "
                f"it needs (Q, {snapshot.manifest.dim})."
            )
        check_units(embeddings)
        return snapshot.answer(embeddings, query_options(options), Stages())

    def add(self, source: str | PathLike[str], **options: Any) -> "Addition":
        """Add images to the gallery and move on to the generation that has them; see `add_images`.

        Raises:
            GeoindexError: if anything fails; this index then answers as before.
        """
        from geoindex.updates.adding import add_images

        return self._moved(add_images(self._own, source, **{"encoder": self._live.given} | options))

    def remove(self, ids: Iterable[str] = (), *, where: str = "") -> "Removal":
        """Remove photos for good and move on to the generation without them; see `remove_images`.

        Raises:
            GeoindexError: if anything fails; what was removed by then is in no answer any more.
        """
        from geoindex.updates.removing import remove_images

        return self._moved(remove_images(self._own, ids, where=where))

    def label(self, table: str | PathLike[str]) -> "Labelling":
        """Set labels of stored photos from a table; see `label_images`."""
        from geoindex.updates.labelling import label_images

        return self._moved(label_images(self._own, table))

    def compact(self) -> "Compaction":
        """Purge the rows of removed photos from every generation; see `compact_index`."""
        from geoindex.updates.compaction import compact_index

        return self._moved(compact_index(self._own))

    def rebuild(self, **keys: Any) -> "BuildReport":
        """Make new cells, clusters and geo-embeddings, and move on to them; see `rebuild_index`.

        Queries of other threads are answered meanwhile.

        Raises:
            ModelMismatchError: if it was for another encoder than the one given at opening; this index goes on with
                the old generation, and one that is opened now has the new one.
            GeoindexError: if anything fails; this index then answers as before.
        """
        from geoindex.rebuilding import rebuild_index

        return self._moved(rebuild_index(self._own, **keys))

    def _moved(self, report: Report) -> Report:
        self.reload()
        return report

    def __repr__(self) -> str:
        counts = self.manifest.counts
        return f"GeoIndex({str(self.path)!r}, {counts['gallery']} images, {counts['clusters']} clusters)"


def open_index(
    path: str | PathLike[str] | None = None,
    *,
    encoder: "Encoder | None" = None,
    device: str = "auto",
    follow: bool = False,
    backend: str = "auto",
) -> GeoIndex:
    """Open an index for queries, from any number of threads.

    It cannot be used in a process that is forked afterwards. It can be sent to one that is spawned, which opens what
    is live by then, unless `encoder` was given.

    Args:
        path: its folder, or its URL, such as s3://BUCKET/PREFIX, of which a copy in the cache answers; None: what the
            environment variable GEOINDEX_HOME names, else indexes/default.
        encoder: one that is loaded already; None: the index's own, loaded at the first image.
        device: where the encoder computes: auto, cpu, cuda, mps.
        follow: before each query, move on to the live generation if there is another. If it cannot be opened, the old
            one goes on answering, with one warning. An index at a URL moves on by `reload` alone.
        backend: what computes in the index's own encoder: torch, openvino, onnx, onnx-int8; auto: the fastest.
            The first image has it exported, once, and compared with torch.

    Raises:
        ConfigError: if there is no such backend or device.
        MissingExtraError: if the backend is not installed.
        StoreError: if there is no index, or it is damaged, or object storage does not answer and there is no copy.
        ModelMismatchError: if `encoder` is not the one that built the index.
    """
    place = path or os.environ.get(DEFAULT_INDEX_VARIABLE) or DEFAULT_INDEX
    if url := url_of(place):
        copy = open_copy(url)
        return use_copy(
            copy,
            lambda folder: GeoIndex(IndexFolder(folder), encoder=encoder, device=device, backend=backend, copy=copy),
        )
    return GeoIndex(IndexFolder(Path(place)), encoder=encoder, device=device, follow=follow, backend=backend)


def _reopen(path: Path | str, device: str, follow: bool, backend: str) -> GeoIndex:
    return open_index(path, device=device, follow=follow, backend=backend)


@lru_cache(maxsize=2)
def _opened(path: str, generation: bytes) -> GeoIndex:
    return open_index(path)


def _pointer(place: str | PathLike[str]) -> bytes:
    """Return what changes when an index has a new generation; for one on object storage that is one request."""
    if url := url_of(place):
        return os.fsencode(open_copy(url).folder)
    path = Path(place) / "CURRENT"
    return path.read_bytes() if path.is_file() else b""


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
        place = index or os.environ.get(DEFAULT_INDEX_VARIABLE) or DEFAULT_INDEX
        index = _opened(str(place), _pointer(place))
    return index.query_image(image, **options)
