"""A generation from another one and a few photos more or fewer: same cells and clusters, new sums and centroids.

What changes with a photo is its cluster and its cell: count, centroid, radii, sum of embeddings, prototype. Embeddings
are float16, so sums in float64 are exact, and an index that photos were added to or removed from is the one that is
built of those that are left, if its sites are the same.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geoindex.geocells.footprints import footprints
from geoindex.places import place_names
from geoindex.prototypes import normalise
from geoindex.store.gallery import Gallery
from geoindex.store.generations import Generation, IndexFolder
from geoindex.store.schemas import vectors_from_arrow, vectors_to_arrow

if TYPE_CHECKING:
    import pyarrow as pa

Rows = NDArray[np.int64]
Floats = NDArray[np.float64]

GALLERY_COLUMNS = ("row", "id", "image", "lat", "lon", "cluster")

LEVELS = {"cells": "cell", "clusters": "cluster"}


@dataclass(frozen=True, slots=True, eq=False)
class Added:
    """Photos that join a gallery, ordered by cluster and row.

    Attributes:
        facts: columns row, id, image, lat, lon, cluster.
        embeddings: (A, D) float16.
    """

    facts: "pa.Table"
    embeddings: NDArray[np.float16]

    @classmethod
    def nothing(cls, dim: int) -> "Added":
        """Return no photos of embeddings of this length."""
        import pyarrow as pa

        types = (pa.int64(), pa.string(), pa.string(), pa.float64(), pa.float64(), pa.int64())
        schema = pa.schema(list(zip(GALLERY_COLUMNS, types, strict=True)))
        return cls(schema.empty_table(), np.zeros((0, dim), np.float16))

    def column(self, name: str) -> NDArray[Any]:
        """Return a column, (A,)."""
        values: NDArray[Any] = self.facts[name].to_numpy()
        return values


@dataclass(frozen=True, slots=True, eq=False)
class Members:
    """The live images of a revised gallery, ordered by cluster and row.

    Attributes:
        lat, lon: in degrees, (N,).
        cell, cluster: of each, (N,).
    """

    lat: Floats
    lon: Floats
    cell: Rows
    cluster: Rows

    @classmethod
    def of(cls, gallery: Gallery, gone: Rows, joined: Added, cell_of_cluster: Rows, cells: Rows) -> "Members":
        """Gather the members of some cells."""
        kept = gallery.live()
        kept[gone] = False
        columns = {}
        for name in ("row", "cluster", "lat", "lon"):
            columns[name] = np.concatenate([gallery.column(name)[kept], joined.column(name)])
        inside = np.flatnonzero(np.isin(cell_of_cluster[columns["cluster"]], cells))
        order = inside[np.lexsort((columns["row"][inside], columns["cluster"][inside]))]
        cluster = columns["cluster"][order]
        return cls(columns["lat"][order], columns["lon"][order], cell_of_cluster[cluster], cluster)


def revised_rows(
    index: IndexFolder, parent: Generation, level: str, groups: Rows, delta: Floats, members: Members
) -> "pa.Table":
    """Return rows of the cells or the clusters table as a change makes them.

    Args:
        index: of the parent.
        parent: generation that changes.
        level: cells or clusters.
        groups: those that change, (g,), ascending.
        delta: what is added to the sum of embeddings of each, (g, D).
        members: all live images of them after the change.
    """
    import pyarrow as pa

    key = LEVELS[level]
    version = parent.manifest.tables[level]
    columns = index.tables.columns(level, version)
    where = f"{key} IN ({', '.join(map(str, groups.tolist()))})"
    rows = index.tables.read(level, version, [key, *(name for name in columns if name != key)], where)
    sums = vectors_from_arrow(rows["embedding_sum"].combine_chunks()) + delta
    changed: dict[str, Any] = {"embedding_sum": vectors_to_arrow(sums)} | _places(rows, groups, key, members)
    if parent.manifest.training is None:  # what was learned stays as it was learned
        changed["embedding"] = vectors_to_arrow(normalise(sums).astype(np.float32))
    for name, values in changed.items():
        field = rows.schema.field(name)
        rows = rows.set_column(rows.schema.get_field_index(name), field, pa.array(values, field.type))
    return rows


def _places(rows: "pa.Table", groups: Rows, key: str, members: Members) -> dict[str, Any]:
    """Return where each group lies; one that lost its last photo stays at its site, without any."""
    own: Rows = getattr(members, key)
    mine = np.isin(own, groups)
    occupied, group = np.unique(own[mine], return_inverse=True)
    found = footprints(members.lat[mine], members.lon[mine], group, len(occupied))
    at = np.searchsorted(groups, occupied)
    values: dict[str, Any] = {"lat": rows["site_lat"].to_numpy().copy(), "lon": rows["site_lon"].to_numpy().copy()}
    values |= {name: np.zeros(len(groups)) for name in ("radius_km", "radius95_km", "spread_km")}
    values["n_images"] = np.zeros(len(groups), np.int64)
    for name in values:
        values[name][at] = found.n_members if name == "n_images" else getattr(found, name)
    return values | {"place": place_names(values["lat"], values["lon"])}
