"""Turns a table of positions (.csv, .tsv, .parquet, .jsonl) into samples."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from geoindex.errors import EmptyDatasetError, UnreadableImageError
from geoindex.images import IMAGE_SUFFIXES, ImageInput
from geoindex.sources.cleaning import OFF_LATITUDE, as_text, clean, without_point_zero
from geoindex.sources.columns import Columns
from geoindex.sources.source import LeftOut, Scan, existing_image
from geoindex.sources.tabular import read_columns

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class TableSource:
    """Samples listed in a table; images lie where it says, relative to the table's folder.

    Columns are found by their usual names (`geoindex.sources.columns.SPELLINGS`). Without an image column the
    image is the id, with `.jpg` appended if it has no image suffix; without an id column the id is the image;
    without both, ids are row numbers, and there are positions but no images. Images are not looked at here:
    unreadable ones show when they are embedded.

    Attributes:
        path: the table file.
        columns: columns by meaning (lat, lon, id, image, author, ...) where names do not tell.
    """

    path: Path
    columns: Mapping[str, str] = field(default_factory=dict)

    @property
    def uri(self) -> str:
        """The URI that opens this source again (with the same `columns`)."""
        return f"table:{self.path.absolute()}"

    def scan(self) -> Scan:
        """List the rows with a valid position.

        Raises:
            DatasetNotFoundError: if there is no such table, or it is of no known kind.
            TableError: if it cannot be parsed or lacks coordinates.
            EmptyDatasetError: if no row is usable.
        """
        left_out = LeftOut()
        samples = clean(_named(read_columns(self.path, self.columns, left_out)), left_out)
        if len(samples) == 0:
            raise EmptyDatasetError(self._why_empty(left_out))
        return Scan(samples, left_out)

    def _why_empty(self, left_out: LeftOut) -> str:
        if not left_out.total:
            return f"Table '{self.path}' has a header and no rows; add rows, or name another table."
        swapped = OFF_LATITUDE in left_out.summary()
        cure = "correct its coordinates" + (
            ", or name swapped columns with --column lat=NAME --column lon=NAME" * swapped
        )
        return f"Table '{self.path}' has no usable row ({left_out.summary()}); {cure}."

    def read(self, image: str) -> ImageInput:
        """Return the path of an image.

        Raises:
            UnreadableImageError: if the table names no image, or there is no such file.
        """
        if not image:
            raise UnreadableImageError(image, f"the table '{self.path}' has no column of images")
        return existing_image(self.file_of(image))

    def file_of(self, image: str) -> Path:
        """Return the path of an image, whether it exists or not."""
        return self.path.absolute().parent / image


def _named(raw: Columns) -> Columns:
    """Return the columns with an id and an image, whatever the table has of them."""
    if "id" in raw:
        ids = without_point_zero(as_text(raw["id"], "id"))
        return {**raw, "id": ids, "image": raw["image"] if "image" in raw else _file_names(ids)}
    if "image" in raw:
        return {**raw, "id": as_text(raw["image"], "image")}
    return {**raw, "id": _row_numbers(len(raw["lat"]))}


def _file_names(ids: "pa.ChunkedArray") -> "pa.ChunkedArray":
    import pyarrow.compute as pc

    suffixes = "|".join(suffix.removeprefix(".") for suffix in sorted(IMAGE_SUFFIXES))
    has_suffix = pc.match_substring_regex(ids, rf"(?i)\.({suffixes})$")
    return pc.if_else(has_suffix, ids, pc.binary_join_element_wise(ids, ".jpg", ""))


def _row_numbers(count: int) -> "pa.ChunkedArray":
    import pyarrow as pa

    return pa.chunked_array([pa.array(range(count)).cast(pa.string())])
