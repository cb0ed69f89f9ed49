"""Features -> embeddings and geo-embeddings: what the cells and clusters of a division are."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geoindex.assembly.division import Division
from geoindex.assembly.parts import Parts
from geoindex.assembly.sites import write_levels
from geoindex.encoder.projection import Projection, fit_whitening
from geoindex.places import place_names
from geoindex.progress import Progress
from geoindex.prototypes import Groups, describe_groups, sum_slices
from geoindex.recipe import Recipe
from geoindex.store.durable import sync_file
from geoindex.store.images import StoredImages
from geoindex.store.schemas import cell_schema, cluster_schema, vectors_to_arrow
from geoindex.store.sidecar import write_arrow

if TYPE_CHECKING:
    import pyarrow as pa

MAX_PROJECTION_IMAGES = 50_000
"""Images that a projection is fitted on, a seeded sample of more; these change it little and cost memory."""

Floats = NDArray[np.float64]


def fit_projection(images: StoredImages, recipe: Recipe, dim: int) -> Projection:
    """Return the map from features to embeddings that the recipe asks for, or that a fit starts from."""
    if recipe.encoding.projection != "whiten":
        return Projection.identity(dim)
    return projection_of(images.sampled_features("train", MAX_PROJECTION_IMAGES, dim, recipe.seed)[1], recipe)


def projection_of(features: NDArray[np.float16], recipe: Recipe) -> Projection:
    """Return the map that the recipe asks for, fitted on features, (N, D)."""
    if recipe.encoding.projection != "whiten":
        return Projection.identity(features.shape[1])
    return whitening(features, recipe)


def whitening(features: NDArray[np.float16], recipe: Recipe) -> Projection:
    """Return the map that centres and whitens features, (N, D)."""
    return fit_whitening(features[:MAX_PROJECTION_IMAGES].astype(np.float32), recipe.encoding.dim)


def write_gallery(path: Path, images: StoredImages, division: Division, projection: Projection) -> NDArray[np.float16]:
    """Write the gallery's embeddings in the order of their clusters and return them memory-mapped, (G, D).

    They come in another order: each is put with those of its part of the file first, since single rows all over a
    file larger than memory are written many times.
    """
    shape = (len(division.order), projection.dim)
    place = np.full(images.facts.num_rows, -1)
    place[division.order] = np.arange(shape[0])
    with tempfile.TemporaryDirectory(prefix=".parts-", dir=path.parent) as folder:
        parts = Parts(Path(folder), shape)
        with Progress("embedding the gallery", shape[0], "image") as bar:
            for rows, features in images.features("train"):
                parts.add(place[rows], projection.apply(features.astype(np.float32)).astype(np.float16))
                bar.advance(len(rows))
        with path.open("wb") as file:
            np.lib.format.write_array_header_1_0(file, {"descr": "<f2", "fortran_order": False, "shape": shape})
            for part in parts.ordered():
                file.write(part.data)
            sync_file(file)
    return np.load(path, mmap_mode="r")  # type: ignore[no-any-return]


def describe(images: StoredImages, division: Division, embeddings: NDArray[np.float16]) -> tuple[Groups, Groups]:
    """Describe cells and clusters by the gallery's images."""
    lat, lon, cell = images.lat[division.order], images.lon[division.order], division.clusters.cell
    size = np.bincount(division.cluster_of)
    sums = sum_slices(embeddings, np.cumsum(size) - size, size)
    clusters = describe_groups(lat, lon, division.cluster_of, sums)
    cell_sums = np.add.reduceat(sums, np.searchsorted(cell, np.arange(len(division.partition))), axis=0)
    return describe_groups(lat, lon, cell[division.cluster_of], cell_sums), clusters


def _group_columns(groups: Groups, site_lat: Floats, site_lon: Floats) -> dict[str, Any]:
    return {
        "site_lat": site_lat, "site_lon": site_lon, "lat": groups.lat, "lon": groups.lon,
        "radius_km": groups.radius_km, "radius95_km": groups.radius95_km, "spread_km": groups.spread_km,
        "n_images": groups.n_members, "place": place_names(groups.lat, groups.lon),
        "embedding": vectors_to_arrow(groups.embedding), "embedding_sum": vectors_to_arrow(groups.embedding_sum),
    }  # fmt: skip


def group_tables(division: Division, cells: Groups, clusters: Groups) -> tuple["pa.Table", "pa.Table"]:
    """Return the rows of the cells and clusters tables."""
    import pyarrow as pa

    dim = cells.embedding.shape[1]
    cell_columns = _group_columns(cells, division.partition.site_lat, division.partition.site_lon)
    cluster_columns = _group_columns(clusters, division.clusters.site_lat, division.clusters.site_lon)
    cell_columns["cell"] = np.arange(len(cells.lat), dtype=np.int32)
    cluster_columns["cluster"] = np.arange(len(clusters.lat), dtype=np.int32)
    cluster_columns["cell"] = division.clusters.cell.astype(np.int32)
    cluster_columns["inside"] = pa.array(division.clusters.coarser.tolist(), pa.list_(pa.int32()))
    return (
        pa.table([cell_columns[field.name] for field in cell_schema(dim)], cell_schema(dim)),
        pa.table([cluster_columns[field.name] for field in cluster_schema(dim)], cluster_schema(dim)),
    )


def write_sidecar(
    folder: Path, images: StoredImages, division: Division, cells: "pa.Table", clusters: "pa.Table"
) -> None:
    """Write what queries need to know of cells, clusters and gallery images."""
    import pyarrow as pa

    size = clusters["n_images"].to_numpy()
    vectors = ["embedding", "embedding_sum"]
    write_arrow(folder / "cells.arrow", cells.drop_columns(vectors))
    first = pa.array(np.cumsum(size) - size)
    write_arrow(folder / "clusters.arrow", clusters.drop_columns(vectors).append_column("first", first))
    gallery = images.facts.take(division.order).drop_columns(["split"])
    write_levels(folder, division.clusters)
    write_arrow(folder / "gallery.arrow", gallery.append_column("cluster", pa.array(division.cluster_of)))
