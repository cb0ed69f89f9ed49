"""A generation without the rows of removed photos: the same answers, written anew in one piece.

Tables are written whole, so that the files of their earlier versions can be deleted with what they hold; images are
counted again from 0.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from geoindex.assembly.revision import GALLERY_COLUMNS, LEVELS, Added
from geoindex.assembly.successor import (
    Change,
    complete,
    counts_after,
    find_change,
    revise_rows,
    with_rows,
    write_search_index,
)
from geoindex.progress import Progress, Stages
from geoindex.store.gallery import BASE, Gallery, firsts
from geoindex.store.generations import Generation, IndexFolder
from geoindex.store.sidecar import Sidecar, open_sidecar, write_arrow
from geoindex.store.vouchers import write_vouchers

if TYPE_CHECKING:
    import pyarrow as pa

Rows = NDArray[np.int64]

COPIED_ROWS = 8192


@dataclass(frozen=True, slots=True, eq=False)
class PurgedImages:
    """A version of the images table without removed photos.

    Attributes:
        version: of the table.
        row_of: row there of each row of the version before, (N,); -1 for those that are no more.
    """

    version: int
    row_of: Rows


def purge_images(index: IndexFolder, version: int) -> PurgedImages:
    """Write a version of the images table without the photos that were removed.

    Raises:
        StoreError: if the disk refuses, or the table cannot be read.
    """
    removed = index.tombstones().cover(index.tables.read("images", version, ["row", "id"])["id"])
    row_of = np.where(removed, -1, np.cumsum(~removed) - 1).astype(np.int64)
    batches = _without(index, version, row_of)
    return PurgedImages(index.tables.write("images", index.tables.schema("images", version), batches), row_of)


def _without(index: IndexFolder, version: int, row_of: Rows) -> Iterator["pa.RecordBatch"]:
    import pyarrow as pa

    with Progress("copying images", len(row_of), "image") as bar:
        for batch in index.tables.scan("images", version, index.tables.columns("images", version)):
            rows = row_of[batch["row"].to_numpy()]
            place = batch.schema.get_field_index("row")
            yield batch.set_column(place, "row", pa.array(rows)).filter(pa.array(rows >= 0))
            bar.advance(len(rows))


def draft_purged(
    index: IndexFolder, name: str, folder: Path, parent: Generation, images: PurgedImages, stages: Stages
) -> Generation:
    """Write a generation that answers as its parent does without the removed photos, and verify it.

    Args:
        index: of the parent.
        name: of the new generation.
        folder: to write it into.
        parent: to copy.
        images: the parent's version of the images table, purged.
        stages: takes the times.

    Raises:
        GeoindexError: if a step fails; nothing is published.
    """
    with stages("read gallery"):
        sidecar = open_sidecar(parent)
        change = find_change(
            index, parent, sidecar, parent.manifest.tables["images"], Added.nothing(parent.manifest.dim)
        )
        rows = revise_rows(index, parent, sidecar, change)
    with stages("store"):
        versions = {"images": images.version} | {
            level: index.tables.write(level, *_patched(index, parent, level, rows.get(level))) for level in LEVELS
        }
        _write_files(folder, sidecar, change, images, rows)
        index.bury(folder)
        write_vouchers(index.tables, folder, versions)
    with stages("search index"):
        write_search_index(folder, parent, sidecar, rows)
    counts = counts_after(parent, change) | {"removed": 0}
    manifest = replace(
        parent.manifest, generation=name, tables=versions, counts=counts, canaries=[], files={},
        created=datetime.now(UTC).isoformat(timespec="seconds"), timings_s=stages.rounded(),
    )  # fmt: skip
    with stages("verify"):
        return complete(index, folder, parent, manifest)


def _patched(
    index: IndexFolder, parent: Generation, level: str, changed: "pa.Table | None"
) -> tuple["pa.Schema", Iterator["pa.RecordBatch"]]:
    """Return schema and rows of a table of the parent with those that change."""
    version = parent.manifest.tables[level]
    schema = index.tables.schema(level, version)
    batches = index.tables.scan(level, version, schema.names)
    return schema, batches if changed is None else _with_rows(batches, LEVELS[level], changed)


def _with_rows(batches: Iterator["pa.RecordBatch"], key: str, changed: "pa.Table") -> Iterator["pa.RecordBatch"]:
    import pyarrow as pa

    for batch in batches:
        yield from with_rows(pa.Table.from_batches([batch]), key, changed).combine_chunks().to_batches()


def _write_files(
    folder: Path, sidecar: Sidecar, change: Change, images: PurgedImages, rows: dict[str, "pa.Table"]
) -> None:
    """Write the gallery in one segment, and the facts of cells and clusters."""
    import pyarrow as pa

    gallery = sidecar.gallery
    kept = gallery.live()
    kept[change.gone] = False
    row, cluster = images.row_of[gallery.column("row")], gallery.column("cluster")
    order = np.flatnonzero(kept)[np.lexsort((row[kept], cluster[kept]))]
    segments = [segment.facts.whole().select(GALLERY_COLUMNS) for segment in gallery.segments]
    facts = pa.concat_tables(segments).take(order)
    facts = facts.set_column(0, facts.schema.field(0), pa.array(row[order]))
    write_arrow(folder / f"{BASE}.arrow", facts)
    _write_vectors(folder / f"{BASE}.npy", gallery, order)
    tables = {level: getattr(sidecar, level).whole() for level in LEVELS}
    for level, changed in rows.items():
        tables[level] = with_rows(tables[level], LEVELS[level], changed)
    first = pa.array(firsts(cluster[order], tables["clusters"].num_rows)[:-1])
    place = tables["clusters"].schema.get_field_index("first")
    tables["clusters"] = tables["clusters"].set_column(place, "first", first)
    for level, table in tables.items():
        write_arrow(folder / f"{level}.arrow", table)


def _write_vectors(path: Path, gallery: Gallery, order: Rows) -> None:
    """Write the embeddings of images in an order, a few at a time."""
    dim = gallery.segments[0].embeddings.shape[1]
    with path.open("wb") as file, Progress("copying embeddings", len(order), "image") as bar:
        header = {"descr": "<f2", "fortran_order": False, "shape": (len(order), dim)}
        np.lib.format.write_array_header_1_0(file, header)
        for start in range(0, len(order), COPIED_ROWS):
            part = order[start : start + COPIED_ROWS]
            file.write(gallery.vectors(part).tobytes())
            bar.advance(len(part))
