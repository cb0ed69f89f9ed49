"""Turns a table of positions and the images anywhere below a folder, whatever became of their names, into samples."""

import csv
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from geoindex.errors import DatasetNotFoundError, EmptyDatasetError, TableError
from geoindex.images import ImageInput
from geoindex.sources.cleaning import as_text, clean, without_point_zero
from geoindex.sources.columns import Columns
from geoindex.sources.image_names import ImageNames
from geoindex.sources.source import LeftOut, Scan, existing_image
from geoindex.sources.tabular import READERS, read_columns

NO_FILE = "its image is not in the folder"
AMBIGUOUS = "its image cannot be told from others of its name"


@dataclass(frozen=True)
class ListedSource:
    """Samples of a table whose images lie anywhere below a folder, as the Flickr benchmarks are handed round.

    An image is found at the path below the folder that the row names, else by the longest end of a path that is the
    same: with or without suffix, or with the folders written `_`. `@`, which some tools replace, counts as `_`. Rows
    whose image cannot be told from others of its name are left out.

    Attributes:
        root: folder of the images.
        table: .csv, .tsv, .parquet or .jsonl; `info.txt` of YFCC4k or `info.json` of Im2GPS.
    """

    root: Path
    table: Path

    @property
    def uri(self) -> str:
        """The URI that opens this source again."""
        return f"listed:{self.root.absolute()}?table={self.table.absolute()}"

    def scan(self) -> Scan:
        """List the rows whose image is there.

        Raises:
            DatasetNotFoundError: if there is no such table, or none of its images is there.
            TableError: if it cannot be parsed or lacks coordinates.
            EmptyDatasetError: if no row is usable.
        """
        left_out = LeftOut()
        raw = OTHER_READERS.get(self.table.name, _read_table)(self.table, left_out)
        files = ImageNames.below(self.root)
        ids = without_point_zero(as_text(raw["id"] if "id" in raw else raw["image"], "id"))
        images, unclear = files.locate(ids.to_pylist())
        samples = clean(
            {**raw, "id": ids, **_text_columns({"image": images})}, left_out, no_image=NO_FILE,
            refused=[(AMBIGUOUS, np.array(unclear, bool))],
        )  # fmt: skip
        if len(samples) == 0 and left_out.counts.get(NO_FILE):
            raise DatasetNotFoundError(
                f"None of the {len(ids)} images of '{self.table}', such as '{ids[0]}', is in '{self.root}' or below "
                f"({len(files.paths)} other images are); put them there."
            )
        if len(samples) == 0:
            cure = "name a folder that has each image once" if left_out.counts.get(AMBIGUOUS) else "correct it"
            raise EmptyDatasetError(f"Table '{self.table}' has no usable row ({left_out.summary()}); {cure}.")
        return Scan(samples, left_out)

    def read(self, image: str) -> ImageInput:
        """Return the path of an image.

        Raises:
            UnreadableImageError: if there is no such file.
        """
        return existing_image(self.file_of(image))

    def file_of(self, image: str) -> Path:
        """Return the path of an image, whether it exists or not."""
        return self.root.absolute() / image


def _read_table(path: Path, left_out: LeftOut) -> Columns:
    raw = read_columns(path, {}, left_out)
    if "id" not in raw and "image" not in raw:
        raise TableError(f"Table '{path}' names no images; it needs a column such as IMG_ID.")
    return raw


def _read_yfcc(path: Path, left_out: LeftOut) -> Columns:
    """Read the rows of YFCC100M that YFCC4k comes with: tab-separated, without a header."""
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        rows = [row for row in csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE) if len(row) > YFCC["lat"]]
    if not rows:
        raise TableError(f"'{path}' holds no rows of YFCC100M; it needs tabs between at least {YFCC['lat'] + 1} cells.")
    return _text_columns({meaning: [row[column] for row in rows] for meaning, column in YFCC.items()})


YFCC = {"id": 1, "author": 3, "lon": 12, "lat": 13}
"""Columns of YFCC100M, where a line number comes first."""


def _read_im2gps(path: Path, left_out: LeftOut) -> Columns:
    """Read Im2GPS's info.json: by image, lines such as `latitude: 48.8` fourth and `longitude: 2.3` third from last."""
    try:
        listed = json.loads(path.read_text("utf-8"))
        rows = [(name, _number(lines[-4]), _number(lines[-3])) for name, lines in listed.items()]
    except (ValueError, AttributeError, IndexError, TypeError, KeyError) as error:
        raise TableError(f"'{path}' is not Im2GPS's info.json ({error}); take im2gps_places365.csv instead.") from error
    return _text_columns(dict(zip(("id", "lat", "lon"), map(list, zip(*rows, strict=True)), strict=True)))


def _number(line: str) -> str:
    return line.rpartition(":")[2].strip()


def _text_columns(columns: Mapping[str, Sequence[str | None]]) -> Columns:
    import pyarrow as pa

    return {meaning: pa.chunked_array([pa.array(cells, pa.string())]) for meaning, cells in columns.items()}


OTHER_READERS: Mapping[str, Callable[[Path, LeftOut], Columns]] = {"info.txt": _read_yfcc, "info.json": _read_im2gps}
"""Readers of tables that are known by their whole name."""


def is_table(path: Path) -> bool:
    """Tell whether a file may be the table of a `ListedSource`."""
    return path.name in OTHER_READERS or path.suffix.lower() in READERS


def tables_below(root: Path) -> Iterator[Path]:
    """Yield the files below a folder that may be tables, those nearest to it first."""
    found = [Path(folder, name) for folder, _, names in os.walk(root) for name in names]
    yield from sorted((p for p in found if is_table(p)), key=lambda p: (len(p.parts), p.as_posix()))
