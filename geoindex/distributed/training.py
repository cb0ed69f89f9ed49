"""Fine-tuning on a Ray cluster: one process for each GPU, or for each computer without one, that run the same loop.

Ray Train starts the processes, joins them, and starts all again when one dies; the checkpoints are the loop's own, in a
folder that every computer sees. The first process writes.
"""

import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geoindex.distributed.cluster import first_line
from geoindex.distributed.encoding import gpus_for, packed, unpacked
from geoindex.distributed.executor import Fit
from geoindex.errors import ClusterError, GeoindexError
from geoindex.progress import Progress
from geoindex.training.journal import read_metrics
from geoindex.training.processes import PATIENCE

if TYPE_CHECKING:
    from geoindex.encoder import Encoder

RESTARTS = 3
LOOK_EVERY_S = 2.0


def fit_on_ray(fit: Fit, encoder: "Encoder | None", folder: Path, epochs: int) -> Path:
    """Run a fit in joined processes of the cluster that this process is connected to.

    Args:
        fit: what each of them does, with an encoder of its own.
        encoder: to start from; None: the fit says what it lacks.
        folder: of the fit; its result is what `fit` returns.
        epochs: at the most.

    Raises:
        ConfigError: if the encoder cannot learn as the recipe says.
        ClusterError: if the processes die more than `RESTARTS` times, or do not see the folder.
    """
    import ray

    if encoder is None:
        return fit(encoder=None)
    job = {"encoder": packed(encoder), "fit": [ray.put(fit)]}
    with _told(folder, epochs):
        path = _joined(job, _processes(encoder))
    if not path.exists():
        raise ClusterError(
            f"The fit left nothing in '{folder}' of this machine; name a folder that every computer of the cluster "
            "sees."
        )
    return path


def _joined(job: dict[str, Any], processes: Any) -> Path:
    """Return what the first process does; all begin again, at the last checkpoint, if one of them dies."""
    from ray.train import RunConfig, TrainingFailedError
    from ray.train.torch import TorchConfig, TorchTrainer

    patience = TorchConfig(timeout_s=int(PATIENCE.total_seconds()))
    for left in reversed(range(1 + RESTARTS)):
        with tempfile.TemporaryDirectory() as notes:
            run = RunConfig(storage_path=notes)
            trainer = TorchTrainer(
                _work, train_loop_config=job, scaling_config=processes, torch_config=patience, run_config=run
            )
            try:
                return Path(trainer.fit().return_value)
            except TrainingFailedError as error:
                if own := _own(error):  # no further try would mend it
                    raise own from None
                if not left:
                    raise ClusterError(
                        f"The fit on the Ray cluster stopped {1 + RESTARTS} times, last with '{first_line(error)}'; "
                        "run the same again, the last checkpoint is kept."
                    ) from error
    raise AssertionError


def _own(error: Any) -> GeoindexError | None:
    """Return what a process itself found wrong."""
    failures = getattr(error, "worker_failures", {}).values()
    # Ray wraps what a process raises, and offers no other way to it
    raised = [getattr(failure, "_base_exc", failure) for failure in failures]
    return next((each for each in raised if isinstance(each, GeoindexError)), None)


def _processes(encoder: "Encoder") -> Any:
    """Return how many processes there are, and what each has: a GPU, or all cores of a computer."""
    import ray
    from ray.train import ScalingConfig

    if gpus := gpus_for(encoder):
        return ScalingConfig(num_workers=gpus, use_gpu=True)
    cores = [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]
    cores = [count for count in cores if count > 0]
    return ScalingConfig(num_workers=len(cores), resources_per_worker={"CPU": min(cores)})


def _work(job: Mapping[str, Any]) -> str:
    """Do the part of one process; Ray has joined it with the others."""
    import ray
    from ray.train.torch import get_device

    files, recipe = job["encoder"]
    fit: Fit = ray.get(job["fit"][0])
    return str(fit(encoder=unpacked(files, recipe, str(get_device()))))


@contextmanager
def _told(folder: Path, epochs: int) -> Iterator[None]:
    """Show the epochs that the first process has told of, wherever it is."""
    done = threading.Event()

    def follow() -> None:
        with Progress("fine-tuning on Ray", epochs, "epoch") as bar:
            shown = 0
            while not done.wait(LOOK_EVERY_S):
                last = max((int(row["epoch"]) for row in read_metrics(folder) if "geoscore" in row), default=0)
                bar.advance(last - shown)
                shown = last

    teller = threading.Thread(target=follow, daemon=True)
    teller.start()
    try:
        yield
    finally:
        done.set()
        teller.join()
