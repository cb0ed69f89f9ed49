"""Turns a copy of OSV-5M (a table and zip shards for each split, read in place) into samples."""

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from geoindex.errors import (
    ConfigError,
    DatasetNotFoundError,
    EmptyDatasetError,
    TableError,
)
from geoindex.images import IMAGE_SUFFIXES, ImageInput
from geoindex.progress import track
from geoindex.sources.archive import Archives
from geoindex.sources.cleaning import as_text, clean, without_point_zero
from geoindex.sources.columns import Columns
from geoindex.sources.source import LeftOut, Scan, existing_image
from geoindex.sources.tabular import read_columns
from geoindex.store.buckets import Place, on_disk

if TYPE_CHECKING:
    import pyarrow as pa

SPLITS = ("train", "test")
NO_ARCHIVE = "image is in no archive"
DAMAGED = "archive is damaged"

_MARK = ".zip/"


@dataclass(frozen=True)
class Osv5m:
    """OSV-5M (Astruc et al., CVPR 2024): ROOT/{train,test}.csv and ROOT/images/{train,test}/NN.zip.

    Shards may also be extracted, to images/<split>/NN/<id>.jpg. Columns go by name; all but id, latitude and
    longitude are optional. An image is named by shard and member, or by its path below images/<split>.

    Attributes:
        root: folder of the data set.
        split: train or test.
    """

    root: Place
    split: str = "train"
    _archives: Archives = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.split not in SPLITS:
            raise ConfigError(f"OSV-5M has no split {self.split!r}; choose one of {', '.join(SPLITS)}.")
        object.__setattr__(self, "_archives", Archives(self._folder.absolute()))

    @property
    def uri(self) -> str:
        """The URI that opens this source again."""
        return f"osv5m:{self.root.absolute()}?split={self.split}"

    def scan(self) -> Scan:
        """List the rows whose image is at hand.

        Raises:
            DatasetNotFoundError: if the table or the images are missing.
            TableError: if the table cannot be parsed or lacks coordinates.
            EmptyDatasetError: if no row is usable.
        """
        table = self.root / f"{self.split}.csv"
        if not table.is_file() or not self._folder.is_dir():
            raise DatasetNotFoundError(self._expected())
        left_out = LeftOut()
        locators = self._locators(left_out)
        if len(locators) == 0:
            raise DatasetNotFoundError(self._expected())
        left_out.harmless.add(NO_ARCHIVE)  # a copy of some shards is a fair copy
        with on_disk(table) as file:
            raw = read_columns(file, {}, left_out)
        samples = clean(_placed(raw, locators), left_out, no_image=NO_ARCHIVE)
        if len(samples) == 0:
            raise EmptyDatasetError(f"Table '{table}' has no usable row ({left_out.summary()}); "
                                    f"are its images in '{self._folder}'?")  # fmt: skip
        return Scan(samples, left_out)

    def read(self, image: str) -> ImageInput:
        """Return the bytes of a member of a shard, or the path of an extracted image.

        Raises:
            UnreadableImageError: if it is missing or its shard is damaged.
        """
        shard, mark, member = image.partition(_MARK)
        if mark:
            return self._archives.read(shard + ".zip", member)
        return existing_image(self.file_of(image))

    def file_of(self, image: str) -> Place:
        """Return the path of the shard, or of an extracted image, whether it exists or not."""
        shard, mark, _ = image.partition(_MARK)
        return self._folder.absolute() / (shard + ".zip" if mark else image)

    @property
    def _folder(self) -> Place:
        return self.root / "images" / self.split

    def _expected(self) -> str:
        return (
            f"No OSV-5M {self.split} split in '{self.root}': expected '{self.split}.csv' and "
            f"'images/{self.split}/00.zip' (or extracted folders) there; "
            "download them from the Hugging Face data set osv5m/osv5m."
        )

    def _locators(self, left_out: LeftOut) -> "pa.StringArray":
        """Return the locators of all images, extracted ones first."""
        import pyarrow as pa

        locators = list(_extracted(self._folder))
        shards = sorted(path.name for path in self._folder.glob("*.zip"))
        for shard in track(shards, "Reading shards", unit="shard"):
            try:
                names = self._archives.directory(shard).names
            except (OSError, zipfile.BadZipFile):
                left_out.add(DAMAGED, shard)
                continue
            members = [name.decode() for name in names.tolist()]
            locators += [f"{shard}/{member}" for member in members if _is_image(member)]
        return pa.array(locators, pa.string())


def _extracted(folder: Place) -> Iterator[str]:
    """Yield the images in a folder and its sub-folders, as paths relative to it, sorted."""
    paths: list[Place] = [*folder.iterdir()]
    for path in sorted(paths, key=lambda path: path.name):
        if path.is_dir():
            yield from (f"{path.name}/{name}" for name in sorted(p.name for p in path.iterdir()) if _is_image(name))
        elif _is_image(path.name):
            yield path.name


def _is_image(name: str) -> bool:
    path = PurePosixPath(name)
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")


def _placed(raw: Columns, locators: "pa.StringArray") -> Columns:
    """Return the columns with each id's locator as its image, null where there is none."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if "id" not in raw:
        raise TableError("The table of OSV-5M has no 'id' column; open it with table:PATH instead.")
    ids = without_point_zero(as_text(raw["id"], "id"))
    stems = pc.replace_substring_regex(locators, r"^.*/|\.[^./]*$", "")
    found = pc.index_in(ids, value_set=stems)
    images = pa.chunked_array([locators]).take(found)
    return {**raw, "id": ids, "image": images}
