from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from defect_detection.data import upright
from defect_detection.data.bounds import Limits
from defect_detection.data.image_formats import IMAGE_SUFFIXES
from defect_detection.data.images import read_image
from defect_detection.data.levels import Levels, to_8_bit
from defect_detection.errors import ImageError

GRADIENT = np.linspace(0, 255, 24 * 16 * 3).reshape(16, 24, 3).astype(np.uint8)  # (height, width, RGB)
STORED_AS = {  # by EXIF orientation: what becomes upright again when a viewer applies it
    1: np.array,
    2: np.fliplr,
    3: lambda upright: np.rot90(upright, 2),
    4: np.flipud,
    5: np.transpose,
    6: np.rot90,
    7: lambda upright: np.rot90(upright, 2).T,
    8: lambda upright: np.rot90(upright, -1),
}
LOSSLESS = {"PNG": {}, "BMP": {}, "TIFF": {}, "WEBP": {"lossless": True}}


def encoded(image: Image.Image, format: str = "PNG", **options: object) -> bytes:
    buffer = BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def colour_of(image: Image.Image, format: str = "PNG", **options: object) -> tuple[int, ...]:
    """Write and read the image, and return its first pixel."""
    pixels = read_image(encoded(image, format, **options))
    assert (pixels.dtype, pixels.shape) == (np.uint8, (image.height, image.width, 3))
    return tuple(int(value) for value in pixels[0, 0])


@pytest.mark.parametrize("format", LOSSLESS)
def test_lossless_formats_give_back_the_pixels(format):
    data = encoded(Image.fromarray(GRADIENT), format, **LOSSLESS[format])
    np.testing.assert_array_equal(read_image(data), GRADIENT)


def test_jpeg_gives_back_nearly_the_pixels():
    smooth = np.broadcast_to(np.linspace(0, 255, 32, dtype=np.uint8)[:, None, None], (32, 32, 3))
    pixels = read_image(encoded(Image.fromarray(smooth), "JPEG", quality=95))
    assert np.abs(pixels.astype(int) - smooth).max() <= 4


@pytest.mark.parametrize("suffix", sorted(IMAGE_SUFFIXES))
def test_every_suffix_is_read_from_a_file(tmp_path, suffix):
    path = tmp_path / f"Prüfling 部品{suffix.upper()}"
    Image.fromarray(GRADIENT).save(path)
    assert read_image(path, (32, 48)).shape == (32, 48, 3)


def test_gray_palette_and_one_bit_become_rgb():
    assert colour_of(Image.new("L", (3, 2), 77)) == (77, 77, 77)
    assert colour_of(Image.new("1", (3, 2), 1)) == (255, 255, 255)
    assert colour_of(Image.new("RGB", (3, 2), (200, 20, 60)).quantize(4)) == (200, 20, 60)


