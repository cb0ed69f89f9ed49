"""A model for OpenVINO: converted from torch, computed in one pool of threads."""

import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geoindex.encoder.backends import Compute
from geoindex.encoder.process import thread_count
from geoindex.encoder.quiet import unheard

if TYPE_CHECKING:
    import torch

FILE = "model.xml"
PRECISIONS = {"auto": "f32", "float32": "f32", "bfloat16": "bf16"}
"""What OpenVINO calls the arithmetic; left to itself it rounds to bfloat16 where the processor has that."""


TELEMETRY = "openvino_telemetry"


def silent_openvino() -> Any:
    """Import OpenVINO without its telemetry.

    Its import alone tells its makers of the use, over the network and from a process that it forks beside running
    threads; without that package it keeps quiet.
    """
    modules: dict[str, Any] = sys.modules
    loaded = modules.get(TELEMETRY)
    if "openvino" not in modules:
        modules[TELEMETRY] = None  # as if it were not installed
    import openvino

    if TELEMETRY in modules and modules[TELEMETRY] is None:
        modules.pop(TELEMETRY)
        modules.update({TELEMETRY: loaded} if loaded is not None else {})
    return openvino


def write(program: "torch.export.ExportedProgram", pixels: "torch.Tensor", folder: Path) -> None:
    """Write the model as model.xml and model.bin."""
    openvino = silent_openvino()
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.fx_decoder import TorchFXPythonDecoder

    # openvino.convert_model would do the same, and tell its makers over the network
    frontend = FrontEndManager().load_by_framework("pytorch")
    with unheard("openvino"):  # it has operations in mind that this torch does not have
        decoder = TorchFXPythonDecoder.from_exported_program(program)
    # the decoder is asked until the model is converted
    model = frontend.convert(frontend.load(decoder))
    model.reshape([-1, *pixels.shape[1:]])
    openvino.save_model(model, folder / FILE, compress_to_fp16=False)


def load(folder: Path, dtype: str) -> Compute:
    """Open the model, set up for the shortest time of a single call."""
    openvino = silent_openvino()
    options = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": PRECISIONS[dtype],
        "INFERENCE_NUM_THREADS": thread_count(),
        "ENABLE_CPU_PINNING": False,  # processes beside each other would all sit on the first cores
    }
    request = openvino.Core().compile_model(folder / FILE, "CPU", options).create_infer_request()
    one_at_a_time = threading.Lock()

    def compute(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        with one_at_a_time:
            features: NDArray[np.float32] = request.infer([pixels], share_inputs=True)[0]
        return features

    return compute
