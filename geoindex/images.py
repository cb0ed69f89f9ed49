"""Any image -> upright RGB.

Encoded images are read whole before they are decoded, so that no file handle outlives the call. Limits are
checked on the header. Whatever is wrong with an image is one `UnreadableImageError` with a reason in words.
"""

import hashlib
import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn, TypeAlias, TypeGuard

import numpy as np
from numpy.typing import NDArray

from geoindex.errors import UnreadableImageError

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

ImageInput: TypeAlias = (
    "str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO | Image | NDArray[np.uint8] | torch.Tensor"
)
"""A path, encoded bytes, an open binary file, a PIL image, (H, W, C) uint8 array, (C, H, W) uint8 tensor."""

IMAGE_SUFFIXES = frozenset([".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".heic", ".heif"])
"""Suffixes, in lower case, of files that `load_image` may read."""

# Other decoders of Pillow stay shut: one of them hands the file to an external program.
_FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "BMP", "TIFF", "GIF", "AVIF", "JPEG2000", "PPM")
_HEIF_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})
_CUT_OFF = ("truncated", "unexpected end", "broken data stream", "incomplete", "not enough image data")
_REASONS = {
    "UnidentifiedImageError": "it is not an image in a known format, or its first part is damaged",
    "DecompressionBombError": "it claims far more pixels than a photo has; make it smaller",
    "MemoryError": "there is not enough memory to decode it",
}
_WARNINGS = threading.Lock()

ABSENT = "there is no such file"
"""Why an image that is gone cannot be read."""

HASH_BYTES = 16
"""Bytes of a hash that tells files apart: two of a billion agree by chance once in 10^20 times."""


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """What `load_image` refuses to decode.

    Attributes:
        max_bytes: most bytes of an encoded image.
        max_pixels: most pixels that an image may have, by its header; Pillow's own bound holds as well.
    """

    max_bytes: int = 64 * 2**20
    max_pixels: int = 150_000_000


def load_image(
    image: ImageInput,
    *,
    min_side: int | None = None,
    limits: ImageLimits = ImageLimits(),
    name: str | None = None,
) -> "Image":
    """Turn any image into an upright RGB image of 8 bits a channel; safe in threads.

    EXIF orientation is applied, transparency is laid over white, deep pixels are scaled (not clipped)
    to 8 bits, and of an animation the first frame is taken. An open file is read from where it stands.

    Args:
        image: what to read; see `ImageInput`.
        min_side: a JPEG may be decoded at a reduced scale whose shorter side still has this many pixels.
        limits: what to refuse.
        name: what messages call the image; by default its path or kind.

    Raises:
        UnreadableImageError: if it is missing, too large, damaged, or not an image.
    """
    name = name or image_name(image)
    opened = _opened(image, min_side, limits, name)
    try:
        opened.load()
        rgb = _to_rgb(_transpose(opened))
    except Exception as error:  # decoders raise anything on damaged input
        raise UnreadableImageError(name, _decode_reason(error)) from error
    return rgb.copy() if rgb is image else rgb


def read_file(image: ImageInput, *, name: str | None = None) -> ImageInput:
    """Return what stands in the file that a path names, so that it is read once for several uses; else the image.

    Raises:
        UnreadableImageError: if it is missing, empty or too large.
    """
    return _read(image, ImageLimits(), name or image_name(image)) if isinstance(image, str | os.PathLike) else image


def content_hash(image: ImageInput) -> str:
    """Return the blake2b of an image's file in hex, by which copies are known; empty if it comes from no file.

    Raises:
        UnreadableImageError: if the file cannot be read.
    """
    if isinstance(image, bytes | bytearray | memoryview):
        return hashlib.blake2b(image, digest_size=HASH_BYTES).hexdigest()
    if not isinstance(image, str | os.PathLike):
        return ""
    try:
        with Path(image).open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=HASH_BYTES)).hexdigest()
    except OSError as error:
        raise UnreadableImageError(image_name(image), error.strerror or type(error).__name__) from error


def image_name(image: ImageInput) -> str:
    """Return what messages call an image: its path, or its kind and size."""
    given: Any = image
    if isinstance(given, (str, os.PathLike)):
        return os.fsdecode(given)
    if isinstance(given, (bytes, bytearray, memoryview)):
        return f"<{memoryview(given).nbytes} bytes>"
    if isinstance(given, np.ndarray) or _is_tensor(given):
        return f"<{type(given).__name__.lower()} {tuple(given.shape)} {given.dtype}>"
    if _is_pil(given):
        return str(getattr(given, "filename", "") or f"<{given.mode} image {given.width}x{given.height}>")
    return str(getattr(given, "name", f"<{type(given).__name__}>"))


