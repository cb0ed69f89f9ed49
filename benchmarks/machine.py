"""The machine that a benchmark ran on, and where the real data lies."""

import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

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


def shared_folder() -> Path | None:
    """Return the folder of real data: GEOINDEX_SHARED, or shared/ beside the repository; None if absent."""
    folder = Path(os.environ.get("GEOINDEX_SHARED") or Path(__file__).resolve().parents[2] / "shared")
    return folder if (folder / "data").is_dir() else None


def peak_mib() -> float:
    """Return the peak resident memory since `reset_peak`, in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024 / MEBIBYTE


def reset_peak() -> None:
    """Start a new peak of resident memory (Linux)."""
    Path("/proc/self/clear_refs").write_text("5")
