import io
import os
import struct
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from geoindex.errors import UnreadableImageError
from geoindex.images import IMAGE_SUFFIXES, ImageLimits, image_name, load_image

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def encoded(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def scene(width=64, height=48):
    y, x = np.mgrid[0:height, 0:width]
    pixels = np.stack([255 * x / width, 255 * y / height, 128 + 0 * x], axis=-1)
    return Image.fromarray(pixels.astype(np.uint8))


def reason(image, **options):
    with pytest.raises(UnreadableImageError) as caught:
        load_image(image, **options)
    return caught.value.reason


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM"])
def test_lossless_formats_come_back_exactly(kind, tmp_path):
    path = tmp_path / "image.bin"
    path.write_bytes(encoded(scene(), kind))
    loaded = load_image(path)
    assert loaded.mode == "RGB"
    assert np.array_equal(np.asarray(loaded), np.asarray(scene()))


def test_every_kind_of_input_gives_the_same_pixels(tmp_path):
    torch = pytest.importorskip("torch")
    data, want = encoded(scene()), np.asarray(scene())
    path = tmp_path / "image.png"
    path.write_bytes(data)
    tensor = torch.from_numpy(want.copy()).permute(2, 0, 1)
    with path.open("rb") as file:
        inputs = [str(path), path, data, bytearray(data), memoryview(data), file, scene(), want, tensor]
        for image in inputs:
            assert np.array_equal(np.asarray(load_image(image)), want), image_name(image)


@pytest.mark.parametrize("channels", [None, 1, 3, 4])
def test_arrays_of_grey_colour_and_alpha(channels):
    shape = (5, 7) if channels is None else (5, 7, channels)
    loaded = load_image(np.full(shape, 255, np.uint8)[:, ::-1])
    assert (loaded.mode, loaded.size) == ("RGB", (7, 5))
    assert loaded.getpixel((0, 0)) == WHITE


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_applied(kind, orientation):
    pixels = np.zeros((32, 64, 3), np.uint8)
    pixels[:16, :32], pixels[:16, 32:], pixels[16:, :32], pixels[16:, 32:] = RED, GREEN, BLUE, WHITE
    exif = Image.Exif()
    exif[0x0112] = orientation
    tagged = Image.fromarray(pixels)
    tagged.getexif()[0x0112] = orientation
    want = np.asarray(ImageOps.exif_transpose(tagged), float)
    loaded = np.asarray(load_image(encoded(Image.fromarray(pixels), kind, exif=exif)), float)
    assert loaded.shape == want.shape
    assert np.abs(loaded - want).mean() < 6


def test_palette_transparency_goes_over_white():
    image = Image.new("P", (4, 4), 0)
    image.putpalette([255, 0, 0, 0, 0, 255] + [0] * 762)
    image.putpixel((1, 0), 1)
    loaded = load_image(encoded(image, transparency=bytes([255, 0])))
    assert loaded.getpixel((0, 0)) == RED
    assert loaded.getpixel((1, 0)) == WHITE


def test_one_transparent_colour_of_rgb_goes_over_white():
    image = Image.new("RGB", (4, 4), RED)
    image.putpixel((2, 2), BLUE)
    loaded = load_image(encoded(image, transparency=BLUE))
    assert (loaded.getpixel((0, 0)), loaded.getpixel((2, 2))) == (RED, WHITE)


@pytest.mark.parametrize(("mode", "colour"), [("LA", (0, 128)), ("RGBA", (0, 0, 0, 128))])
def test_half_transparent_black_is_grey(mode, colour):
    loaded = load_image(encoded(Image.new(mode, (4, 4), colour)))
    assert loaded.getpixel((0, 0)) == (127, 127, 127)


def test_premultiplied_alpha_goes_over_white():
    assert load_image(Image.new("La", (2, 2), (0, 0))).getpixel((0, 0)) == WHITE
    assert load_image(Image.new("RGBa", (2, 2), (0, 0, 0, 0))).getpixel((0, 0)) == WHITE


def test_cmyk_and_bilevel():
    cyan = load_image(encoded(Image.new("CMYK", (16, 16), (255, 0, 0, 0)), "JPEG", quality=95))
    assert cyan.getpixel((8, 8)) == pytest.approx((0, 255, 255), abs=6)
    assert load_image(encoded(Image.new("1", (4, 4), 1))).getpixel((0, 0)) == WHITE


def test_sixteen_bits_are_scaled_not_clipped():
    ramp = np.linspace(0, 65535, 256).round().astype(np.uint16).reshape(16, 16)
    for kind in ("PNG", "TIFF"):
        loaded = np.asarray(load_image(encoded(Image.fromarray(ramp), kind)))
        assert np.array_equal(loaded[..., 0].ravel(), np.arange(256)), kind


def test_dark_sixteen_bits_stay_dark():
    dark = np.full((4, 4), 257, np.uint16)
    assert load_image(encoded(Image.fromarray(dark))).getpixel((0, 0)) == (1, 1, 1)


@pytest.mark.parametrize("top", [1.0, 255.0, 65535.0, 1e6])
def test_float_pixels_take_the_range_they_fit(top):
    pixels = np.array([[0.0, top / 2], [top, np.nan]], np.float32)
    loaded = load_image(encoded(Image.fromarray(pixels), "TIFF"))
    values = [loaded.getpixel(at)[0] for at in ((0, 0), (1, 0), (0, 1), (1, 1))]
    assert values == pytest.approx([0, 128, 255, 0], abs=1)


def test_integers_of_32_bits():
    pixels = np.array([[0, 70_000], [140_000, -5]], np.int32)
    loaded = load_image(Image.fromarray(pixels))
    assert [loaded.getpixel(at)[0] for at in ((0, 0), (1, 0), (0, 1), (1, 1))] == [0, 128, 255, 0]


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_an_animation_gives_its_first_frame(kind):
    frames = [Image.new("RGB", (16, 16), colour) for colour in (RED, BLUE)]
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
    assert load_image(data).getpixel((8, 8)) == pytest.approx(RED, abs=8)


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize(("size", "min_side", "scale"), [((640, 480), 100, 4), ((640, 480), 241, 1)])
def test_a_jpeg_is_decoded_at_reduced_scale(size, min_side, scale, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    loaded = load_image(encoded(scene(*size), "JPEG", exif=exif), min_side=min_side)
    want = tuple(side // scale for side in size)
    assert loaded.size == (want if orientation == 1 else want[::-1])


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 400), st.integers(1, 400), st.integers(1, 200))
def test_reduced_scale_never_goes_under_min_side(width, height, min_side):
    loaded = load_image(encoded(Image.new("RGB", (width, height)), "JPEG"), min_side=min_side)
    assert min(loaded.size) >= min(min_side, width, height)
    assert min(loaded.size) <= max(min(width, height), min_side)


def test_the_callers_image_is_left_alone():
    image = Image.open(io.BytesIO(encoded(scene(640, 480), "JPEG")))
    loaded = load_image(image, min_side=16)
    loaded.putpixel((0, 0), BLUE)
    assert (image.size, image.mode) == ((640, 480), "RGB")
    assert image.getpixel((0, 0)) != BLUE
    assert loaded is not image


def test_missing_folder_and_empty_files(tmp_path):
    assert reason(tmp_path / "none.jpg") == "there is no such file"
    assert reason(tmp_path) == "it is a folder"
    (tmp_path / "empty.jpg").touch()
    assert reason(tmp_path / "empty.jpg") == "it is empty (0 bytes)"
    assert reason(str(tmp_path / "empty.jpg" / "below.jpg")) == "there is no such file"
    assert reason(b"") == "it is empty (0 bytes)"
    assert "null" in reason("a\0b")
    assert "web address" in reason("https://example.org/a.jpg")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_permission_denied(tmp_path):
    path = tmp_path / "secret.png"
    path.write_bytes(encoded(scene()))
    path.chmod(0)
    assert reason(path) == "permission to read it was denied"


def test_permission_denied_in_words(monkeypatch, tmp_path):
    def deny(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.open", deny)
    assert reason(tmp_path / "secret.png") == "permission to read it was denied"


def test_what_is_no_image():
    assert "not an image" in reason(b"lat,lon\n1,2\n")
    assert "no path" in reason(3.5)
    assert "text" in reason(io.StringIO("text"))
    assert "float64" in reason(np.zeros((4, 4, 3)))
    assert "shape" in reason(np.zeros((4, 4, 2), np.uint8))
    assert "shape" in reason(np.zeros((4,), np.uint8))
    assert reason(np.zeros((0, 4, 3), np.uint8)) == "it has no pixels"


def test_a_tensor_of_floats_is_refused():
    torch = pytest.importorskip("torch")
    assert "float32" in reason(torch.zeros(3, 4, 4))


def test_external_programs_are_never_asked():
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n%%EOF\n"
    assert "not an image" in reason(eps)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "BMP"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_cut_off_files_are_refused(kind, share):
    rng = np.random.default_rng(0)
    data = encoded(Image.fromarray(rng.integers(0, 256, (64, 64, 3), np.uint8)), kind)
    words = {"WEBP": "", "TIFF": ""}.get(kind, "cut off")
    assert words in reason(data[: int(len(data) * share)])


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(["JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP"]), st.data())
def test_damage_is_an_image_or_one_kind_of_error(kind, data):
    exif = Image.Exif()
    exif[0x0112] = 3
    options = {} if kind in ("GIF", "BMP") else {"exif": exif}
    damaged = bytearray(encoded(scene(16, 16), kind, **options))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(damaged) - 1))
        damaged[at] = data.draw(st.integers(0, 255))
    with suppress(UnreadableImageError):
        assert load_image(bytes(damaged), limits=ImageLimits(max_pixels=10**6)).mode == "RGB"


