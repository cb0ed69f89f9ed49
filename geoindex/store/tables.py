"""The system of record: three Lance tables with explicit schemas.

`images` holds what never changes when cells are made anew (position, labels, split, features);
`cells` and `clusters` hold what one generation decided. A generation names the version of each.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geoindex.errors import IndexDamagedError, StorageError
from geoindex.store.durable import FileRecord, storage_errors, sync, sync_tree, write_durably
from geoindex.store.versions import removable, require_whole
from geoindex.types import LABELS

if TYPE_CHECKING:
    import pyarrow as pa

TABLES = ("images", "cells", "clusters")
IMMUTABLE, CHECKSUMS = (".lance", ".manifest"), "checksums"


def image_schema(dim: int) -> "pa.Schema":
    """Return the schema of the images: `row` counts from 0, features are (dim,) float16."""
    import pyarrow as pa

    fields = [("row", pa.int64()), ("id", pa.string()), ("split", pa.string()), ("image", pa.string())]
    fields += [("lat", pa.float64()), ("lon", pa.float64()), ("heading_deg", pa.float32())]
    fields += [(label, pa.string()) for label in LABELS]
    return pa.schema([*fields, ("features", pa.list_(pa.float16(), dim))])


def cell_schema(dim: int) -> "pa.Schema":
    """Return the schema of the geocells; `embedding` is the geo-embedding, (dim,) float32."""
    import pyarrow as pa

    return pa.schema([("cell", pa.int32()), *_place_fields(), *_embedding_fields(dim)])


def cluster_schema(dim: int) -> "pa.Schema":
    """Return the schema of the clusters, ordered by cell; `inside` numbers the coarser clusters that hold them."""
    import pyarrow as pa

    groups = [("cluster", pa.int32()), ("cell", pa.int32()), ("inside", pa.list_(pa.int32()))]
    return pa.schema([*groups, *_place_fields(), *_embedding_fields(dim)])


def _place_fields() -> list[tuple[str, "pa.DataType"]]:
    import pyarrow as pa

    positions = [(name, pa.float64()) for name in ("site_lat", "site_lon", "lat", "lon")]
    radii = [(name, pa.float64()) for name in ("radius_km", "radius95_km", "spread_km")]
    return [*positions, ("n_images", pa.int64()), *radii, ("place", pa.string())]


def _embedding_fields(dim: int) -> list[tuple[str, "pa.DataType"]]:
    import pyarrow as pa

    # the sum of member embeddings makes later additions and removals exact
    return [("embedding", pa.list_(pa.float32(), dim)), ("embedding_sum", pa.list_(pa.float64(), dim))]


def vectors_to_arrow(vectors: NDArray[Any]) -> "pa.Array":
    """Turn (N, D) into an Arrow array of N fixed-size lists without copying."""
    import pyarrow as pa

    flat = pa.array(np.ascontiguousarray(vectors).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])


def vectors_from_arrow(array: "pa.FixedSizeListArray") -> NDArray[Any]:
    """Turn an Arrow array of N fixed-size lists into (N, D) without copying."""
    vectors: NDArray[Any] = array.flatten().to_numpy().reshape(-1, array.type.list_size)
    return vectors


@dataclass(frozen=True, slots=True)
class LanceTables:
    """The three tables below one folder.

    Attributes:
        folder: holds `images.lance`, `cells.lance`, `clusters.lance`.
    """

    folder: Path

    def write(self, name: str, schema: "pa.Schema", batches: Iterable["pa.RecordBatch"]) -> int:
        """Write a new version of a table, wait until it is on the disk, and return the version.

        Readers of earlier versions are not disturbed.

        Raises:
            StorageError: if the disk refuses.
            IndexDamagedError: if the table is there and cannot be read.
        """
        import pyarrow as pa

        # Lance warns of a table that it is to overwrite and does not find
        mode = "overwrite" if (self.folder / f"{name}.lance").exists() else "create"
        reader = pa.RecordBatchReader.from_batches(schema, batches)
        with storage_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            self._check_head(name)
            before = self._files(name)
            table = self._connect().create_table(name, reader, mode=mode)
            written = self._files(name) - before
            require_whole(written)
            sync_tree(self.folder / f"{name}.lance")
            sync(self.folder)
            self._record(name, int(table.version), written)
        return int(table.version)

    def _files(self, name: str) -> set[Path]:
        """Return the files that never change once they are written: data, and what each version is made of."""
        parts = (self.folder / f"{name}.lance" / part for part in ("data", "_versions"))
        return {path for part in parts if part.is_dir() for path in part.iterdir() if path.suffix in IMMUTABLE}

    def _record(self, name: str, version: int, files: set[Path]) -> None:
        """Write down size and checksum of the files of a version, which Lance itself does not."""
        records = {path.relative_to(self.folder).as_posix(): asdict(FileRecord.of(path)) for path in sorted(files)}
        path = self._record_path(name, version)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_durably(path, (json.dumps(records, indent=1) + "\n").encode())

    def _record_path(self, name: str, version: int) -> Path:
        return self.folder / CHECKSUMS / f"{name}-{version}.json"

    def recorded(self, name: str, version: int) -> bool:
        """Tell whether the files of a version have checksums; those of older versions of geoindex have none."""
        return self._record_path(name, version).exists()

    def faults(self, name: str, version: int) -> list[str]:
        """Return what is wrong with the files of a version, compared with their checksums; nothing if all is right."""
        path = self._record_path(name, version)
        try:
            records = {file: FileRecord(**record) for file, record in json.loads(path.read_bytes()).items()}
        except FileNotFoundError:
            return []
        except (ValueError, TypeError, AttributeError, RecursionError):
            return [f"'{path}' is not what was written"]
        return [fault for file, record in records.items() if (fault := _fault(self.folder / file, record))]

    def set_aside(self, name: str, quarantine: Path) -> list[Path]:
        """Move versions into another folder that are not what was written, or are newest and cannot be opened.

        Lance opens no version of a table whose newest one is damaged, and takes zeros for an empty table.
        """
        versions = self.folder / f"{name}.lance" / "_versions"
        bad = [path for path in versions.glob("*.manifest") if self._differs(path)]
        moved = [_move(path, quarantine, name) for path in bad]
        while not self._opens(name):
            manifests = sorted(versions.glob("*.manifest"))  # Lance counts names down: the newest comes first
            if len(manifests) < 2:
                break
            moved.append(_move(manifests[0], quarantine, name))
        sync(versions)
        return moved

    def _opens(self, name: str) -> bool:
        try:
            self._connect().open_table(name)
        except (OSError, RuntimeError, ValueError):
            return False
        return True

    def _differs(self, path: Path) -> bool:
        """Tell whether a file of a table is recorded with another checksum."""
        file = path.relative_to(self.folder).as_posix()
        for record in (self.folder / CHECKSUMS).glob("*.json"):
            try:
                wanted = json.loads(record.read_bytes())[file]
            except (ValueError, TypeError, KeyError, RecursionError):
                continue
            return bool(asdict(FileRecord.of(path)) != wanted)
        return False

    def _check_head(self, name: str) -> None:
        """Refuse to write over a table whose newest version is damaged: its versions would count from 1 again."""
        if any((self.folder / f"{name}.lance" / "_versions").glob("*.manifest")):
            with self._damaged(name, "its newest version"):
                self._connect().open_table(name)

    def tag(self, name: str, version: int, tag: str) -> None:
        """Keep a version of a table from being cleaned up."""
        tags = self._connect().open_table(name).tags
        (tags.update if tag in tags.list() else tags.create)(tag, version)
        sync_tree(self.folder / f"{name}.lance" / "_refs")
        sync(self.folder / f"{name}.lance")

    def untag(self, name: str, wanted: Callable[[str], bool]) -> None:
        """Drop the tags of a table that are not wanted any more."""
        with self._damaged(name, "its newest version"):
            tags = self._connect().open_table(name).tags
            for tag in [tag for tag in tags.list() if not wanted(tag)]:
                tags.delete(tag)

    def clean(self, name: str, oldest: int) -> None:
        """Remove the versions before the oldest one that is needed, with files that no version needs."""
        with self._damaged(name, "its newest version"):
            table = self._connect().open_table(name)
            times = {int(entry["version"]): entry["timestamp"] for entry in table.list_versions()}
            before, age = removable(times, oldest, datetime.now())
            if not before:
                return
            table.optimize(cleanup_older_than=age, delete_unverified=True)
            for version in before:
                self._record_path(name, version).unlink(missing_ok=True)
        with storage_errors(self.folder):
            sync_tree(self.folder / f"{name}.lance")

    def read(self, name: str, version: int, columns: list[str], where: str | None = None) -> "pa.Table":
        """Read columns of one version, ordered by the first of `columns`.

        Raises:
            IndexDamagedError: if the table or this version of it cannot be read.
        """
        with self._damaged(name, f"version {version}"):
            query = self._connect().open_table(name, version=version).search().select(columns)
            query = query.where(where) if where else query
            return query.limit(None).to_arrow().sort_by(columns[0])

    def columns(self, name: str, version: int) -> list[str]:
        """Return the names of the columns of one version.

        Raises:
            IndexDamagedError: if the table or this version of it cannot be read.
        """
        with self._damaged(name, f"version {version}"):
            columns: list[str] = self._connect().open_table(name, version=version).schema.names
            return columns

    def features(self, version: int, where: str, batch_rows: int = 8192) -> Iterator["pa.RecordBatch"]:
        """Stream `row` and `features` of the images that fulfil `where`, in no particular order.

        Raises:
            IndexDamagedError: if the table or this version of it cannot be read.
        """
        with self._damaged("images", f"version {version}"):
            table = self._connect().open_table("images", version=version)
            query = table.search().select(["row", "features"]).where(where).limit(None)
            yield from query.to_batches(batch_rows)

    @contextmanager
    def _damaged(self, name: str, version: str) -> Iterator[None]:
        try:
            yield
        except (OSError, RuntimeError, ValueError) as error:
            raise IndexDamagedError(
                f"Table '{self.folder / name}.lance' cannot be read at {version} ({_first_line(error)}); "
                f"run 'geoindex repair {self.folder.parent}', or restore the folder from a copy or build the index "
                "again in another folder."
            ) from error

    def _connect(self) -> Any:
        import lancedb

        try:
            return lancedb.connect(self.folder)
        except ValueError as error:  # control characters, for one
            raise StorageError(
                f"Lance takes no folder of the name {str(self.folder)!r}; choose another with --out."
            ) from error


def _move(path: Path, folder: Path, name: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return path.rename(folder / f"{name}-{path.name}")


def _fault(path: Path, record: FileRecord) -> str:
    if not path.is_file():
        return f"'{path}' is gone"
    return "" if FileRecord.of(path) == record else f"'{path}' does not have its checksum"


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
