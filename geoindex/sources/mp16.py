"""Turns MP16-Pro (tables, and one tar archive in whole or in parts, read in place) into samples."""

import tarfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from geoindex.errors import DatasetNotFoundError, EmptyDatasetError
from geoindex.images import ImageInput
from geoindex.sources.cleaning import as_text, clean
from geoindex.sources.source import LeftOut, Scan
from geoindex.sources.tabular import read_columns
from geoindex.sources.tars import TarDirectory, Tars
from geoindex.store.buckets import Place, on_disk

if TYPE_CHECKING:
    import pyarrow as pa

ARCHIVE = "mp-16-images.tar"
TABLES = ("MP16_Pro_filtered.csv", "MP16_Pro_places365.csv", "mp16_places365.csv")
"""The first that is there is read."""

LEAST_BYTES = 5120
"""Smaller files are placeholders of photos that Flickr no longer has."""

NO_MEMBER = "image is not in the archive, or a placeholder"


@dataclass(frozen=True)
class Mp16:
    """MP-16 as MP16-Pro (Jia-py/MP16-Pro): ROOT/metadata/*.csv and ROOT/mp-16-images00 ... 18, or the tar of these.

    The parts need not be joined, and the first few of them are a fair copy. In the archive `/` in IMG_ID is `_`.

    Attributes:
        root: folder of the data set.
    """

    root: Place
    _tars: Tars = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_tars", Tars(self.root.absolute()))

    @property
    def uri(self) -> str:
        """The URI that opens this source again."""
        return f"mp16:{self.root.absolute()}"

    def scan(self) -> Scan:
        """List the rows whose image is in the archive.

        Raises:
            DatasetNotFoundError: if table or archive are missing.
            TableError: if the table cannot be parsed.
            EmptyDatasetError: if no row is usable.
        """
        folders = (self.root / "metadata", self.root)
        table = next((f / name for name in TABLES for f in folders if (f / name).is_file()), None)
        if table is None or not self._tars.parts(ARCHIVE):
            raise DatasetNotFoundError(
                f"No MP16-Pro in '{self.root}': expected 'metadata/{TABLES[0]}' and 'mp-16-images00' and so on there; "
                "download them from the Hugging Face data set Jia-py/MP16-Pro."
            )
        left_out = LeftOut()
        left_out.harmless.add(NO_MEMBER)  # the first parts are a fair copy
        with on_disk(table) as file:
            raw = read_columns(file, {}, left_out)
        ids = as_text(raw["id" if "id" in raw else "image"], "id")
        directory = self._directory()
        directory.report(ARCHIVE, left_out, may_be_cut=not (self.root / ARCHIVE).is_file())
        samples = clean({**raw, "id": ids, "image": _located(ids, directory)}, left_out, no_image=NO_MEMBER)
        if len(samples) == 0:
            raise EmptyDatasetError(f"No row of '{table}' is usable ({left_out.summary()}); do table and parts fit?")
        return Scan(samples, left_out)

    def read(self, image: str) -> ImageInput:
        """Return the bytes of a member.

        Raises:
            UnreadableImageError: if it is missing or the archive is damaged.
        """
        return self._tars.read(ARCHIVE, image)

    def file_of(self, image: str) -> Place:
        """Return the path of the archive, or of its first part, whether it exists or not."""
        return next(iter(self._tars.parts(ARCHIVE)), self.root.absolute() / ARCHIVE)

    def _directory(self) -> TarDirectory:
        try:
            return self._tars.directory(ARCHIVE)
        except tarfile.TarError as error:
            raise DatasetNotFoundError(
                f"The archive in '{self.root}' cannot be read ({error}); download its first part again."
            ) from error


def _located(ids: "pa.ChunkedArray", directory: TarDirectory) -> "pa.ChunkedArray":
    """Return the member of each row, null where there is none."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kept = np.flatnonzero(directory.places[:, 1] >= LEAST_BYTES)
    members = pa.array(directory.names[kept].tolist(), pa.binary()).cast(pa.string())
    ends = pc.replace_substring_regex(members, r"^.*/", "")
    found = pc.index_in(pc.replace_substring(ids, "/", "_"), value_set=ends)
    return pa.chunked_array([members]).take(found)