def is_one_image(given: Any) -> "TypeGuard[ImageInput]":
    """Tell whether something is an image itself, and not several of them."""
    if isinstance(given, np.ndarray) or _is_tensor(given):
        sides = tuple(given.shape)
        return len(sides) == 3 and (sides[-1] if isinstance(given, np.ndarray) else sides[0]) in (3, 4)
    kinds = (str, os.PathLike, bytes, bytearray, memoryview)
    return isinstance(given, kinds) or hasattr(given, "read") or _is_pil(given)


def _opened(image: Any, min_side: int | None, limits: ImageLimits, name: str) -> "Image":
    """Return the image with its size checked; encoded images are not decoded yet."""
    pixels = _array(image, name)
    if pixels is not None:
        return _from_array(pixels, limits, name)
    if _is_pil(image):
        _check_pixels(image.size, limits, name)
        return image
    return _open(_read(image, limits, name), min_side, limits, name)


def _is_pil(image: Any) -> "TypeGuard[Image]":
    from PIL.Image import Image

    return isinstance(image, Image)


def _is_tensor(image: Any) -> bool:
    return all(hasattr(image, part) for part in ("detach", "cpu", "dtype", "permute"))


def _refuse(name: str, reason: str, error: BaseException | None = None) -> NoReturn:
    raise UnreadableImageError(name, reason) from error


def _check_pixels(size: tuple[int, int], limits: ImageLimits, name: str) -> None:
    width, height = size
    if width < 1 or height < 1:
        _refuse(name, "it has no pixels")
    if width * height > limits.max_pixels:
        _refuse(name, f"{width} x {height} pixels are more than the limit of {limits.max_pixels}; make it smaller")


def _array(image: Any, name: str) -> NDArray[np.uint8] | None:
    """Return pixels as (H, W) or (H, W, C) if the image is an array or a tensor."""
    if isinstance(image, np.ndarray):
        kind, channels_first = str(image.dtype), False
    elif _is_tensor(image):
        kind, channels_first = str(image.dtype).removeprefix("torch."), True
    else:
        return None
    if kind != "uint8":
        _refuse(name, f"its values are {kind}; give uint8 from 0 to 255")
    pixels = np.asarray(_on_host(image, name) if channels_first else image)
    return np.moveaxis(pixels, 0, -1) if channels_first and pixels.ndim == 3 else pixels


def _on_host(tensor: Any, name: str) -> Any:
    try:
        return tensor.detach().cpu().numpy()
    except Exception as error:  # of a device without values, or a layout that arrays do not have
        _refuse(name, f"its values cannot be read from '{tensor.device}'; give a dense tensor that has values", error)


def _from_array(pixels: NDArray[np.uint8], limits: ImageLimits, name: str) -> "Image":
    from PIL import Image

    if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] not in (1, 3, 4)):
        _refuse(name, "its shape is not (H, W), (H, W, C) or, of a tensor, (C, H, W) with 1, 3 or 4 channels")
    _check_pixels((pixels.shape[1], pixels.shape[0]), limits, name)
    return Image.fromarray(np.ascontiguousarray(pixels[..., 0] if pixels.shape[2:] == (1,) else pixels))


def _read(image: Any, limits: ImageLimits, name: str) -> bytes:
    """Return the encoded image, at most `limits.max_bytes` long."""
    try:
        if isinstance(image, (bytes, bytearray, memoryview)):
            data = bytes(image[: limits.max_bytes + 1])
        elif isinstance(image, (str, os.PathLike)):
            data = _read_path(os.fsdecode(image), limits, name)
        elif hasattr(image, "read"):
            data = image.read(limits.max_bytes + 1)
        else:
            _refuse(name, "it is no path, bytes, binary file, PIL image, array or tensor")
    except (OSError, ValueError) as error:
        _refuse(name, _open_reason(error), error)
    if len(data) > limits.max_bytes:
        _refuse(name, f"it has more bytes than the limit of {limits.max_bytes}; make it smaller")
    if isinstance(data, str):
        _refuse(name, "the file is open as text; open it with mode 'rb'")
    return data or _refuse(name, "it is empty (0 bytes)")


