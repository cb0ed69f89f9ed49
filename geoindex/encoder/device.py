"""Which device computes, with what arithmetic, and how vectors come back from it."""

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from geoindex.errors import ConfigError

if TYPE_CHECKING:
    import torch

Vectors: TypeAlias = "NDArray[np.float32] | torch.Tensor"
"""Features or embeddings, here or on a device."""


BATCH_SIZE, GPU_BATCH_SIZE = 32, 256
"""Images of a forward pass. The products of few of them are small for a GPU."""


FULL = ("out of memory", "ALLOC_FAILED", "can't allocate memory")
"""What errors about memory say."""


def choose_batch_size(size: int | None, device_type: str) -> int:
    """Return the images of a forward pass on a type of device, as cpu or cuda; None: as many as suit it."""
    return size or (GPU_BATCH_SIZE if device_type == "cuda" else BATCH_SIZE)


def choose_device(name: str) -> "torch.device":
    """Return the device of this name; auto is cuda, then mps, then cpu.

    Raises:
        ConfigError: if there is no such device here.
    """
    import torch

    if name == "auto":
        return torch.device(_best())
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"Device {name!r} is unknown; give auto, cpu, cuda, cuda:1 or mps.") from error
    if device.type not in ("cpu", "cuda", "mps"):
        raise ConfigError(f"Device {name!r} is not supported; give auto, cpu, cuda, cuda:1 or mps.")
    count = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    if (device.index or 0) >= count[device.type]:
        raise ConfigError(f"Device {name!r} is not on this machine ({count[device.type]} found); give auto or cpu.")
    return device


def choose_training_dtype(name: str, device: "torch.device") -> "torch.dtype":
    """Return as `choose_dtype`; auto is bfloat16 on a CPU with instructions for it too, where a batch makes up for it.

    Raises:
        ConfigError: if the name is unknown.
    """
    import torch

    if name == "auto" and device.type == "cpu" and torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return torch.bfloat16
    return choose_dtype(name, device)


def _best() -> str:
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def choose_dtype(name: str, device: "torch.device") -> "torch.dtype":
    """Return the arithmetic of this name; auto is bfloat16 on a GPU that has it, float32 elsewhere.

    Raises:
        ConfigError: if the name is unknown.
    """
    import torch

    dtypes = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    if name == "auto":
        fast = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if fast else torch.float32
    if name not in dtypes:
        raise ConfigError(f"Arithmetic {name!r} is unknown; give auto, {', '.join(dtypes)}.")
    return dtypes[name]


def is_full(error: RuntimeError) -> bool:
    """Tell whether an error of torch is about memory; libraries below it have no kind of their own for that."""
    import torch

    return isinstance(error, torch.OutOfMemoryError) or any(sign in str(error) for sign in FULL)


def to_host(vectors: Vectors) -> NDArray[np.float32]:
    """Return vectors as an array."""
    if isinstance(vectors, np.ndarray):
        return vectors
    values: NDArray[np.float32] = vectors.float().cpu().numpy()
    return values


def full_precision(device: "torch.device") -> AbstractContextManager[Any]:
    """Return what makes torch compute in the type of its numbers, whatever the caller's autocast says."""
    import torch

    return torch.autocast(device.type, enabled=False)
