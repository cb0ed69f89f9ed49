"""What computes features: torch, or an export of the model for another library; and which of them serves here."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from geoindex.errors import ConfigError, MissingExtraError

if TYPE_CHECKING:
    import torch

Compute: TypeAlias = "Callable[[NDArray[np.uint8]], NDArray[np.float32]]"
"""Pixels (B, 3, S, S) -> features (B, dim). Safe in threads."""

AUTO = "auto"
TORCH = "torch"
EXACT = 0.9999
"""Least cosine between features of torch and of an export in float32."""

ROUGH = 0.99
"""Least cosine that integers are offered with; at 0.996, 4 % of real photos had another nearest neighbour."""


@dataclass(frozen=True)
class Backend:
    """A library that computes an export of the model, on the CPU.

    Attributes:
        package: its distribution, whose version an export is made for.
        module: the module of this package that knows it, see `Graphs`.
        extra: the extra of geoindex that installs it.
        needs: modules that it takes, to export as well.
        floor: least cosine of an export.
        dtypes: arithmetic that it has; those of `EncoderRecipe`.
    """

    package: str
    module: str
    extra: str
    needs: tuple[str, ...]
    floor: float = EXACT
    dtypes: tuple[str, ...] = ("auto", "float32")


BACKENDS: Mapping[str, Backend] = {
    "openvino": Backend(
        "openvino", "openvino_graph", "openvino", ("openvino",), dtypes=("auto", "float32", "bfloat16")
    ),
    "onnx": Backend("onnxruntime", "onnx_graph", "onnx", ("onnxruntime", "onnx", "onnxscript")),
    "onnx-int8": Backend("onnxruntime", "int8_graph", "onnx", ("onnxruntime", "onnx", "onnxscript"), floor=ROUGH),
}
NAMES = (AUTO, TORCH, *BACKENDS)
FASTEST = ("openvino", "onnx")
"""What auto takes on a CPU, the fastest first."""


class Graphs(Protocol):
    """A module that exports for a library and computes with it."""

    def write(self, program: "torch.export.ExportedProgram", pixels: "torch.Tensor", folder: Path) -> None:
        """Write the model; any files, which `load` finds."""

    def load(self, folder: Path, dtype: str) -> Compute:
        """Open what `write` wrote."""


def graphs_of(name: str) -> Graphs:
    """Return the module behind a backend."""
    module: Any = import_module(f"geoindex.encoder.{BACKENDS[name].module}")
    graphs: Graphs = module
    return graphs


def version_of(name: str) -> str:
    """Return the version of the library of a backend."""
    return version(BACKENDS[name].package)


def candidates(backend: str, device: str, dtype: str) -> tuple[str, ...]:
    """Return the backends to try, in order: one if it is named; for auto the fastest that is installed, torch last.

    Args:
        backend: one of `NAMES`.
        device: as in `EncoderRecipe`.
        dtype: likewise.

    Raises:
        ConfigError: if there is no such backend, or it does not have the device or the arithmetic.
        MissingExtraError: if it is named and not installed.
    """
    if backend == AUTO:
        fitting = [name for name in FASTEST if dtype in BACKENDS[name].dtypes and _is_installed(name)]
        return (*(fitting if fitting and _computes_on_cpu(device) else ()), TORCH)
    check_backend(backend, device, dtype)
    return (backend,)


def check_backend(name: str, device: str, dtype: str = "auto") -> None:
    """Refuse a backend that cannot compute; nothing is imported.

    Raises:
        ConfigError: if there is no such backend, or it does not have the device or the arithmetic.
        MissingExtraError: if it is not installed.
    """
    if name in (AUTO, TORCH):
        return
    if name not in BACKENDS:
        raise ConfigError(f"Backend {name!r} is unknown; give {', '.join(NAMES[:-1])} or {NAMES[-1]}.")
    if not _is_installed(name):
        cure = f"pip install 'geoindex[{BACKENDS[name].extra}]'"
        raise MissingExtraError(f"Backend {name!r} needs a library that is not installed: {cure}.")
    if device not in ("auto", "cpu"):
        raise ConfigError(f"Backend {name!r} computes on the CPU, not on {device!r}; give backend torch or device cpu.")
    if dtype not in BACKENDS[name].dtypes:
        raise ConfigError(f"Backend {name!r} does not compute in {dtype}; give backend torch or dtype float32.")


def _is_installed(name: str) -> bool:
    return all(find_spec(module) for module in BACKENDS[name].needs)


def _computes_on_cpu(device: str) -> bool:
    """Tell whether torch would compute on the CPU; torch itself is only asked where there may be something else."""
    if device == "auto" and _may_have_gpu():
        from geoindex.encoder.device import choose_device

        return choose_device(device).type == "cpu"
    return device in ("auto", "cpu")


def may_have_cuda() -> bool:
    """Tell whether there may be a GPU of NVIDIA's or AMD's here; nothing is imported."""
    return sys.platform != "darwin" and _may_have_gpu()


def _may_have_gpu() -> bool:
    drivers = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")  # NVIDIA, AMD, either below Windows
    return sys.platform != "linux" or any(Path(driver).exists() for driver in drivers)
