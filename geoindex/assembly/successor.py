"""The generation that follows another one when photos are added to it or removed from it.

Nothing is embedded, fitted or divided anew: files that do not change are shared with the parent, tables get the rows
that do, and the scales, the rule and the calibration stay as validation found them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from geoindex.ann import TwoStageIndex
from geoindex.assembly.revision import LEVELS, Added, Members, revised_rows
from geoindex.assembly.verification import record_canaries, verify_answers
from geoindex.errors import EmptyDatasetError
from geoindex.geo import haversine_km
from geoindex.progress import Stages
from geoindex.search.searcher import Searcher
from geoindex.store.checked import BLOCKS_SUFFIX
from geoindex.store.drift import Drift
from geoindex.store.durable import storage_errors
from geoindex.store.gallery import ADDED, BASE, DEAD
from geoindex.store.generations import Generation, IndexFolder
from geoindex.store.manifest import Manifest
from geoindex.store.schemas import vectors_from_arrow
from geoindex.store.sealing import seal
from geoindex.store.sidecar import Sidecar, open_sidecar, write_arrow
from geoindex.store.space import MAKE_ROOM, require_space
from geoindex.store.tombstones import TOMBSTONES_NAME
from geoindex.store.vouchers import VOUCHERS_NAME, write_vouchers

if TYPE_CHECKING:
    import pyarrow as pa

Rows = NDArray[np.int64]
Floats = NDArray[np.float64]

OWN = (f"{ADDED}.arrow", f"{ADDED}.npy", DEAD, TOMBSTONES_NAME, VOUCHERS_NAME)
"""Files that every successor writes itself, or has not."""


@dataclass(frozen=True, slots=True, eq=False)
class Change:
    """What becomes of a gallery.

    Attributes:
        images: version of the images table.
        joined: photos that are added.
        gone: images of the parent's gallery that are removed.
        clusters, cells: those that change, ascending.
        left: split of every image that was removed since the parent was made, (n,).
    """

    images: int
    joined: Added
    gone: Rows
    clusters: Rows
    cells: Rows
    left: list[str]


def succeed(index: IndexFolder, parent: Generation, images: int, joined: Added, stages: Stages) -> Generation:
    """Make the successor of a generation and publish it; photos that were removed since are left out of it.

    Args:
        index: of the parent.
        parent: generation that changes; it need not be live.
        images: version of the images table with the added photos.
        joined: what is added; empty if nothing is.
        stages: takes the times.

    Raises:
        EmptyDatasetError: if no photo would be left in its gallery.
        GeoindexError: if a step fails; the live generation is then as it was.
    """
    require_space(index.root, _needed_bytes(parent, joined), MAKE_ROOM)
    with storage_errors(index.root):
        name, folder = index.begin()
        try:
            draft = draft_successor(index, name, folder, parent, images, joined, stages)
            with stages("publish"):
                return index.publish(draft)
        except BaseException:
            index.abandon(folder)
            raise


def _needed_bytes(parent: Generation, joined: Added) -> int:
    """Return what a successor takes at the most, in bytes: what it shares with its parent takes nothing."""
    files = parent.manifest.files
    shared = {f"{BASE}.arrow", f"{BASE}.npy", f"{BASE}.npy{BLOCKS_SUFFIX}", f"{BASE}.arrow{BLOCKS_SUFFIX}"}
    written = sum(record.bytes for name, record in files.items() if name not in shared)
    # what joins is written to the gallery, and the clusters that change to their table
    return written + 2 * int(joined.facts.nbytes) + 14 * joined.embeddings.nbytes


def draft_successor(
    index: IndexFolder, name: str, folder: Path, parent: Generation, images: int, joined: Added, stages: Stages
) -> Generation:
    """Write the successor of a generation into a folder, and verify it; nothing is published."""
    with stages("read gallery"):
        sidecar = open_sidecar(parent)
        change = find_change(index, parent, sidecar, images, joined)
    with stages("geo-embeddings"):
        rows = revise_rows(index, parent, sidecar, change)
    with stages("store"):
        versions = parent.manifest.tables | {"images": images} | _merged(index, parent, rows)
        _write_gallery(folder, sidecar, change)
        _write_sidecar(folder, sidecar, rows)
        index.bury(folder)
        write_vouchers(index.tables, folder, versions)
    with stages("search index"):
        write_search_index(folder, parent, sidecar, rows)
    manifest = replace(
        parent.manifest, generation=name, parent=parent.manifest.generation, tables=versions,
        created=datetime.now(UTC).isoformat(timespec="seconds"), counts=counts_after(parent, change),
        drift=_drift(parent, sidecar, change).to_dict(), timings_s=stages.rounded(), canaries=[], files={},
    )  # fmt: skip
    with stages("verify"):
        return complete(index, folder, parent, manifest)


def find_change(index: IndexFolder, parent: Generation, sidecar: Sidecar, images: int, joined: Added) -> Change:
    """Return what becomes of the parent's gallery when photos join it and those leave it that were removed since.

    Raises:
        EmptyDatasetError: if no photo would be left.
    """
    removed = index.tombstones() - parent.tombstones()
    gone = sidecar.gallery.find(removed.ids)
    if not len(joined.embeddings) and not sidecar.gallery.count_without(removed.ids):
        raise EmptyDatasetError(
            f"All photos in the gallery of generation {parent.manifest.generation} of '{index.root}' were removed "
            f"since; name another one ('geoindex generations {index.root}' lists them), or add photos."
        )
    left = index.tables.matching("images", images, ["id", "split"], "id", sorted(removed.ids)) if removed else None
    splits = [] if left is None else left["split"].to_pylist()
    clusters = np.unique(np.concatenate([sidecar.gallery.column("cluster")[gone], joined.column("cluster")]))
    cells = np.unique(sidecar.cell_of_cluster[clusters])
    return Change(images, joined, gone, clusters, cells, splits)


def revise_rows(index: IndexFolder, parent: Generation, sidecar: Sidecar, change: Change) -> dict[str, "pa.Table"]:
    """Return the rows of each table that change; nothing if none does."""
    if len(change.clusters) == 0:
        return {}
    members = Members.of(sidecar.gallery, change.gone, change.joined, sidecar.cell_of_cluster, change.cells)
    delta = _delta(sidecar, change)
    cell_delta = np.zeros((len(change.cells), delta.shape[1]))
    np.add.at(cell_delta, np.searchsorted(change.cells, sidecar.cell_of_cluster[change.clusters]), delta)
    return {
        "cells": revised_rows(index, parent, "cells", change.cells, cell_delta, members),
        "clusters": revised_rows(index, parent, "clusters", change.clusters, delta, members),
    }


def _delta(sidecar: Sidecar, change: Change) -> Floats:
    """Return what is added to the sum of embeddings of each cluster that changes, (g, D)."""
    lost = sidecar.gallery.vectors(change.gone).astype(np.float64)
    delta = np.zeros((len(change.clusters), lost.shape[1]))
    came = np.searchsorted(change.clusters, change.joined.column("cluster"))
    np.add.at(delta, came, change.joined.embeddings.astype(np.float64))
    left = np.searchsorted(change.clusters, sidecar.gallery.column("cluster")[change.gone])
    np.subtract.at(delta, left, lost)
    return delta


def _merged(index: IndexFolder, parent: Generation, rows: Mapping[str, "pa.Table"]) -> dict[str, int]:
    """Write rows that change into their tables; return the new versions."""
    versions = {}
    for level, changed in rows.items():
        versions[level] = index.tables.merge(level, parent.manifest.tables[level], LEVELS[level], changed)
    return versions


def _write_gallery(folder: Path, sidecar: Sidecar, change: Change) -> None:
    """Write the photos that were added since the last rebuild, and which of the others are dead."""
    import pyarrow as pa

    gallery = sidecar.gallery
    base = len(gallery.segments[0])
    dead = np.union1d(gallery.dead, change.gone[change.gone < base])
    if len(dead):
        np.save(folder / DEAD, dead)
    kept = np.setdiff1d(np.arange(base, len(gallery)), change.gone)
    facts, vectors = change.joined.facts, change.joined.embeddings
    if len(kept):
        earlier = gallery.segments[1].facts.whole().take(kept - base)
        facts = pa.concat_tables([earlier.select(facts.column_names), facts])
        vectors = np.concatenate([gallery.vectors(kept), vectors])
    if len(vectors):
        order = np.lexsort((facts["row"].to_numpy(), facts["cluster"].to_numpy()))
        write_arrow(folder / f"{ADDED}.arrow", facts.take(order))
        np.save(folder / f"{ADDED}.npy", vectors[order])


def _write_sidecar(folder: Path, sidecar: Sidecar, rows: Mapping[str, "pa.Table"]) -> None:
    """Write the facts of cells and clusters with the rows that change."""
    for level, changed in rows.items():
        write_arrow(folder / f"{level}.arrow", with_rows(getattr(sidecar, level).whole(), LEVELS[level], changed))


def with_rows(table: "pa.Table", key: str, changed: "pa.Table") -> "pa.Table":
    """Return a table with those rows replaced that another one, sorted by `key`, has too; columns it lacks stay."""
    import pyarrow as pa

    wanted, own = changed[key].to_numpy(), table[key].to_numpy()
    place = np.minimum(np.searchsorted(wanted, own), len(wanted) - 1)
    rows = pa.array(np.where(wanted[place] == own, len(own) + place, np.arange(len(own))))
    for number, field in enumerate(table.schema):
        if field.name in changed.column_names:
            both = pa.chunked_array([*table[field.name].chunks, *changed[field.name].cast(field.type).chunks])
            table = table.set_column(number, field, both.take(rows))
    return table


def write_search_index(folder: Path, parent: Generation, sidecar: Sidecar, rows: Mapping[str, "pa.Table"]) -> None:
    """Write the parent's search index with the geo-embeddings that change; nothing if none does."""
    if not rows:
        return
    ann = TwoStageIndex.load_copy(parent.checked("index.faiss"))
    cells, clusters = rows["cells"], rows["clusters"]
    changed = clusters["cluster"].to_numpy().astype(np.int64)
    ann.replace(
        cells["cell"].to_numpy().astype(np.int64), vectors_from_arrow(cells["embedding"].combine_chunks()),
        changed, vectors_from_arrow(clusters["embedding"].combine_chunks()), sidecar.cell_of_cluster[changed],
    )  # fmt: skip
    ann.save(folder / "index.faiss")


