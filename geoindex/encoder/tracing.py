"""An encoder -> the program of its forward pass, with the normalisation in it: bytes in, features out."""

from typing import TYPE_CHECKING

from geoindex.errors import EncoderError

if TYPE_CHECKING:
    import torch

    from geoindex.encoder.encoder import Encoder

MOST_IMAGES = 65_536
"""Largest batch that a program is made for."""


def trace(encoder: "Encoder") -> tuple["torch.export.ExportedProgram", "torch.Tensor"]:
    """Return the program of an encoder for batches of any size, and the pixels (2, 3, S, S) that it was made with.

    Raises:
        EncoderError: if torch cannot follow the model.
    """
    import torch

    # with one image torch would take the size of the batch for a constant
    pixels = torch.zeros((2, 3, encoder.image_size, encoder.image_size), dtype=torch.uint8)
    batch = torch.export.Dim("batch", min=1, max=MOST_IMAGES)
    try:
        with torch.no_grad():
            program = torch.export.export(_with_normalisation(encoder), (pixels,), dynamic_shapes=({0: batch},))
    except Exception as error:  # torch raises many kinds, and so do models
        first = str(error).strip().partition("\n")[0]
        raise EncoderError(f"Encoder '{encoder.spec}' cannot be exported ({first}); take backend torch.") from error
    return program, pixels


def _with_normalisation(encoder: "Encoder") -> "torch.nn.Module":
    import torch

    class Normalised(torch.nn.Module):
        mean: torch.Tensor
        std: torch.Tensor

        def __init__(self) -> None:
            super().__init__()
            self.module = encoder.module
            self.register_buffer("mean", torch.tensor(encoder.preprocessing.mean).view(3, 1, 1))
            self.register_buffer("std", torch.tensor(encoder.preprocessing.std).view(3, 1, 1))

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            outputs = self.module((pixels.float() / 255 - self.mean) / self.std)
            pooled: torch.Tensor = outputs[0] if isinstance(outputs, tuple) else outputs
            return pooled

    return Normalised().eval()
