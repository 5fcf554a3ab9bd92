"""The table of docs/images.md, row by row, against another decoder: `tifffile` for TIFF, arithmetic of our own for the rest."""

import io
import re
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from drawn import bmp, packed_12_bits, png, tiff
from PIL import Image

from defect_detection.data.images import read_image
from defect_detection.errors import ImageError

H, W = 21, 34
RNG = np.random.default_rng(5)


def u8(*channels: int) -> np.ndarray:
    return RNG.integers(0, 256, (H, W, *channels), dtype=np.uint8)


def u16(*channels: int, most: int = 65535) -> np.ndarray:
    return RNG.integers(0, most + 1, (H, W, *channels), dtype=np.uint16)


def written(values: np.ndarray, order: str = "<", compression: str | None = None, **options: object) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, values, byteorder=order, compression=compression, metadata=None, **options)
    return buffer.getvalue()


def saved(image: Image.Image, format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


# -- what colours are, by arithmetic: values as they are stored → RGB from 0 to 255 --------------------------------------


def gray(values: np.ndarray, white: float = 255) -> np.ndarray:
    return np.repeat(values.astype(float)[..., None] * 255 / white, 3, axis=2)


def over_white(colours: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    share = alpha[..., None] / 255
    return colours * share + 255 * (1 - share)


def from_cmyk(values: np.ndarray) -> np.ndarray:
    return (255 - values[..., :3].astype(float)) * (255 - values[..., 3:].astype(float)) / 255


def from_ycbcr(values: np.ndarray) -> np.ndarray:
    y, cb, cr = np.moveaxis(values.astype(float), -1, 0)
    cb, cr = cb - 128, cr - 128
    return np.stack([y + 1.402 * cr, y - 0.344136 * cb - 0.714136 * cr, y + 1.772 * cb], -1).clip(0, 255)


def from_lab(values: np.ndarray) -> np.ndarray:
    """Colours under D50, as TIFF stores them: L of 0 to 255, a and b signed."""
    lightness, a, b = (
        values[..., 0] / 2.55,
        values[..., 1].view(np.int8) / 1.0,
        values[..., 2].view(np.int8) / 1.0,
    )
    fy = (lightness + 16) / 116
    xyz = [_from_f(fy + a / 500) * 0.9642, _from_f(fy), _from_f(fy - b / 200) * 0.8249]
    to_srgb = np.array(
        [
            [3.1338561, -1.6168667, -0.4906146],
            [-0.9787684, 1.9161415, 0.0334540],
            [0.0719453, -0.2289914, 1.4052427],
        ]
    )
    linear = np.clip(np.stack(xyz, -1) @ to_srgb.T, 0, 1)
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def _from_f(f: np.ndarray) -> np.ndarray:
    return np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29))


