"""Photos of another source -> a generation that has them in its gallery, in the cells and clusters that are there."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geoindex.assembly.joining import join_gallery
from geoindex.assembly.report import Published
from geoindex.assembly.rows import image_batches, image_rows
from geoindex.assembly.successor import succeed
from geoindex.embed import Embedded, embed_samples
from geoindex.errors import ModelMismatchError, UnreadableImageError
from geoindex.images import content_hash
from geoindex.progress import Stages, track_rows
from geoindex.snapshot import OwnEncoder
from geoindex.sources import Source, open_source
from geoindex.sources.source import EmbeddedSource, LeftOut, left_out_lines, scan_images
from geoindex.store.address import folder_of
from geoindex.store.drift import Drift
from geoindex.store.generations import Generation, IndexFolder
from geoindex.store.schemas import image_schema
from geoindex.store.tombstones import REMOVED
from geoindex.types import Samples

if TYPE_CHECKING:
    from geoindex.encoder import Encoder

WORK = "adding"
Rows = NDArray[np.int64]

KNOWN = "it is in the index already"
COPY = "a copy of it is in the index already"
TAKEN = "another photo of the index has its id; give --prefix"


@dataclass(frozen=True, slots=True)
class Addition(Published):
    """What was added.

    Attributes:
        path: folder of the index.
        generation: the one that answers now.
        added: photos that joined the gallery.
        images: photos in the gallery after it.
        left_out: samples that were not taken: count and examples by reason.
        rebuild_due: why a rebuild is due; empty if it is not.
        timings_s: time of each step.
    """

    path: Path
    generation: str
    added: int
    images: int
    left_out: dict[str, Any]
    rebuild_due: str
    timings_s: dict[str, float]

    def to_text(self) -> str:
        """Return it as lines."""
        lines = [f"{self.path}: added {self.added:,}; generation {self.generation} has {self.images:,} in its gallery"]
        lines += left_out_lines(self.left_out)
        if self.rebuild_due:
            lines.append(f"a rebuild is due: {self.rebuild_due}; run 'geoindex rebuild {self.path}'")
        return "\n".join(lines)


def add_images(
    index: str | PathLike[str],
    source: str | PathLike[str],
    *,
    prefix: str = "",
    columns: dict[str, str] | None = None,
    encoder: "Encoder | None" = None,
    device: str = "auto",
) -> Addition:
    """Add the images of a source to the gallery of an index, and publish the generation that has them.

    Each goes to the cell and cluster whose site is nearest. Counts, centroids, radii, sums and prototypes are then
    what a build of all images around the same sites gives; what was learned or fitted stays. An image that the index
    has already, by id or by the bytes of its file, is left out, and so is one that was ever removed.

    Args:
        index: folder of the index.
        source: as for `build_index`.
        prefix: put before every id, so that two folders with the same names don't meet.
        columns: columns of a table by meaning.
        encoder: the index's own, if it is loaded already.
        device: where it computes.

    Raises:
        GeoindexError: if anything fails; the live generation is then as it was, and a second run goes on.
    """
    folder = IndexFolder(folder_of(index))
    folder.current()  # before anything is written: a wrong path leaves nothing behind
    opened = open_source(source, columns=columns or {})
    return add_from(opened, folder, prefix=prefix, encoder=encoder, device=device)


def add_from(
    opened: Source, folder: IndexFolder, *, prefix: str = "", encoder: "Encoder | None" = None, device: str = "auto"
) -> Addition:
    """Add the images of a source that is open; see `add_images`.

    Raises:
        GeoindexError: as `add_images`.
    """
    stages = Stages()
    with stages("scan"):
        scan = scan_images(opened)
        samples, left_out = scan.samples.with_prefix(prefix), scan.left_out
    with folder.writing():
        live = folder.current()
        added, own = 0, OwnEncoder(folder, live.manifest, device, encoder)
        _check_features(opened, live)
        with stages("compare"):
            samples = samples.take(_unknown(folder, live, opened, samples, left_out))
        if len(samples):
            live, added = _add(folder, live, opened, samples, own, left_out, stages)
        shutil.rmtree(folder.work / WORK, ignore_errors=True)
    manifest = live.manifest
    return Addition(
        folder.root, manifest.generation, added, manifest.counts["gallery"],
        left_out.to_dict(), Drift(**manifest.drift).due if manifest.drift else "", stages.rounded(),
    )  # fmt: skip


def _check_features(source: Source, live: Generation) -> None:
    """Refuse ready features of another encoder than the index's."""
    wanted = live.manifest.encoder["fingerprint"]
    if isinstance(source, EmbeddedSource) and source.fingerprint != wanted:
        raise ModelMismatchError(
            f"The features of '{source.uri}' ({source.fingerprint[:20]}) are not of the encoder that built the index "
            f"({wanted[:20]}); add images, or features of that encoder."
        )


