"""Where the heavy steps run: images to features, cells to clusters, and fits of encoders."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias

from geoindex.embed import ShardMaker, make_shards
from geoindex.errors import ConfigError
from geoindex.geocells.clusters import Mapped
from geoindex.progress import Stages

if TYPE_CHECKING:
    from geoindex.encoder import Encoder

LOCAL, RAY = "local", "ray"


class Fit(Protocol):
    """Fits an encoder to images; under several processes each calls it with an encoder of its own."""

    def __call__(self, *, encoder: "Encoder | None") -> Path:
        """Return the folder of the result."""
        ...


Joined: TypeAlias = "Callable[[Fit, Encoder | None, Path, int], Path]"


def alone(fit: Fit, encoder: "Encoder | None", folder: Path, epochs: int) -> Path:
    """Fit in this process."""
    return fit(encoder=encoder)


@dataclass(frozen=True, slots=True)
class Executor:
    """Where the heavy steps run. Whatever it is, the same seed gives the same index.

    Attributes:
        make: makes shards of features.
        mapped: divides cells into clusters; None: processes of this machine, where there is enough to do.
        joined: runs a fit in all processes that learn together, with an encoder, in a folder, for so many epochs.
    """

    make: ShardMaker = make_shards
    mapped: Mapped | None = None
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
        from geoindex.distributed.training import fit_on_ray

        with cluster(address, stages):
            yield Executor(make_shards_on_ray, map_groups, fit_on_ray)
    else:
        raise ConfigError(f"There is no executor '{name}'; take local, ray, or ray:ADDRESS, as ray:10.0.0.1:6379.")
