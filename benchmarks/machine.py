"""The machine that a benchmark ran on, and where the real data lies."""

import multiprocessing
import os
import platform
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

PACKAGES = ("torch", "faiss-gpu", "lancedb", "numpy", "scipy", "scikit-learn", "pyarrow", "pillow", "timm")
MEBIBYTE = 1 << 20


def describe_machine() -> dict[str, Any]:
    """Return processor, cores, memory and package versions."""
    import torch

    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
        "load_before": round(os.getloadavg()[0], 2),
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    return next((line.split(": ", 1)[1] for line in lines if line.startswith("model name")), platform.processor())


def markdown_table(heads: Sequence[str], rows: Iterable[Sequence[str]], names: int) -> str:
    """Return rows as Markdown; all columns but the first `names` hold numbers."""
    align = ["---"] * names + ["---:"] * (len(heads) - names)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (heads, align, *rows))


def shared_folder() -> Path | None:
    """Return the folder of real data: GEOINDEX_SHARED, or shared/ beside the repository; None if absent."""
    folder = Path(os.environ.get("GEOINDEX_SHARED") or Path(__file__).resolve().parents[2] / "shared")
    return folder if (folder / "data").is_dir() else None


def needed_folder() -> Path:
    """Return the folder of real data, or say that there is none, and end."""
    folder = shared_folder()
    if folder is None:
        print("No folder of real data here; nothing to measure.")
        raise SystemExit
    return folder


def peak_mib() -> float:
    """Return the peak resident memory since `reset_peak`, in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024 / MEBIBYTE


def reset_peak() -> None:
    """Start a new peak of resident memory (Linux)."""
    Path("/proc/self/clear_refs").write_text("5")


def apart(function: Callable[..., T], *arguments: Any) -> T:
    """Call a function in a spawned process of its own, so that memory is that of one work alone."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


@contextmanager
def ray_nodes(workers: int) -> Iterator[None]:
    """Start a Ray cluster on this machine that builds find: a head without cores, and workers of one core each."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    for _ in range(workers):
        cluster.add_node(num_cpus=1)
    os.environ["RAY_ADDRESS"] = cluster.address
    try:
        yield
    finally:
        del os.environ["RAY_ADDRESS"]
        cluster.shutdown()


class Peak:
    """The most that a look gives while its context is open; it looks again and again.

    Attributes:
        before: what the first look gave.
        most: the most so far.
    """

    def __init__(self, look: Callable[[], float], interval_s: float) -> None:
        self._look, self._interval_s = look, interval_s
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "Peak":
        self.before = self.most = self._look()
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(self._interval_s):
            self.most = max(self.most, self._look())


def own_mib() -> float:
    """Return the memory of this process itself, without mapped files, in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1024


def tree_mib() -> float:
    """Return the resident memory of this process and all its children together, in MiB."""
    facts = [_status(folder / "status") for folder in Path("/proc").iterdir() if folder.name.isdigit()]
    inside = {os.getpid()}
    for pid, parent, _ in sorted(facts):  # children have higher numbers but for a wrap
        if parent in inside:
            inside.add(pid)
    return sum(kib for pid, _, kib in facts if pid in inside) / 1024


def _status(path: Path) -> tuple[int, int, int]:
    try:
        lines = dict(line.split(":", 1) for line in path.read_text().splitlines())
    except OSError:  # it has ended
        return 0, 0, 0
    return int(lines["Pid"]), int(lines["PPid"]), int(lines.get("VmRSS", "0 kB").split()[0])