PALETTE = RNG.integers(0, 256, (256, 3), dtype=np.uint8)
SOFT_LAB = np.stack([u8() // 2 + 60, u8() % 20, u8() % 20], -1)
SMOOTH = np.stack([np.add.outer(np.arange(H) * 4, np.arange(W) * k) + 20 for k in (2, 3, 1)], -1).astype(
    np.uint8
)

# -- TIFF: pixels as tifffile reads them, → RGB -----------------------------------------------------------------------

TIFFS: dict[str, tuple[np.ndarray, dict[str, object], Callable[[np.ndarray], np.ndarray]]] = {
    "1 bit": (u8() > 127, {"photometric": "minisblack"}, lambda v: gray(v, 1)),
    "gray 8": (u8(), {"photometric": "minisblack"}, gray),
    "gray 8, 0 is white": (u8(), {"photometric": "miniswhite"}, lambda v: 255 - gray(v)),
    "gray 8, tiles": (u8(), {"photometric": "minisblack", "tile": (16, 16)}, gray),
    "gray 16": (u16(), {"photometric": "minisblack"}, lambda v: gray(v, 65535)),
    "gray 16, 0 is white": (u16(), {"photometric": "miniswhite"}, lambda v: 255 - gray(v, 65535)),
    "gray 16, signed": (u16(most=32767).astype(np.int16), {"photometric": "minisblack"}, lambda v: gray(v, 65535)),
    "gray 32, signed": (u16().astype(np.int32), {"photometric": "minisblack"}, lambda v: gray(v, 65535)),
    "float 32": (RNG.random((H, W), np.float32), {"photometric": "minisblack"}, lambda v: gray(v, 1)),
    "float 32, 0 is white": (RNG.random((H, W), np.float32), {"photometric": "miniswhite"}, lambda v: 255 - gray(v, 1)),
    "gray 8 and unused channel": (
        u8(2), {"photometric": "minisblack", "planarconfig": "contig", "extrasamples": ["unspecified"]}, lambda v: gray(v[..., 0])
    ),
    "gray 8 and alpha": (
        u8(2), {"photometric": "minisblack", "planarconfig": "contig", "extrasamples": ["unassalpha"]},
        lambda v: over_white(gray(v[..., 0]), v[..., 1]),
    ),
    "gray 8 times alpha": (
        np.sort(u8(2), axis=2), {"photometric": "minisblack", "planarconfig": "contig", "extrasamples": ["assocalpha"]},
        lambda v: gray(v[..., 0]) + 255 - v[..., 1:],
    ),
    "RGB 8": (u8(3), {"photometric": "rgb"}, lambda v: v),
    "RGB 8, planes": (u8(3).transpose(2, 0, 1), {"photometric": "rgb", "planarconfig": "separate"}, lambda v: v.transpose(1, 2, 0)),
    "RGB 8 and unused channel": (u8(4), {"photometric": "rgb", "extrasamples": ["unspecified"]}, lambda v: v[..., :3]),
    "RGB 8 and alpha": (
        u8(4), {"photometric": "rgb", "extrasamples": ["unassalpha"]}, lambda v: over_white(v[..., :3], v[..., 3])
    ),
    "RGB 8 times alpha": (
        np.sort(u8(4), axis=2), {"photometric": "rgb", "extrasamples": ["assocalpha"]}, lambda v: v[..., :3] + (255.0 - v[..., 3:])
    ),
    "RGB 16": (u16(3), {"photometric": "rgb"}, lambda v: v / 257),
    "RGB 16 and alpha": (
        u16(4), {"photometric": "rgb", "extrasamples": ["unassalpha"]}, lambda v: over_white(v[..., :3] / 257, v[..., 3] / 257)
    ),
    "palette": (
        u8(), {"photometric": "palette", "colormap": PALETTE.T.astype(np.uint16) * 257}, lambda v: PALETTE[v]
    ),
    "palette of 8 bits": (u8(), {"photometric": "palette", "colormap": PALETTE.T.astype(np.uint16)}, lambda v: PALETTE[v]),
    "CMYK 8": (u8(4), {"photometric": "separated"}, from_cmyk),
    "CMYK 16": (u16(4), {"photometric": "separated"}, lambda v: from_cmyk(v / 257)),
    "Lab 8": (SOFT_LAB, {"photometric": "cielab"}, from_lab),
}  # fmt: skip


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("name", TIFFS)
def test_tiff_is_read_as_tifffile_reads_it(name, order, compression):
    values, options, to_rgb = TIFFS[name]
    data = written(values, order, compression, **options)
    expected = to_rgb(tifffile.imread(io.BytesIO(data)))
    np.testing.assert_allclose(read_image(data), expected, atol=2)


@pytest.mark.parametrize("name", ["gray 8", "gray 16", "gray 16, 0 is white", "RGB 8", "float 32"])
def test_big_tiff_is_read_like_tiff(name):
    values, options, to_rgb = TIFFS[name]
    np.testing.assert_allclose(read_image(written(values, bigtiff=True, **options)), to_rgb(values), atol=2)


@pytest.mark.parametrize("white", [False, True])
@pytest.mark.parametrize("is_compressed", [False, True])
def test_packed_12_bits_have_a_scale_of_their_own(white, is_compressed):
    values = u16(most=4095)
    content = packed_12_bits(values)
    content = zlib.compress(content) if is_compressed else content
    data = tiff(content, (W, H), 12, photometric=0 if white else 1, t259=8 if is_compressed else 1)
    expected = gray(4095 - values if white else values, 4095)
    np.testing.assert_allclose(read_image(data), expected, atol=1)


def test_wide_integers_of_tiff_count_as_16_bits():
    values = u16().astype(np.uint32)
    np.testing.assert_allclose(
        read_image(written(values, photometric="minisblack")), gray(values, 65535), atol=1
    )


def test_ycbcr_tiff():
    data = saved(Image.fromarray(SMOOTH).convert("YCbCr"), "TIFF")
    np.testing.assert_allclose(read_image(data), from_ycbcr(tifffile.imread(io.BytesIO(data))), atol=2)
    compressed = saved(Image.fromarray(SMOOTH), "TIFF", compression="jpeg", quality=95)
    np.testing.assert_allclose(read_image(compressed), SMOOTH, atol=8)


def test_planes_of_16_bits_are_read_where_they_are_compressed():
    values = u16(3)
    data = written(values.transpose(2, 0, 1), "<", "zlib", photometric="rgb", planarconfig="separate")
    np.testing.assert_allclose(read_image(data), values / 257, atol=1)


REFUSED_TIFFS = {
    "8 bits, signed": (RNG.integers(-9, 9, (H, W)).astype(np.int8), {"photometric": "minisblack"}),
    "16 bits, signed, 0 is white": (u16(most=99).astype(np.int16), {"photometric": "miniswhite"}),
    "float 16": (RNG.random((H, W)).astype(np.float16), {"photometric": "minisblack"}),
    "float 64": (RNG.random((H, W)), {"photometric": "minisblack"}),
    "RGB of floats": (RNG.random((H, W, 3), np.float32), {"photometric": "rgb"}),
    "planes of 16 bits": (u16(3).transpose(2, 0, 1), {"photometric": "rgb", "planarconfig": "separate"}),
    "planes of gray and alpha": (
        u8(2).transpose(2, 0, 1), {"photometric": "minisblack", "planarconfig": "separate", "extrasamples": ["unassalpha"]}
    ),
    "gray and alpha of 16 bits": (
        u16(2), {"photometric": "minisblack", "planarconfig": "contig", "extrasamples": ["unassalpha"]}
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED_TIFFS)
def test_a_tiff_that_would_come_out_wrong_is_refused_with_its_kind(name):
    values, options = REFUSED_TIFFS[name]
    with pytest.raises(
        ImageError, match=r"a TIFF .*is not supported \(.* bits.*\); save it as 8 or 16-bit gray or RGB"
    ):
        read_image(written(values, **options))


def test_rare_layouts_of_tiff_are_refused_too():
    values = tiff(bytes(W * H * 3), (W, H), 10, photometric=1)
    with pytest.raises(ImageError, match=r"MinIsBlack, 1 x 10 bits"):
        read_image(values)
    subsampled = tiff(bytes(W * H * 3), (W, H), 8, photometric=6, t277=3)
    with pytest.raises(ImageError, match="uncompressed subsampled YCbCr"):
        read_image(subsampled)


# -- PNG: (values, bits, colours, further chunks) → RGB ---------------------------------------------------------------


def plte(size: int = 256) -> tuple[bytes, bytes]:
    return b"PLTE", PALETTE[:size].tobytes()


def trns(*values: int) -> tuple[bytes, bytes]:
    return b"tRNS", struct.pack(f">{len(values)}H", *values)


FEW = {bits: u8() >> (8 - bits) for bits in (1, 2, 4)}
GRAY, GRAY_16, RGB, RGB_16 = u8(), u16(), u8(3), u16(3)
INDICES = u8()
SOFT = bytes(range(256))
EXIF = b"MM\0*" + struct.pack(
    ">IHHHIHHI", 8, 1, 0x0112, 3, 1, 6, 0, 0
)  # the upright one was turned to the left

PNGS: dict[str, tuple[bytes, np.ndarray]] = {
    **{f"gray {bits}": (png(v, bits, "gray"), gray(v, 2**bits - 1)) for bits, v in FEW.items()},
    **{
        f"gray {bits}, one value transparent": (
            png(v, bits, "gray", [trns(1)]), np.where((v == 1)[..., None], 255, gray(v, 2**bits - 1))
        )
        for bits, v in FEW.items()
    },
    "gray 8": (png(GRAY, 8, "gray"), gray(GRAY)),
    "gray 8, one value transparent": (
        png(GRAY, 8, "gray", [trns(int(GRAY[0, 0]))]), np.where((GRAY[0, 0] == GRAY)[..., None], 255, gray(GRAY))
    ),
    "gray 16": (png(GRAY_16, 16, "gray"), gray(GRAY_16, 65535)),
    "gray 16, one value transparent": (
        png(GRAY_16, 16, "gray", [trns(int(GRAY_16[0, 0]))]),
        np.where((GRAY_16[0, 0] == GRAY_16)[..., None], 255, gray(GRAY_16, 65535)),
    ),
    "gray 8 and alpha": (png(RGB[..., :2], 8, "gray+alpha"), over_white(gray(RGB[..., 0]), RGB[..., 1])),
    "gray 16 and alpha": (
        png(RGB_16[..., :2], 16, "gray+alpha"), over_white(gray(RGB_16[..., 0], 65535), RGB_16[..., 1] / 257)
    ),
    "RGB 8": (png(RGB, 8, "rgb"), RGB),
    "RGB 8, one colour transparent": (
        png(RGB, 8, "rgb", [trns(*map(int, RGB[0, 0]))]), np.where((RGB[0, 0] == RGB).all(-1)[..., None], 255, RGB)
    ),
    "RGB 16": (png(RGB_16, 16, "rgb"), RGB_16 / 257),
    "RGB 16, one colour transparent": (
        png(RGB_16, 16, "rgb", [trns(*map(int, RGB_16[0, 0]))]),
        np.where((RGB_16[0, 0] == RGB_16).all(-1)[..., None], 255, RGB_16 / 257),
    ),
    "RGBA 8": (png(np.dstack([RGB, GRAY]), 8, "rgba"), over_white(RGB, GRAY)),
    "RGBA 16": (png(np.dstack([RGB_16, GRAY_16]), 16, "rgba"), over_white(RGB_16 / 257, GRAY_16 / 257)),
    "palette 8": (png(INDICES, 8, "palette", [plte()]), PALETTE[INDICES]),
    "palette 4": (png(FEW[4], 4, "palette", [plte(16)]), PALETTE[FEW[4]]),
    "palette 1": (png(FEW[1], 1, "palette", [plte(2)]), PALETTE[FEW[1]]),
    "palette, one entry transparent": (
        png(INDICES, 8, "palette", [plte(), (b"tRNS", b"\xff\0")]), np.where((INDICES == 1)[..., None], 255, PALETTE[INDICES])
    ),
    "palette, soft": (png(INDICES, 8, "palette", [plte(), (b"tRNS", SOFT)]), over_white(PALETTE[INDICES], INDICES)),
    "gamma is ignored": (png(RGB, 8, "rgb", [(b"gAMA", struct.pack(">I", 100000))]), RGB),
    "EXIF turns": (png(RGB, 8, "rgb", [(b"eXIf", EXIF)]), np.rot90(RGB, -1)),
}  # fmt: skip


@pytest.mark.parametrize("name", PNGS)
def test_png_is_read_by_the_rules_of_its_standard(name):
    data, expected = PNGS[name]
    np.testing.assert_allclose(read_image(data), expected, atol=2)


# -- BMP, JPEG, WebP --------------------------------------------------------------------------------------------------

BGRA = np.dstack([RGB[..., ::-1], GRAY])
R_G_B_A = (0xFF0000, 0xFF00, 0xFF, 0xFF000000)
RGB_555 = RNG.integers(0, 32, (H, W, 3))
WORDS_555 = (RGB_555 << [10, 5, 0]).sum(-1).astype("<u2")
BMPS = {
    "RGB 8": (bmp(RGB[..., ::-1], 24), RGB),
    "RGB 8 and unused byte": (bmp(BGRA, 32), RGB),
    "RGB 8 and unused byte, by masks": (bmp(BGRA, 32, 3, (*R_G_B_A[:3], 0)), RGB),
    "RGBA 8": (bmp(BGRA, 32, 3, R_G_B_A), over_white(RGB, GRAY)),
    "RGB 5": (bmp(WORDS_555[..., None].view(np.uint8).reshape(H, W, 2), 16), RGB_555 * 255 / 31),
    "gray 8": (saved(Image.fromarray(GRAY), "BMP"), gray(GRAY)),
    "palette": (saved(Image.fromarray(GRAY).convert("P"), "BMP"), gray(GRAY)),
    "1 bit": (saved(Image.fromarray(GRAY > 127), "BMP"), gray(GRAY > 127, 1)),
}


@pytest.mark.parametrize("name", BMPS)
def test_bmp_is_read_by_its_header(name):
    data, expected = BMPS[name]
    np.testing.assert_allclose(read_image(data), expected, atol=4 if name == "RGB 5" else 1)


def test_jpeg_in_gray_colour_and_cmyk():
    image = Image.fromarray(SMOOTH)
    np.testing.assert_allclose(read_image(saved(image, "JPEG", quality=95)), SMOOTH, atol=8)
    np.testing.assert_allclose(
        read_image(saved(image.convert("L"), "JPEG", quality=95)),
        gray(np.asarray(image.convert("L"))),
        atol=4,
    )
    inks = np.dstack([255 - SMOOTH, np.full((H, W), 30, np.uint8)])
    data = saved(Image.fromarray(inks, "CMYK"), "JPEG", quality=98)
    np.testing.assert_allclose(read_image(data), from_cmyk(inks), atol=10)


def test_a_cmyk_jpeg_that_does_not_say_whether_it_is_inverted_is_refused():
    data = saved(Image.fromarray(u8(4), "CMYK"), "JPEG")
    unmarked = re.sub(rb"\xff\xee\x00\x0eAdobe.{7}", b"", data, count=1, flags=re.DOTALL)
    assert len(unmarked) < len(data)
    with pytest.raises(ImageError, match="CMYK JPEG without Adobe's marker"):
        read_image(unmarked)


def test_webp_with_and_without_alpha():
    np.testing.assert_array_equal(read_image(saved(Image.fromarray(RGB), "WEBP", lossless=True)), RGB)
    rgba = np.dstack([RGB, GRAY])
    data = saved(Image.fromarray(rgba), "WEBP", lossless=True, exact=True)
    np.testing.assert_allclose(read_image(data), over_white(RGB, GRAY), atol=1)


# -- alpha that hides everything: the colours as they are ---------------------------------------------------------------

CLEAR = np.zeros((H, W), np.uint8)
NO_ALPHA = {
    "BMP": (bmp(np.dstack([RGB[..., ::-1], CLEAR]), 32, 3, R_G_B_A), RGB),
    "PNG": (png(np.dstack([RGB, CLEAR]), 8, "rgba"), RGB),
    "PNG 16": (png(np.dstack([RGB_16, CLEAR]), 16, "rgba"), RGB_16 / 257),
    "PNG gray": (png(np.dstack([GRAY, CLEAR]), 8, "gray+alpha"), gray(GRAY)),
    "PNG gray 16": (png(np.dstack([GRAY_16, CLEAR]), 16, "gray+alpha"), gray(GRAY_16, 65535)),
    "PNG palette": (png(INDICES, 8, "palette", [plte(), (b"tRNS", bytes(256))]), PALETTE[INDICES]),
    "PNG, its only value": (png(GRAY * 0 + 9, 8, "gray", [trns(9)]), gray(GRAY * 0 + 9)),
    "PNG 16, its only value": (png(GRAY_16 * 0 + 9000, 16, "gray", [trns(9000)]), gray(GRAY_16 * 0 + 9000, 65535)),
    "PNG 16, its only colour": (png(RGB_16 * 0 + 9000, 16, "rgb", [trns(9000, 9000, 9000)]), (RGB_16 * 0 + 9000) / 257),
    "TIFF": (written(np.dstack([RGB, CLEAR]), photometric="rgb", extrasamples=["unassalpha"]), RGB),
    "TIFF, times alpha": (written(np.dstack([RGB, CLEAR]), photometric="rgb", extrasamples=["assocalpha"]), RGB),
    "TIFF, times alpha, compressed": (
        written(np.dstack([RGB, CLEAR]), ">", "zlib", photometric="rgb", extrasamples=["assocalpha"]), RGB
    ),
    "TIFF gray, times alpha": (
        written(np.dstack([GRAY, CLEAR]), photometric="minisblack", planarconfig="contig", extrasamples=["assocalpha"]), gray(GRAY)
    ),
    "WebP": (saved(Image.fromarray(np.dstack([RGB, CLEAR])), "WEBP", lossless=True, exact=True), RGB),
}  # fmt: skip


@pytest.mark.parametrize("name", NO_ALPHA)
def test_an_image_that_is_transparent_everywhere_has_its_colours_as_they_are(name):
    data, expected = NO_ALPHA[name]
    np.testing.assert_allclose(read_image(data), expected, atol=1)


def test_alpha_0_everywhere_of_16_bit_colours_times_alpha_is_refused():
    data = written(
        np.dstack([RGB_16, CLEAR.astype(np.uint16)]), photometric="rgb", extrasamples=["assocalpha"]
    )
    with pytest.raises(ImageError, match="alpha is 0 in the whole image"):
        read_image(data)


# -- data.bit_depth ----------------------------------------------------------------------------------------------------

DEEP, DEEP_RGB = u16(most=4095), u16(3, most=4095)
TWELVE_BITS = {
    "PNG gray": (png(DEEP, 16, "gray"), gray(DEEP, 4095)),
    "PNG RGB": (png(DEEP_RGB, 16, "rgb"), DEEP_RGB / 4095 * 255),
    "TIFF gray": (written(DEEP, photometric="minisblack"), gray(DEEP, 4095)),
    "TIFF gray, big-endian": (written(DEEP, ">", "zlib", photometric="minisblack"), gray(DEEP, 4095)),
    "TIFF gray, 0 is white": (written(DEEP, photometric="miniswhite"), 255 - gray(DEEP, 4095)),
    "TIFF RGB": (written(DEEP_RGB, photometric="rgb"), DEEP_RGB / 4095 * 255),
    "TIFF RGB, big-endian": (written(DEEP_RGB, ">", photometric="rgb"), DEEP_RGB / 4095 * 255),
    "TIFF RGB, compressed": (written(DEEP_RGB, "<", "zlib", photometric="rgb"), DEEP_RGB / 4095 * 255),
    "TIFF RGB, compressed, big-endian": (
        written(DEEP_RGB, ">", "zlib", photometric="rgb"),
        DEEP_RGB / 4095 * 255,
    ),
    "TIFF packed": (tiff(packed_12_bits(DEEP), (W, H), 12, photometric=1), gray(DEEP, 4095)),
    "PNG of 8 bits": (png(GRAY, 8, "gray"), gray(GRAY)),
}


@pytest.mark.parametrize("name", TWELVE_BITS)
def test_a_bit_depth_scales_16_bit_values_only(name):
    data, expected = TWELVE_BITS[name]
    np.testing.assert_allclose(read_image(data, bit_depth=12), expected, atol=1)


@pytest.mark.parametrize("values", [u16(), u16(3)])
def test_values_above_the_bit_depth_are_refused(values):
    values[-1, -1] = 4096
    data = png(values, 16, "gray" if values.ndim == 2 else "rgb")
    with pytest.raises(
        ImageError, match=r"expected values from 0 to 4095 \(data.bit_depth: 12\), received \d+ to \d+"
    ):
        read_image(data, bit_depth=12)


def test_16_bit_colours_with_alpha_have_no_bit_depth():
    for values, colours in ((u16(4), "rgba"), (u16(2), "gray+alpha")):
        with pytest.raises(ImageError, match=r"cannot be read with data.bit_depth; save it as gray or RGB"):
            read_image(png(values, 16, colours), bit_depth=12)


# -- limits ----------------------------------------------------------------------------------------------------------


def test_the_limit_of_pillow_stays_and_does_not_count_here(monkeypatch):
    assert Image.MAX_IMAGE_PIXELS == 1024 * 1024 * 1024 // 4 // 3
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    monkeypatch.setattr("defect_detection.data.upright.STRIP_PIXELS", 100)
    for data in (
        saved(Image.fromarray(RGB), "JPEG"), png(RGB, 8, "rgb"), written(RGB, photometric="rgb"), written(GRAY_16, "<", "zlib"),
        bmp(RGB[..., ::-1], 24), png(RGB, 8, "rgb", [(b"eXIf", EXIF)]),
    ):  # fmt: skip
        assert read_image(data).size == RGB.size
        assert read_image(data, (8, 8)).shape == (8, 8, 3)
    with pytest.raises(Image.DecompressionBombError):
        Image.open(io.BytesIO(png(RGB, 8, "rgb")))


def test_the_table_of_the_documentation_has_a_row_for_what_is_tested_here():
    text = Path(__file__).parents[2].joinpath("docs/images.md").read_text(encoding="utf-8")
    for word in ("MinIsWhite", "Lab", "CMYK", "palette", "BigTIFF", "bit_depth", "gAMA", "EXIF", "alpha"):
        assert word in text
