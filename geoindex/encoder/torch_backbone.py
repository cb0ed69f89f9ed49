"""The forward pass with torch: uint8 pixels in, float32 features out."""

import math
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geoindex.encoder.capacity import Capacity
from geoindex.encoder.device import is_full, to_host
from geoindex.encoder.preprocessing import Preprocessing
from geoindex.encoder.process import check_process
from geoindex.encoder.recorded import SingleImages, can_record
from geoindex.errors import EncoderError

if TYPE_CHECKING:
    import torch


class TorchBackbone:
    """A model on its device, with the normalisation that it wants.

    Pixels travel to the device as bytes and become floats there. On a GPU the pass for single images is recorded. Safe
    in threads.

    Attributes:
        module: the model, in evaluation mode.
        device: where it computes.
        dtype: arithmetic of the forward pass; features are float32 in any case.
        dim: length of a feature vector.
    """

    def __init__(
        self, module: "torch.nn.Module", preprocessing: Preprocessing, device: "torch.device", dtype: "torch.dtype"
    ) -> None:
        import torch

        self.module = module.to(device).eval().requires_grad_(False)
        self.device, self.dtype = device, dtype
        self._kind, self._reduced = device.type, dtype != torch.float32
        self._size = preprocessing.size
        mean = torch.tensor(preprocessing.mean, device=device).view(3, 1, 1)
        std = torch.tensor(preprocessing.std, device=device).view(3, 1, 1)
        self._factor, self._shift = 1.0 / (255.0 * std), -mean / std
        self._single: SingleImages | None = None
        self._capacity = Capacity(str(device))
        self.dim = self._probe()
        if self._kind == "cuda" and can_record():
            self._single = SingleImages(self._forward)

    def features(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the features of pixels (B, 3, S, S) as (B, dim), in one forward pass if they fit.

        Raises:
            EncoderError: if not even one image fits into memory, or features are not finite.
            ForkError: if the process that this one was forked from has computed features.
        """
        return to_host(self.features_there(batch))

    def features_there(self, batch: NDArray[np.uint8]) -> "torch.Tensor":
        """Return as `features` does, and leave them on the device.

        Raises:
            EncoderError: as `features` does.
            ForkError: likewise.
        """
        import torch

        check_process()
        # torch refuses to share memory that numpy may not write to
        pixels = torch.from_numpy(batch if batch.flags.carray else np.require(batch, np.uint8, ["C", "W"]))
        with torch.inference_mode():
            features = self._computed(pixels)
            # the sum is only finite if all are, and sooner there
            finite = math.isfinite(features.sum().item()) or bool(torch.isfinite(features).all())
        if not finite:
            raise EncoderError(f"Features are not finite with {self.dtype}; take dtype float32 or bfloat16.")
        return features

    def _computed(self, pixels: "torch.Tensor") -> "torch.Tensor":
        """Compute images together, or in parts if they do not fit."""
        import torch

        if len(pixels) > self._capacity.most:
            return torch.cat([self._computed(part) for part in torch.split(pixels, self._capacity.most)])
        compute = self._forward if len(pixels) > 1 or self._single is None else self._single.features
        try:
            features = compute(pixels)
            self._capacity.passed()
            return features
        except RuntimeError as error:
            if not is_full(error):
                raise
            if len(pixels) == 1:
                raise EncoderError(f"Not even one image fits on {self.device}; take device cpu.") from error
        # behind the error, which holds what was computed so far
        self._capacity.shrink(len(pixels))
        return self._computed(pixels)

    def _forward(self, pixels: "torch.Tensor") -> "torch.Tensor":
        with self._arithmetic():
            inputs = pixels.to(self.device, non_blocking=True).float().mul_(self._factor).add_(self._shift)
            outputs = self.module(inputs)
        pooled = outputs[0] if isinstance(outputs, tuple) else outputs  # captioning towers add their tokens
        features: torch.Tensor = pooled.float()
        return features

    def _arithmetic(self) -> AbstractContextManager[Any]:
        """Return what makes torch compute in this type; nothing where it does so anyway, as entering takes its time."""
        import torch

        if not (self._reduced or torch.is_autocast_enabled(self._kind)):
            return nullcontext()
        return torch.autocast(self._kind, self.dtype, enabled=self._reduced)

    def _probe(self) -> int:
        """Return the length of the features of a black image."""
        black = np.zeros((1, 3, self._size, self._size), np.uint8)
        try:
            features = self.features(black)
        except (RuntimeError, AssertionError) as error:
            raise EncoderError(
                f"The model takes no images of {self._size} pixels a side ({str(error).rstrip('.')}); "
                "set encoding.image_size to the size that it was made for."
            ) from error
        if features.ndim != 2:
            raise EncoderError(f"The model gives {features.shape[1:]} for an image; take one with pooled output.")
        return int(features.shape[1])
