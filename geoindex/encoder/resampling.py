"""An image at another size, antialiased.

Where torch is loaded it resizes, several times as fast as Pillow, whose loops are built for any processor. Both do the
same sums in whole numbers and round after each direction: of photos one value in 400 differs, by 1 or 2 of 255.
"""

import ctypes
import sys
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image

Pixels = NDArray[np.uint8]

BY_TORCH = ("bilinear", "bicubic")
"""Interpolations that torch knows with antialiasing."""

RGBX = 4
"""Bytes of a pixel as Pillow holds it; nothing is said of the last one."""


def resample(image: "Image", width: int, height: int, interpolation: str) -> Pixels:
    """Return the pixels of an RGB image at another size, (height, width, 3)."""
    if (image.width, image.height) == (width, height):
        return np.asarray(image)
    if interpolation in BY_TORCH and "torch" in sys.modules:
        return _by_torch(image, width, height, interpolation)
    from PIL import Image

    return np.asarray(image.resize((width, height), Image.Resampling[interpolation.upper()]))


def _by_torch(image: "Image", width: int, height: int, interpolation: str) -> Pixels:
    import torch

    pixels = held_pixels(image)
    if pixels is None:
        pixels = np.array(image)
    # with a step for the one image as well, or torch takes this for planes and unpacks its result: 0.2 ms
    planes = pixels.reshape(1, *pixels.shape).transpose(0, 3, 1, 2)
    resized = torch.nn.functional.interpolate(
        torch.from_numpy(planes), (height, width), mode=interpolation, antialias=True
    )
    found: Pixels = resized.numpy()[0].transpose(1, 2, 0)[:, :, :3]
    return found


def held_pixels(image: "Image") -> Pixels | None:
    """Return the pixels of an image where Pillow holds them, (H, W, 4), which is as long as it lives.

    They are found by Arrow's interface for data in C, without Arrow itself, whose objects would take as long as a third
    of the resize. None: they are in several pieces, or held in another way.
    """
    try:
        _, capsule = image.__arrow_c_array__()
    except ValueError:
        return None
    array, size = _ArrowArray.from_address(_address_in(capsule, b"arrow_array")), image.width * image.height
    if (array.length, array.n_children) != (size, 1) or array.children[0].contents.length != RGBX * size:
        return None
    whole = (ctypes.c_uint8 * (RGBX * size)).from_address(array.children[0].contents.buffers[1])
    return np.frombuffer(memoryview(whole), np.uint8).reshape(image.height, image.width, RGBX)


_address_in = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(
    ("PyCapsule_GetPointer", ctypes.pythonapi)
)


class _ArrowArray(ctypes.Structure):
    """`struct ArrowArray` of Arrow's C data interface, as far as it is read."""


_ArrowArray._fields_ = [
    *((name, ctypes.c_int64) for name in ("length", "null_count", "offset", "n_buffers", "n_children")),
    ("buffers", ctypes.POINTER(ctypes.c_void_p)),
    ("children", ctypes.POINTER(ctypes.POINTER(_ArrowArray))),
]