def bomb(width, height):
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


@pytest.mark.parametrize("side", [10_000, 12_500, 60_000])
def test_a_bomb_is_refused_by_its_header(side):
    limits = ImageLimits(max_pixels=99_999_999)
    assert "more" in reason(bomb(side, side), limits=limits)


def test_limits_hold_for_bytes_files_and_arrays(tmp_path):
    data = encoded(scene())
    path = tmp_path / "a.png"
    path.write_bytes(data)
    for image in (path, data, io.BytesIO(data)):
        assert "bytes" in reason(image, limits=ImageLimits(max_bytes=len(data) - 1))
    load_image(path, limits=ImageLimits(max_bytes=len(data)))
    for image in (scene(), np.asarray(scene()), path):
        assert "pixels" in reason(image, limits=ImageLimits(max_pixels=64 * 48 - 1))
        load_image(image, limits=ImageLimits(max_pixels=64 * 48))


def test_unreadable_metadata_counts_as_none():
    data = encoded(scene(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\x00garbage")
    assert load_image(data).size == (64, 48)


def test_heic_without_its_extra_names_the_cure(monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    from geoindex import images

    images._register_heif.cache_clear()
    assert "pip install 'geoindex[heic]'" in reason(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(32))


def test_messages_name_the_image(tmp_path):
    with pytest.raises(UnreadableImageError, match=r"beach\.jpg"):
        load_image(tmp_path / "beach.jpg")
    with pytest.raises(UnreadableImageError, match="upload 7"):
        load_image(b"x", name="upload 7")
    assert image_name(b"abc") == "<3 bytes>"
    assert image_name(io.BytesIO()) == "<BytesIO>"
    assert image_name(np.zeros((2, 3, 3), np.uint8)) == "<ndarray (2, 3, 3) uint8>"
    assert image_name(Image.new("L", (3, 2))) == "<L image 3x2>"


def test_suffixes_are_lower_case():
    assert {".jpg", ".heic", ".tiff"} <= IMAGE_SUFFIXES
    assert all(s == s.lower() and s.startswith(".") for s in IMAGE_SUFFIXES)


def test_threads_agree_and_leave_the_warning_filters_alone():
    import warnings

    before = list(warnings.filters)
    data = encoded(scene(), "JPEG")
    with ThreadPoolExecutor(8) as pool:
        loaded = list(pool.map(load_image, [data] * 64))
    assert {image.tobytes() for image in loaded} == {loaded[0].tobytes()}
    assert warnings.filters == before
