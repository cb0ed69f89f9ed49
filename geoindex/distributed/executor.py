"""Where the heavy steps of a build run: images to features, and cells to clusters."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from geoindex.embed import ShardMaker, make_shards
from geoindex.errors import ConfigError
from geoindex.geocells.clusters import Mapped
from geoindex.progress import Stages

LOCAL, RAY = "local", "ray"


@dataclass(frozen=True, slots=True)
class Executor:
    """Where the heavy steps run. Whatever it is, the same seed gives the same index.

    Attributes:
        make: makes shards of features.
        mapped: divides cells into clusters; None: processes of this machine, where there is enough to do.
    """

    make: ShardMaker = make_shards
    mapped: Mapped | None = None


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

        with cluster(address, stages):
            yield Executor(make_shards_on_ray, map_groups)
    else:
        raise ConfigError(f"There is no executor '{name}'; take local, ray, or ray:ADDRESS, as ray:10.0.0.1:6379.")
