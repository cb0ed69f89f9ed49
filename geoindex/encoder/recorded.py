"""The forward pass of a single image on a GPU, recorded once as a CUDA graph and from then on launched as one.

A ViT is hundreds of kernels. For one image each is done sooner than the processor launches the next, so that most of
the time nothing is computed; a recording is launched at once.
"""

import logging
from collections.abc import Callable
from threading import Lock
from typing import TYPE_CHECKING, TypeAlias

from geoindex.encoder.backends import EXACT

if TYPE_CHECKING:
    import torch

Forward: TypeAlias = "Callable[[torch.Tensor], torch.Tensor]"
"""Pixels (1, 3, S, S), here or on the device -> features (1, D) on the device."""

log = logging.getLogger(__name__)

LEAST_TORCH = "2.13"
"""Before, a recording that failed left torch's memory in disorder (pytorch, change 180395)."""

_RECORDING = Lock()
"""Held while a pass is recorded: torch records one at a time in a process."""

RECORD_AT = 3
"""Image at which the pass is recorded: those before warm it up, and who asks for one or two need not wait for it."""


class SingleImages:
    """Computes one image at a time. Safe in threads: a recording has one place for pixels and one for features."""

    def __init__(self, forward: Forward) -> None:
        self._forward, self._lock = forward, Lock()
        self._seen, self._refused = 0, False
        self._recording: Recording | None = None

    def __reduce__(self) -> tuple[type["SingleImages"], tuple[Forward]]:
        """Leave the recording where it is: a copy makes its own."""
        return SingleImages, (self._forward,)

    def features(self, pixels: "torch.Tensor") -> "torch.Tensor":
        """Return the features of an image, (1, D), of its pixels, (1, 3, S, S)."""
        with self._lock:
            self._seen += 1
            if self._seen >= RECORD_AT and self._recording is None and not self._refused:
                self._record(pixels)
            if self._recording is not None:
                return self._recording.play(pixels)
        return self._forward(pixels)

    def _record(self, pixels: "torch.Tensor") -> None:
        """Record the pass, unless it cannot be, or gives other features."""
        import torch

        try:
            with _RECORDING:
                recording = Recording(self._forward, pixels)
            cosine = torch.cosine_similarity(recording.play(pixels), self._forward(pixels)).item()
            if not cosine >= EXACT:
                raise RuntimeError(f"its features have cosine {cosine:.6f} to those of the pass")
            self._recording = recording
        except RuntimeError as error:  # a pass that waits for the device, or has shapes that depend on values
            self._refused = True
            first = str(error).strip().partition("\n")[0]
            log.info("The forward pass of single images is not recorded (%s); it is launched kernel by kernel.", first)


def can_record() -> bool:
    """Tell whether this torch is to be trusted with it."""
    import torch

    return bool(torch.__version__ >= LEAST_TORCH)  # compared as versions


class Recording:
    """A forward pass as a CUDA graph; it reads and writes where it did when it was recorded."""

    def __init__(self, forward: Forward, pixels: "torch.Tensor") -> None:
        """Record a pass for pixels like these.

        Raises:
            RuntimeError: if it cannot be recorded.
        """
        import torch

        self._device = forward(pixels).device
        aside = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        with torch.cuda.device(self._device), torch.cuda.stream(aside):
            self._pixels = pixels.to(self._device, copy=True)
            forward(self._pixels)  # libraries set up for this stream what they may not while it is recorded
            aside.synchronize()
            self._graph = torch.cuda.CUDAGraph()
            # other threads may go on using the device meanwhile
            with torch.cuda.graph(self._graph, stream=aside, capture_error_mode="thread_local"):
                self._features = forward(self._pixels)

    def play(self, pixels: "torch.Tensor") -> "torch.Tensor":
        """Return the features of an image, (1, D), of its pixels, (1, 3, S, S); they are done when this returns."""
        import torch

        with torch.cuda.device(self._device):
            self._pixels.copy_(pixels)
            self._graph.replay()
            features = self._features.clone()
            torch.cuda.current_stream().synchronize()  # before another thread plays it on another stream
        return features