def _read_path(path: str, limits: ImageLimits, name: str) -> bytes:
    if path.lower().startswith(("http://", "https://")):
        _refuse(name, "it is a web address; download it and give the file")
    with Path(path).open("rb") as file:
        return file.read(limits.max_bytes + 1)


def _open_reason(error: Exception) -> str:
    kinds: dict[type[Exception], str] = {
        FileNotFoundError: ABSENT,
        NotADirectoryError: ABSENT,
        IsADirectoryError: "it is a folder",
        PermissionError: "permission to read it was denied",
    }
    return kinds.get(type(error)) or getattr(error, "strerror", None) or str(error).rstrip(".")


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence Pillow while it reads metadata: our limits and errors say it instead."""
    with _WARNINGS, warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        yield


def _open(data: bytes, min_side: int | None, limits: ImageLimits, name: str) -> "Image":
    """Read the header of an encoded image and choose the scale of its decoding."""
    from PIL import Image

    formats = _heif_formats(name) if _is_heif(data) else _formats()
    try:
        with _quiet():
            opened = Image.open(BytesIO(data), formats=formats)
    except Exception as error:  # decoders raise anything on damaged input
        _refuse(name, _decode_reason(error), error)
    _check_pixels(opened.size, limits, name)
    if min_side is not None:
        opened.draft("RGB", (min_side, min_side))  # a square request holds for every orientation
    return opened


@cache
def _formats() -> tuple[str, ...]:
    from PIL import Image

    Image.init()
    return tuple(name for name in _FORMATS if name in Image.OPEN)


def _is_heif(data: bytes) -> bool:
    return data[4:8] == b"ftyp" and data[8:12] in _HEIF_BRANDS and b"avif" not in data[16:64]


def _heif_formats(name: str) -> tuple[str, ...]:
    try:
        return _register_heif()
    except ImportError as error:
        _refuse(name, "it is HEIC, which needs an extra: pip install 'geoindex[heic]'", error)


@cache
def _register_heif() -> tuple[str, ...]:
    import pillow_heif

    pillow_heif.register_heif_opener()
    return ("HEIF",)


def _decode_reason(error: Exception) -> str:
    text, kind = str(error).strip().rstrip("."), type(error).__name__
    if kind in _REASONS:
        return _REASONS[kind]
    if isinstance(error, EOFError) or any(part in text.lower() for part in _CUT_OFF):
        return "it is damaged or cut off before its end"
    return f"it cannot be decoded ({text or kind})"


def _transpose(image: "Image") -> "Image":
    """Turn and flip as EXIF says; metadata that cannot be read counts as none."""
    from PIL import Image

    try:
        with _quiet():
            orientation = image.getexif().get(0x0112)
    except Exception:
        orientation = None
    turn = Image.Transpose
    mirrors = {2: turn.FLIP_LEFT_RIGHT, 4: turn.FLIP_TOP_BOTTOM, 5: turn.TRANSPOSE, 7: turn.TRANSVERSE}
    turns = mirrors | {3: turn.ROTATE_180, 6: turn.ROTATE_270, 8: turn.ROTATE_90}
    return image.transpose(turns[orientation]) if orientation in turns else image


def _to_rgb(image: "Image") -> "Image":
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode[0] in "IF":
        return _from_deep(image)
    if image.has_transparency_data:
        return _over_white(image)
    return image.convert("RGB")


def _over_white(image: "Image") -> "Image":
    from PIL import Image

    pixels = image.convert("LA" if image.mode == "La" else "RGBA").convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", pixels.size, "white"), pixels).convert("RGB")


def _from_deep(image: "Image") -> "Image":
    """Scale 16 bit, 32 bit and float pixels to 8 bits; a range that is not stated is the next usual one."""
    from PIL import Image

    pixels = np.nan_to_num(np.asarray(image, np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    peak = float(pixels.max())
    ranges = (65535.0,) if image.mode.startswith("I;16") else (255.0, 65535.0, peak)
    top = 1.0 if image.mode == "F" and peak <= 1.0 else next(r for r in ranges if r >= peak)
    scaled = np.clip(pixels * np.float32(255.0 / top), 0.0, 255.0)
    return Image.fromarray(np.rint(scaled).astype(np.uint8)).convert("RGB")
