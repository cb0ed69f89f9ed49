"""A model for ONNX Runtime: exported by torch, computed in one pool of threads."""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from geoindex.encoder.backends import Compute
from geoindex.encoder.process import thread_count

if TYPE_CHECKING:
    import torch

FILE = "model.onnx"
INPUT, OUTPUT = "pixels", "features"


def write(program: "torch.export.ExportedProgram", pixels: "torch.Tensor", folder: Path) -> None:
    """Write the model as model.onnx, and its weights as model.onnx.data."""
    export(program, pixels).save(folder / FILE, external_data=True)


def export(program: "torch.export.ExportedProgram", pixels: "torch.Tensor") -> "torch.onnx.ONNXProgram":
    """Translate a program."""
    import torch

    with warnings.catch_warnings():
        # of torch's own exporter and of what it imports: nothing that a caller could do about
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", FutureWarning)
        exported = torch.onnx.export(
            program, (pixels,), dynamo=True, verbose=False, input_names=[INPUT], output_names=[OUTPUT]
        )
    assert exported is not None
    return exported


def load(folder: Path, dtype: str) -> Compute:
    """Open the model."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = thread_count(), 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(folder / FILE, options, providers=["CPUExecutionProvider"])

    def compute(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        features: NDArray[np.float32] = session.run([OUTPUT], {INPUT: pixels})[0]
        return features

    return compute