def _unknown(index: IndexFolder, live: Generation, source: Source, samples: Samples, left_out: LeftOut) -> Rows:
    """Return the samples whose ids are new."""
    removed = index.tombstones().cover(samples.table["id"])
    columns = index.tables.columns("images", live.manifest.tables["images"])
    wanted = ["id", *(["content"] if "content" in columns else [])]
    stored = index.tables.matching("images", live.manifest.tables["images"], wanted, "id", samples.ids)
    known = {row["id"]: row.get("content") for row in stored.to_pylist()}
    ids = samples.ids
    taken = np.array([id in known for id in ids], bool)
    for row in np.flatnonzero(removed).tolist():
        left_out.add(REMOVED, ids[row], broken=False)
    for row in np.flatnonzero(taken & ~removed).tolist():
        content = known[ids[row]]
        copied = not content or _is_copy(source, samples[row].image, content)
        left_out.add(KNOWN if copied else TAKEN, ids[row], broken=not copied)
    return np.flatnonzero(~(removed | taken))


def _is_copy(source: Source, image: str, content: str) -> bool:
    """Tell whether an image has the bytes that are stored; where it cannot be read, its id does."""
    try:
        return content_hash(source.read(image)) in ("", content)
    except UnreadableImageError:
        return True


def _add(
    index: IndexFolder, live: Generation, source: Source, samples: Samples, own: OwnEncoder, left_out: LeftOut,
    stages: Stages,
) -> tuple[Generation, int]:  # fmt: skip
    """Return the generation that answers then, and how many photos joined it."""
    with stages("embed"):
        encoder = None if isinstance(source, EmbeddedSource) else own.get()
        embedded = embed_samples(source, samples, encoder, index.work / WORK)
    left_out.absorb(embedded.left_out)
    with stages("compare"):
        fresh = _fresh(index, live, samples, embedded, left_out)
    if not fresh.any():
        return live, 0
    kept, first = samples.take(embedded.rows[fresh]), live.manifest.counts["images"] + live.manifest.counts["removed"]
    with stages("store"):
        split = np.full(len(kept), "train")
        rows = image_rows(kept, split, embedded.content[fresh], first=first, source=source.uri)
        batches = image_batches(rows, _parts(embedded, fresh), image_schema(live.manifest.encoder["feature_dim"]))
        batches = track_rows(batches, "writing images", rows.num_rows, "image")
        version = index.tables.append("images", live.manifest.tables["images"], batches)
    with stages("assign"):
        joined = join_gallery(index, live, kept, first, _parts(embedded, fresh))
    return succeed(index, live, version, joined, stages), len(kept)


def _fresh(
    index: IndexFolder, live: Generation, samples: Samples, embedded: Embedded, left_out: LeftOut
) -> NDArray[np.bool_]:
    """Tell of each embedded image whether no other, stored or among these, has the same bytes."""
    hashes = embedded.content.tolist()
    version, stored = live.manifest.tables["images"], set[str]()
    if any(hashes) and "content" in index.tables.columns("images", version):
        wanted = sorted({value for value in hashes if value})
        found = index.tables.matching("images", version, ["id", "content"], "content", wanted)
        dead = index.tombstones().cover(found["id"])
        stored = {value for value, gone in zip(found["content"].to_pylist(), dead, strict=True) if not gone}
    fresh = np.ones(len(hashes), bool)
    for place, value in enumerate(hashes):
        if value and value in stored:
            fresh[place] = False
            left_out.add(COPY, samples[int(embedded.rows[place])].id, broken=False)
        stored.add(value)
    return fresh


def _parts(embedded: Embedded, fresh: NDArray[np.bool_]) -> Iterator[NDArray[np.float16]]:
    """Yield the features of the images that are taken, shard by shard."""
    start = 0
    for part in embedded.features():
        chosen = part[fresh[start : start + len(part)]]
        start += len(part)
        if len(chosen):
            yield chosen
