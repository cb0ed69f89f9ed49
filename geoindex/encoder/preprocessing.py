"""What a model wants of its pixels: size, crop, mean and deviation.

Geometry and rounding follow torchvision's Resize and CenterCrop, which the models were trained with.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geoindex.encoder.resampling import resample
from geoindex.errors import EncoderError

if TYPE_CHECKING:
    from PIL.Image import Image

RESIZES = ("shortest", "longest", "squash")
INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos")


@dataclass(frozen=True)
class Preprocessing:
    """How an image becomes the input of a model.

    Attributes:
        size: side of the square input in pixels.
        mean, std: of each channel, for pixels in 0..1.
        interpolation: one of `INTERPOLATIONS`.
        resize: what is brought to `size / crop_pct`: the shortest side (then the centre is cut out), the
            longest (then the rest is filled), or both (which ignores the aspect ratio).
        crop_pct: share of the resized side that the centre keeps.
        fill: colour around an image that is fitted by its longest side.
    """

    size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: str = "bicubic"
    resize: str = "shortest"
    crop_pct: float = 1.0
    fill: tuple[int, int, int] = (0, 0, 0)

    def __post_init__(self) -> None:
        if self.resize not in RESIZES or self.interpolation not in INTERPOLATIONS:
            wanted = f"one of {', '.join(RESIZES)} and one of {', '.join(INTERPOLATIONS)}"
            raise EncoderError(f"Preprocessing {self.resize!r} with {self.interpolation!r} is unknown; give {wanted}.")
        if self.size < 1 or not 0 < self.crop_pct <= 1 or min(self.std) <= 0:
            raise EncoderError(f"Preprocessing is not valid: {self}; correct size, crop_pct or std.")

    @property
    def scaled(self) -> int:
        """Side in pixels that an image is resized to before the crop."""
        return math.floor(self.size / self.crop_pct)

    def apply(self, image: "Image") -> NDArray[np.uint8]:
        """Return the pixels that the model sees, (3, size, size), of an upright RGB image."""
        resized = resample(image, *self.resized(image.width, image.height), self.interpolation)
        return np.ascontiguousarray(self._crop(resized).transpose(2, 0, 1))

    def resized(self, width: int, height: int) -> tuple[int, int]:
        """Return width and height that an image of this size is resized to before the crop."""
        side = self.scaled
        if self.resize == "squash":
            return side, side
        if self.resize == "longest":
            ratio = side / max(width, height)
            return max(1, round(width * ratio)), max(1, round(height * ratio))
        short = min(width, height)
        return (side, int(side * height / short)) if width <= height else (int(side * width / short), side)

    def _crop(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Cut out the centre, (size, size, 3), of pixels, (H, W, 3); where they are fewer, fill around them."""
        height, width, _ = pixels.shape
        left, top = round((width - self.size) / 2), round((height - self.size) / 2)
        inner = pixels[max(top, 0) : top + self.size, max(left, 0) : left + self.size]
        if inner.shape[:2] == (self.size, self.size):
            return inner
        filled = np.full((self.size, self.size, 3), self.fill, np.uint8)
        down, right = max(-top, 0), max(-left, 0)
        filled[down : down + inner.shape[0], right : right + inner.shape[1]] = inner
        return filled

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain JSON types."""
        return {key: list(v) if isinstance(v, tuple) else v for key, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Preprocessing":
        """Read what `to_dict` wrote."""
        fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        return cls(**fields)
