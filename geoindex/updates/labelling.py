"""Labels of stored photos, set from a table."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geoindex.assembly.revision import Added
from geoindex.assembly.successor import succeed
from geoindex.errors import EmptyDatasetError, TableError
from geoindex.progress import Stages
from geoindex.sources.cleaning import as_label, as_text, without_point_zero
from geoindex.sources.source import LeftOut
from geoindex.sources.tabular import read_chosen
from geoindex.store.address import folder_of
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
        table: .csv, .tsv, .parquet or .jsonl with a column id and one or more of the known labels; an empty cell
            unsets one.

    Raises:
        DatasetError: if the table cannot be used.
        GeoindexError: if anything else fails; the live generation is then as it was.
    """
    folder, path = IndexFolder(folder_of(index)), Path(table)
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
    """Read ids and labels as text, each id once, as they are read where an index is built."""
    import pyarrow as pa

    left_out = LeftOut()
    raw = read_chosen(path, lambda names: _chosen(names, path), left_out)
    if left_out.total:
        raise TableError(f"'{path}' has rows that cannot be read ({left_out.summary()}); correct them.")
    columns = {name: as_label(as_text(column, name), name) for name, column in raw.items() if name != "id"}
    rows = pa.table({"id": without_point_zero(as_text(raw["id"], "id")), **columns})
    ids = rows["id"].to_pylist()
    if None in ids or len(set(ids)) < len(ids) or not ids:
        raise TableError(f"'{path}' must name each photo once: an id is missing or appears twice.")
    return rows


def _chosen(names: Sequence[str], path: Path) -> dict[str, str]:
    """Return the columns of ids and labels by name."""
    wanted = {name: name for name in names if name in ("id", *LABELS)}
    if "id" not in wanted or len(wanted) == 1:
        raise TableError(f"'{path}' needs a column id and one or more of {', '.join(LABELS)}.")
    return wanted
