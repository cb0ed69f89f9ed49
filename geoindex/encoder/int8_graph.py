"""A model for ONNX Runtime with matrices of 8-bit integers: faster and a quarter of the size, and not exact.

Weights are rounded once, one scale an output; activations as they come, one scale a call. So no photos are needed to
set it up, and the features of a photo depend a little on those that are encoded with it.
"""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from geoindex.encoder import onnx_graph
from geoindex.encoder.onnx_graph import FILE
from geoindex.encoder.quiet import unheard

if TYPE_CHECKING:
    import torch

load = onnx_graph.load


def write(program: "torch.export.ExportedProgram", pixels: "torch.Tensor", folder: Path) -> None:
    """Write the model as model.onnx."""
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with TemporaryDirectory(dir=folder) as scratch, unheard("onnxruntime"):
        plain, prepared = Path(scratch, "plain.onnx"), Path(scratch, "prepared.onnx")
        onnx_graph.export(program, pixels).save(plain, external_data=False)
        quant_pre_process(plain, prepared, skip_symbolic_shape=True)
        quantize_dynamic(
            prepared, folder / FILE,
            weight_type=QuantType.QInt8, per_channel=True, op_types_to_quantize=["MatMul", "Gemm"],
        )  # fmt: skip
