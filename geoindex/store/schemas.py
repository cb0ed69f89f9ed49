"""The columns of the three tables, and vectors to and from Arrow."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geoindex.types import LABELS

if TYPE_CHECKING:
    import pyarrow as pa


def image_schema(dim: int) -> "pa.Schema":
    """Return the schema of the images: `row` counts from 0, features are (dim,) float16.

    `content` is a hash of the file's bytes, null where there is no file; `source` the URI that reads an image which
    was added later, null where it is the generation's own.
    """
    import pyarrow as pa

    fields = [("row", pa.int64()), ("id", pa.string()), ("split", pa.string()), ("image", pa.string())]
    fields += [("lat", pa.float64()), ("lon", pa.float64()), ("heading_deg", pa.float32())]
    fields += [(name, pa.string()) for name in (*LABELS, "content", "source")]
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