def test_cmyk_becomes_rgb():
    red, green, blue = colour_of(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "TIFF")
    assert (red, green, blue) == (255, 0, 0)
    red, green, blue = colour_of(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG", quality=100)
    assert red > 250
    assert max(green, blue) < 5


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
@pytest.mark.parametrize(("value", "expected"), [(0, 0), (257, 1), (256 * 100, 99), (65535, 255)])
def test_sixteen_bit_gray_has_one_scale_for_all_images(format, value, expected):
    image = Image.fromarray(np.full((4, 5), value, np.uint16))
    assert colour_of(image, format) == (expected,) * 3


def test_big_endian_sixteen_bit_tiff_is_read_like_any_other():
    ones = np.full((4, 5), 257 * 9, ">u2")
    assert colour_of(Image.frombytes("I;16B", (5, 4), ones.tobytes()), "TIFF") == (9, 9, 9)


def test_wide_integers_count_as_sixteen_bit_and_larger_ones_are_refused():
    assert colour_of(Image.fromarray(np.full((4, 5), 65535, np.int32)), "TIFF") == (255, 255, 255)
    with pytest.raises(ImageError, match="expected values from 0 to 65535, received 65536 to 65536"):
        read_image(encoded(Image.fromarray(np.full((4, 5), 65536, np.int32)), "TIFF"))


def test_float_tiff_runs_from_0_to_1():
    assert colour_of(Image.fromarray(np.full((4, 5), 0.5, np.float32)), "TIFF") == (128, 128, 128)
    for wrong in (200.0, -1.0, np.nan):
        with pytest.raises(ImageError, match="expected float values from 0 to 1"):
            read_image(encoded(Image.fromarray(np.full((4, 5), wrong, np.float32)), "TIFF"))


def test_transparent_pixels_are_blended_with_white():
    for mode, clear, opaque in (
        ("RGBA", (10, 20, 30, 0), (10, 20, 30, 255)),
        ("LA", (5, 0), (5, 255)),
        ("P", 0, 1),
    ):
        image = Image.new(mode, (3, 2), clear)
        image.putpixel((2, 1), opaque)
        assert colour_of(image, **({"transparency": 0} if mode == "P" else {})) == (255, 255, 255)
    assert colour_of(Image.new("RGBA", (3, 2), (10, 20, 30, 255))) == (10, 20, 30)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(format, orientation):
    upright = np.zeros((32, 64), np.uint8)
    upright[:16, :32] = 255  # bright top left
    stored = STORED_AS[orientation](upright)
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = read_image(encoded(Image.fromarray(np.ascontiguousarray(stored)), format, exif=exif))
    assert pixels.shape == (32, 64, 3)
    assert pixels[4:12, 4:28].min() > 240
    assert pixels[20:, 36:].max() < 15


def test_images_of_any_size_are_stretched_with_antialiasing():
    stripes = np.zeros((64, 200), np.uint8)
    stripes[:, ::2] = 254
    pixels = read_image(encoded(Image.fromarray(stripes)), (16, 20))
    assert pixels.shape == (16, 20, 3)
    assert np.abs(pixels.astype(int) - 127).max() <= 4  # else stripes would alias to 0 or 254


def test_a_large_jpeg_keeps_its_look_when_decoded_at_reduced_scale():
    rows, columns = np.mgrid[0:512, 0:768]
    waves = (127 + 80 * np.sin(rows / 40) * np.cos(columns / 60)).astype(np.uint8)
    large = Image.fromarray(waves)
    from_jpeg = read_image(encoded(large, "JPEG", quality=95), (32, 48)).astype(int)
    from_png = read_image(encoded(large, "PNG"), (32, 48)).astype(int)
    assert np.abs(from_jpeg - from_png).max() <= 3


@pytest.mark.parametrize("format", ["JPEG", *LOSSLESS])
def test_truncated_files_are_refused_and_named(tmp_path, format):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    whole = encoded(Image.fromarray(noise), format)
    path = tmp_path / "cut.img"
    path.write_bytes(whole[: len(whole) * 2 // 3])
    with pytest.raises(ImageError, match=r"cut\.img: cannot be decoded|cut\.img: expected a JPEG"):
        read_image(path)


@pytest.mark.parametrize("format", ["GIF", "PPM", "ICO"])
def test_other_formats_are_refused_whatever_the_suffix(tmp_path, format):
    path = tmp_path / "part.png"
    path.write_bytes(encoded(Image.fromarray(GRADIENT), format))
    with pytest.raises(ImageError, match=r"part\.png: expected a JPEG, PNG, BMP, TIFF or WebP image"):
        read_image(path)


@pytest.mark.parametrize("data", [b"", b"\x89PNG\r\n\x1a\n", b"not an image" * 99])
def test_bytes_that_are_no_image_are_refused(data):
    with pytest.raises(ImageError, match=f"image of {len(data)} bytes: "):
        read_image(data)


def test_missing_file_is_named():
    with pytest.raises(ImageError, match=r"nowhere\.png: cannot be read \(No such file"):
        read_image(Path("nowhere.png"))


def test_too_many_pixels_are_refused_before_decoding():
    bomb = encoded(Image.new("1", (12_000, 12_000)))  # 18 kB that would become 432 MB
    with pytest.raises(
        ImageError, match=r"at most 25000000 pixels \(data.max_pixels\), received 12000 x 12000"
    ):
        read_image(bomb)
    small = encoded(Image.new("L", (10, 10)))
    assert read_image(small, limits=Limits(100)).shape == (10, 10, 3)
    with pytest.raises(ImageError, match="at most 99 pixels"):
        read_image(small, limits=Limits(99))


# -- strips: a large image takes few copies of itself, and comes out as if it had been read in one piece ----------------

SHAPE = (45, 61)  # (height, width)
NOISE = np.random.default_rng(3).integers(0, 256, (*SHAPE, 4), dtype=np.uint8)
RGB = Image.fromarray(NOISE[..., :3])
IN_MODES = {  # an image of noise in each mode: the bytes of a file
    "L": lambda **exif: encoded(Image.fromarray(NOISE[..., 0]), **exif),
    "1": lambda **exif: encoded(Image.fromarray(NOISE[..., 0]).convert("1"), **exif),
    "RGB": lambda **exif: encoded(RGB, **exif),
    "RGBA": lambda **exif: encoded(Image.fromarray(NOISE), **exif),
    "LA": lambda **exif: encoded(Image.fromarray(NOISE).convert("LA"), **exif),
    "P": lambda **exif: encoded(RGB.quantize(50), **exif),
    "P, transparent": lambda **exif: encoded(RGB.quantize(50), transparency=bytes(range(50)), **exif),
    "L, one value transparent": lambda **exif: encoded(
        Image.fromarray(NOISE[..., 0]), transparency=9, **exif
    ),
    "16 bit": lambda **exif: encoded(Image.fromarray(NOISE[..., :2].copy().view(np.uint16)[..., 0]), **exif),
    "32 bit": lambda **exif: encoded(Image.fromarray(NOISE[..., 0].astype(np.int32) * 250), "TIFF", **exif),
    "float": lambda **exif: encoded(Image.fromarray(NOISE[..., 0].astype(np.float32) / 255), "TIFF", **exif),
    "CMYK": lambda **exif: encoded(
        Image.frombytes("CMYK", SHAPE[::-1], NOISE.tobytes()), "JPEG", quality=95, **exif
    ),
    "YCbCr": lambda **exif: encoded(RGB, "JPEG", quality=95, **exif),
}


def read_in_one_piece(data: bytes, size: tuple[int, int] | None) -> np.ndarray:
    """Turn, convert and stretch the image as a whole, one after the other."""
    with Image.open(BytesIO(data)) as image:
        if size is not None:
            image.draft(None, (2 * max(size), 2 * max(size)))
        ImageOps.exif_transpose(image, in_place=True)
        whole = to_8_bit(image, Levels())
        if size is not None:
            whole = whole.resize(size[::-1], Image.Resampling.BILINEAR)
        return np.array(whole.convert("RGB"))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("mode", IN_MODES)
def test_no_pixel_depends_on_the_strips_in_which_an_image_is_read(monkeypatch, mode, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = IN_MODES[mode](exif=exif)
    for size in (None, (16, 16), (7, 90), (40, 7), SHAPE, SHAPE[::-1]):
        expected = read_in_one_piece(data, size)
        for pixels in (1, 300, 10_000):
            monkeypatch.setattr(upright, "STRIP_PIXELS", pixels)
            found = read_image(data, size)
            np.testing.assert_array_equal(found, expected)
            assert found.flags.writeable


def test_a_value_out_of_range_is_found_in_whichever_strip_it_is(monkeypatch):
    monkeypatch.setattr(upright, "STRIP_PIXELS", 100)
    for kind, wrong in ((np.int32, 65536), (np.float32, np.nan)):
        values = np.zeros((40, 30), kind)
        values[-1, -1] = wrong
        with pytest.raises(ImageError, match=r"expected (float )?values from 0 to"):
            read_image(encoded(Image.fromarray(values), "TIFF"), (8, 8))