def complete(index: IndexFolder, folder: Path, parent: Generation, manifest: Manifest) -> Generation:
    """Share those files of the parent that were not written anew, seal the folder, and verify its answers.

    Raises:
        IndexDamagedError: if it does not answer as its tables say.
    """
    own = {*OWN, *(path.name for path in folder.iterdir())}
    files = parent.manifest.files.items()
    shared = {name: record for name, record in files if name.removesuffix(BLOCKS_SUFFIX) not in own}
    for name in shared:
        parent.share(name, folder)
    draft = seal(folder, manifest, shared)
    canaries = record_canaries(Searcher.open(draft), int(manifest.recipe["search"]["top_cells"]))
    draft = replace(draft, manifest=replace(draft.manifest, canaries=canaries))
    verify_answers(index.tables, draft)
    return draft


def counts_after(parent: Generation, change: Change) -> dict[str, int]:
    """Return the counts of the manifest as a change makes them."""
    counts, left = dict(parent.manifest.counts), change.left
    counts["images"] += len(change.joined.embeddings) - len(left)
    counts["removed"] = counts.get("removed", 0) + len(left)
    counts["gallery"] += len(change.joined.embeddings) - left.count("train")
    for split in ("val", "test"):
        counts[split] -= left.count(split)
    return counts


def _drift(parent: Generation, sidecar: Sidecar, change: Change) -> Drift:
    manifest = parent.manifest
    before = Drift(**manifest.drift) if manifest.drift else Drift(manifest.generation, manifest.counts["gallery"])
    cell = sidecar.cell_of_cluster[change.joined.column("cluster")]
    lat, lon, reach_km = (sidecar.cells[name].to_numpy()[cell] for name in ("lat", "lon", "radius95_km"))
    far = haversine_km(change.joined.column("lat"), change.joined.column("lon"), lat, lon) > reach_km
    return before.after(added=len(cell), removed=len(change.gone), far=int(np.sum(far)))
