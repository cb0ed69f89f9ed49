"""Labels of stored photos, set from a table."""

from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geoindex.assembly.revision import Added
from geoindex.assembly.successor import succeed
from geoindex.errors import DatasetNotFoundError, EmptyDatasetError, TableError
from geoindex.progress import Stages
from geoindex.store.generations import IndexFolder
from geoindex.types import LABELS

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class Labelling:
    """What was labelled.

    Attributes:
        path: folder of the index.
        generation: the one that answers now.
        labels: names of the labels.
        labelled: photos that have them now.
        unknown: ids of the table that no photo has.
    """

    path: Path
    generation: str
    labels: tuple[str, ...]
    labelled: int
    unknown: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON types."""
        return {"schema": 1, **asdict(self), "path": str(self.path)}

    def to_text(self) -> str:
        """Return it as lines."""
        lines = [f"{self.path}: {', '.join(self.labels)} of {self.labelled:,} photos; generation {self.generation}"]
        if self.unknown:
            lines.append(f"{len(self.unknown)} ids are in no photo (such as {', '.join(self.unknown[:3])})")
        return "\n".join(lines)


def label_images(index: str | PathLike[str], table: str | PathLike[str]) -> Labelling:
    """Set labels of stored photos, over those that are there, and publish the generation that has them.

    Args:
        index: folder of the index.
        table: .csv, .tsv or .parquet with a column id and one or more of the known labels; an empty cell unsets one.

    Raises:
        DatasetError: if the table cannot be used.
        GeoindexError: if anything else fails; the live generation is then as it was.
    """
    folder, path = IndexFolder(Path(index)), Path(table)
    folder.current()
    rows = _read_labels(path)
    with folder.writing():
        live = folder.current()
        version = live.manifest.tables["images"]
        ids: list[str] = rows["id"].to_pylist()
        known = set(folder.tables.matching("images", version, ["id"], "id", ids)["id"].to_pylist())
        if not known:
            raise EmptyDatasetError(
                f"No photo of '{folder.root}' has an id of '{path}', such as '{ids[0]}'; check them."
            )
        version = folder.tables.merge("images", version, "id", rows)
        live = succeed(folder, live, version, Added.nothing(live.manifest.dim), Stages())
    labels = tuple(name for name in rows.column_names if name != "id")
    unknown = tuple(id for id in ids if id not in known)
    return Labelling(folder.root, live.manifest.generation, labels, len(known), unknown)


def _read_labels(path: Path) -> "pa.Table":
    """Read ids and labels as text, each id once."""
    import pyarrow as pa

    if not path.is_file():
        raise DatasetNotFoundError(f"There is no table '{path}'; check the path.")
    try:
        table = _read_table(path)
    except (pa.ArrowException, OSError, UnicodeError) as error:
        raise TableError(f"Cannot read the table '{path}': {str(error).splitlines()[0]}.") from error
    labels = [name for name in table.column_names if name in LABELS]
    if "id" not in table.column_names or not labels:
        raise TableError(f"'{path}' needs a column id and one or more of {', '.join(LABELS)}.")
    rows = pa.table({name: table[name].cast(pa.string()) for name in ("id", *labels)})
    ids = rows["id"].to_pylist()
    if None in ids or len(set(ids)) < len(ids) or not ids:
        raise TableError(f"'{path}' must name each photo once: an id is missing or appears twice.")
    return rows


def _read_table(path: Path) -> "pa.Table":
    from pyarrow import csv, parquet

    if path.suffix.lower() == ".parquet":
        return parquet.read_table(path)
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    options = csv.ConvertOptions(strings_can_be_null=True, null_values=[""])
    return csv.read_csv(path, parse_options=csv.ParseOptions(delimiter=delimiter), convert_options=options)
