"""Where the heavy steps run: images to features, rows to tables, cells to clusters and lists, and fits of encoders."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from geoindex.ann import TwoStageIndex
from geoindex.embed import ShardMaker, make_shards
from geoindex.errors import ConfigError
from geoindex.geocells.clusters import Mapped
from geoindex.progress import Stages, track_rows
from geoindex.store.tables import LanceTables

if TYPE_CHECKING:
    import pyarrow as pa

    from geoindex.encoder import Encoder

LOCAL, RAY = "local", "ray"

Floats = NDArray[np.float32]


class Fit(Protocol):
    """Fits an encoder to images; under several processes each calls it with an encoder of its own."""

    def __call__(self, *, encoder: "Encoder | None") -> Path:
        """Return the folder of the result."""
        ...


class RowGroup(Protocol):
    """Rows of a table, which are read only when they are written."""

    def __len__(self) -> int: ...

    def batches(self) -> "Iterator[pa.RecordBatch]":
        """Read them."""
        ...


RowStore: TypeAlias = "Callable[[LanceTables, str, pa.Schema, Sequence[RowGroup]], int]"
"""Writes groups of rows, in their order, as a version of a table, which it returns."""

Indexer: TypeAlias = "Callable[[Floats, Floats, NDArray[np.int64]], TwoStageIndex]"
"""Builds a search index of geo-embeddings of cells, (C, D), and clusters, (M, D), and the cell of each, (M,)."""

Joined: TypeAlias = "Callable[[Fit, Encoder | None, Path, int], Path]"


def store_here(tables: LanceTables, name: str, schema: "pa.Schema", groups: Sequence[RowGroup]) -> int:
    """Write rows in this process."""
    batches = chain.from_iterable(group.batches() for group in groups)
    return tables.write(name, schema, track_rows(batches, f"writing {name}", sum(map(len, groups)), "row"))


def alone(fit: Fit, encoder: "Encoder | None", folder: Path, epochs: int) -> Path:
    """Fit in this process."""
    return fit(encoder=encoder)


@dataclass(frozen=True, slots=True)
class Executor:
    """Where the heavy steps run. Whatever it is, the same seed gives the same index.

    Attributes:
        make: makes shards of features.
        mapped: divides cells into clusters; None: processes of this machine, where there is enough to do.
        store: writes rows.
        index: builds the search index.
        joined: runs a fit in all processes that learn together, with an encoder, in a folder, for so many epochs.
    """

    make: ShardMaker = make_shards
    mapped: Mapped | None = None
    store: RowStore = store_here
    index: Indexer = TwoStageIndex.build
    joined: Joined = alone


HERE = Executor()


@contextmanager
def executing(name: str, stages: Stages) -> Iterator[Executor]:
    """Give the executor of this name, and let go of its cluster afterwards.

    Args:
        name: local, ray, or ray:ADDRESS.
        stages: counts the time until the cluster is there.

    Raises:
        ConfigError: if there is no such executor.
        MissingExtraError: if Ray is not installed.
        ClusterError: if the cluster cannot be reached.
    """
    kind, _, address = name.partition(":")
    if name == LOCAL:
        yield HERE
    elif kind == RAY:
        from geoindex.distributed.cluster import cluster, map_groups
        from geoindex.distributed.encoding import make_shards_on_ray
        from geoindex.distributed.indexing import index_on_ray
        from geoindex.distributed.training import fit_on_ray
        from geoindex.distributed.writing import store_on_ray

        with cluster(address, stages):
            yield Executor(make_shards_on_ray, map_groups, store_on_ray, index_on_ray, fit_on_ray)
    else:
        raise ConfigError(f"There is no executor '{name}'; take local, ray, or ray:ADDRESS, as ray:10.0.0.1:6379.")
