"""The images of an index, read again from where they came from: for an encoder that has not seen them."""

import json
import os
import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geoindex.assembly.rows import image_rows, store_images
from geoindex.distributed.executor import HERE, Executor
from geoindex.embed import embed_samples
from geoindex.errors import DatasetNotFoundError, EmptyDatasetError, GeoindexError, UnreadableImageError
from geoindex.images import ImageInput
from geoindex.sources import Source, open_source
from geoindex.sources.source import LeftOut, Scan
from geoindex.store.buckets import Place
from geoindex.store.generations import IndexFolder
from geoindex.store.manifest import Manifest
from geoindex.types import Samples

if TYPE_CHECKING:
    import pyarrow as pa

    from geoindex.encoder import Encoder


@dataclass(frozen=True)
class GoneSource:
    """A source that cannot be opened any more.

    Attributes:
        uri: what opened it once.
        reason: why it does not.
    """

    uri: str
    reason: str

    def scan(self) -> Scan:
        """Refuse: nobody knows what it held.

        Raises:
            DatasetNotFoundError: always.
        """
        raise DatasetNotFoundError(self.reason)

    def file_of(self, image: str) -> Path:
        """Return a path where no file is, so that what was embedded before the source went will do."""
        return Path(os.devnull, image)

    def read(self, image: str) -> ImageInput:
        """Refuse.

        Raises:
            UnreadableImageError: always.
        """
        raise UnreadableImageError(image, f"'{self.uri}' cannot be opened: {self.reason.rstrip('.')}")


@dataclass(frozen=True)
class StoredRows:
    """The images of an index that were not removed, as a source of several sources.

    Attributes:
        rows: their columns in the images table but the features, by row.
        default: URI of the source of those that name none.
    """

    rows: "pa.Table"
    default: str

    @classmethod
    def read_from(cls, index: IndexFolder, manifest: Manifest) -> "StoredRows":
        """Read them from the images table of a generation.

        Raises:
            IndexDamagedError: if it, or the list of removed photos, is not what was written.
        """
        import pyarrow as pa

        version = manifest.tables["images"]
        columns = [name for name in index.tables.columns("images", version) if name not in ("row", "features")]
        rows = index.tables.read("images", version, ["row", *columns])
        return cls(rows.filter(pa.array(~index.tombstones().cover(rows["id"]))), manifest.source)

    def __getstate__(self) -> dict[str, Any]:
        """Return what another process reads images with: the sources, which millions of rows would only weigh down."""
        return {"rows": self.rows.schema.empty_table(), "default": self.default, "sources": self.sources}

    @property
    def uri(self) -> str:
        """The URIs of the sources."""
        return json.dumps(list(self.sources))

    @cached_property
    def sources(self) -> dict[str, Source]:
        """The sources of the images by URI, some of which may be gone."""
        return {uri: _open(uri) for uri in dict.fromkeys(self._uris)}

    @cached_property
    def _opened(self) -> list[Source]:
        return list(self.sources.values())

    @cached_property
    def _uris(self) -> list[str]:
        if "source" not in self.rows.column_names:
            return [self.default] * self.rows.num_rows
        return [uri or self.default for uri in self.rows["source"].to_pylist()]

    @property
    def samples(self) -> Samples:
        """The images as samples, as they are stored."""
        return Samples.from_columns({name: self.rows[name].combine_chunks() for name in self._known})

    @property
    def _known(self) -> list[str]:
        return [name for name in self.rows.column_names if name in Samples.schema().names]

    def scan(self) -> Scan:
        """List the images; what names each of them names its source too."""
        import pyarrow as pa

        samples, numbers = self.samples, {uri: number for number, uri in enumerate(self.sources)}
        images = [f"{numbers[uri]} {image}" for uri, image in zip(self._uris, samples.images, strict=True)]
        place = samples.table.schema.get_field_index("image")
        return Scan(Samples(samples.table.set_column(place, "image", pa.array(images, pa.string()))), LeftOut())

    def file_of(self, image: str) -> Place | None:
        """Return the file that holds an image, as its source does."""
        source, name = self._find(image)
        return source.file_of(name)

    def read(self, image: str) -> ImageInput:
        """Return an image, as its source does.

        Raises:
            UnreadableImageError: if it cannot be read any more.
        """
        source, name = self._find(image)
        return source.read(name)

    def _find(self, image: str) -> tuple[Source, str]:
        number, _, name = image.partition(" ")
        return self._opened[int(number)], name

    def table(self, kept: NDArray[np.int64], content: NDArray[np.str_]) -> "pa.Table":
        """Return rows of the images table for some of them, counted from 0.

        Args:
            kept: which of them, (n,).
            content: hash of the file that each was read from, (n,).
        """
        import pyarrow as pa

        split = np.array(self.rows["split"].to_pylist(), np.str_)[kept]
        table = image_rows(self.samples.take(kept), split, content)
        if "source" not in self.rows.column_names:
            return table
        own = self.rows["source"].take(pa.array(kept))
        return table.set_column(table.schema.get_field_index("source"), "source", own)


def _open(uri: str) -> Source:
    try:
        return open_source(uri)
    except GeoindexError as error:
        return GoneSource(uri, str(error))


def embed_again(
    index: IndexFolder, live: Manifest, encoder: "Encoder", work: Path, executor: Executor = HERE
) -> tuple[int, LeftOut]:
    """Embed the images of a generation by another encoder, or go on with a run that was stopped.

    Args:
        index: of the generation.
        live: its manifest.
        encoder: reads the images.
        work: folder for what is embedded so far.
        executor: where they are embedded.

    Returns:
        The version of the images table that holds them, and those that could not be read any more.

    Raises:
        DatasetError: if no image can be read any more.
        StoreError: if a table cannot be read or written.
    """
    stored = StoredRows.read_from(index, live)
    gone = [source for source in stored.sources.values() if isinstance(source, GoneSource)]
    if len(gone) == len(stored.sources):
        raise DatasetNotFoundError(
            f"The images of '{index.root}' cannot be read again, since '{gone[0].uri}' cannot be opened "
            f"({gone[0].reason.rstrip('.')}); bring it back, or keep the encoder."
        )
    samples = stored.scan().samples
    try:
        embedded = embed_samples(stored, samples, encoder, work, executor.make)
    except EmptyDatasetError as error:
        shutil.rmtree(work)  # it holds why, and nothing else
        raise EmptyDatasetError(f"The images of '{index.root}' cannot be read again. {error}") from error
    rows = stored.table(embedded.rows, embedded.content)
    return store_images(index, rows, embedded, executor.store), embedded.left_out
