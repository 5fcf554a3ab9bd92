"""Decode and resize images: the one way in, shared by training, command line and HTTP.

What comes out depends on the bytes and the size alone, never on other images nor on the image's own brightest
pixel: two parts under the same light look the same to the model.
"""

from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from defect_detection.data.formats import FORMATS
from defect_detection.errors import ImageError

DECODER_VERSION = 1  # part of every cache key: raise it when pixels change
MAX_PIXELS = 100_000_000
STRIP_PIXELS = (
    1_000_000  # of a large image that are turned and converted at a time: that takes up to 16 bytes each
)

_FORMATS = tuple(one.name.upper() for one in FORMATS)
_SIXTEEN_BIT_MODES = frozenset({"I;16", "I;16L", "I;16B", "I;16N", "I"})
_WHITE = (255, 255, 255, 255)
_FLOAT_TOLERANCE = 0.01  # values that interpolation pushes just out of [0, 1]
_TURNS = {  # what makes an image upright, by its EXIF orientation
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS = (5, 6, 7, 8)  # orientations where columns become rows
_BACKWARDS = (3, 4, 7, 8)  # where the last row, or column, becomes the first row

# Pillow's own limit warns or fails at fixed sizes; `read_image` checks `max_pixels` instead.
Image.MAX_IMAGE_PIXELS = None


def read_image(
    source: Path | bytes, size: tuple[int, int] | None = None, max_pixels: int = MAX_PIXELS
) -> np.ndarray:
    """Decode one image to 8-bit RGB, upright, at the given size.

    - EXIF orientation is applied; of several frames or pages the first is taken.
    - 16-bit gray is divided by 257, so that 65535 becomes 255. Integers of 32 bits count as 16-bit values.
    - Float gray holds values in [0, 1].
    - Transparent pixels are blended with white.
    - Gray, palette, 1-bit, CMYK and YCbCr become RGB.

    Args:
        source: a file, or the bytes of one, in JPEG, PNG, BMP, TIFF or WebP format.
        size: (height, width) to stretch to, bilinear with antialiasing; None keeps the size.
        max_pixels: width * height above which nothing is decoded.

    Returns:
        uint8 array of shape (height, width, 3), RGB.

    Raises:
        ImageError: no such file, another format, truncated or damaged, too large, or values out of range.
            Names the file.
    """
    name = f"image of {len(source)} bytes" if isinstance(source, bytes) else str(source)
    try:
        with Image.open(BytesIO(source) if isinstance(source, bytes) else source, formats=_FORMATS) as image:
            _check_size(image, max_pixels)
            return _to_rgb_array(image, size)
    except ImageError as error:
        raise ImageError(f"{name}: {error}") from None
    except Exception as error:  # decoders raise nearly anything on damaged input
        raise ImageError(f"{name}: {_reason(error)}") from error


def read_size(source: bytes) -> tuple[int, int]:
    """Return (width, height) in pixels of an encoded image, as its header tells; nothing is decoded.

    Raises:
        ImageError: another format, or a damaged header.
    """
    try:
        with Image.open(BytesIO(source), formats=_FORMATS) as image:
            return image.size
    except Exception as error:  # as in `read_image`
        raise ImageError(_reason(error)) from error


def _check_size(image: Image.Image, max_pixels: int) -> None:
    pixels = image.width * image.height
    if pixels > max_pixels:
        raise ImageError(
            f"expected at most {max_pixels} pixels (data.max_pixels), received {image.width} x {image.height}"
        )


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "expected a JPEG, PNG, BMP, TIFF or WebP image, received something else or a damaged file"
    if isinstance(error, OSError) and error.strerror:
        return f"can't be read ({error.strerror})"
    return f"can't be decoded, the file is damaged or of a rare kind ({error or type(error).__name__})"


def _to_rgb_array(image: Image.Image, size: tuple[int, int] | None) -> np.ndarray:
    if size is not None:
        _decode_at_reduced_scale(image, size)
    narrow = _upright(image)
    if size is not None:
        narrow = narrow.resize((size[1], size[0]), Image.Resampling.BILINEAR)
    return np.array(_in_mode("RGB", narrow))  # (height, width, 3), a writable copy


def _upright(image: Image.Image) -> Image.Image:
    """Return the image upright, gray or RGB, of 8 bits per channel.

    A large one is turned and converted strip by strip, so that all that it takes beside its own pixels are those returned.
    Only stretching needs it as a whole: Pillow chooses which side comes first, and rounds between the two.
    """
    image.load()
    orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    width, height = image.size[::-1] if orientation in _SIDEWAYS else image.size
    rows = max(1, STRIP_PIXELS // width)
    if rows >= height or (orientation not in _TURNS and _is_8_bit(image)):
        return _to_8_bit(_turned(image, orientation))
    whole: Image.Image | None = None
    for top in range(0, height, rows):
        strip = image.crop(_box(image, orientation, top, min(top + rows, height)))
        narrow = _to_8_bit(_turned(strip, orientation))
        whole = Image.new(narrow.mode, (width, height)) if whole is None else whole
        whole.paste(narrow, (0, top))
    assert whole is not None
    return whole


def _box(image: Image.Image, orientation: int, top: int, bottom: int) -> tuple[int, int, int, int]:
    """Return (left, upper, right, lower), in the image as it is stored, of rows of the upright one."""
    sideways = orientation in _SIDEWAYS
    if orientation in _BACKWARDS:
        length = image.width if sideways else image.height
        top, bottom = length - bottom, length - top
    return (top, 0, bottom, image.height) if sideways else (0, top, image.width, bottom)


def _turned(image: Image.Image, orientation: int) -> Image.Image:
    return image.transpose(_TURNS[orientation]) if orientation in _TURNS else image


def _decode_at_reduced_scale(image: Image.Image, size: tuple[int, int]) -> None:
    """Let a large JPEG skip detail finer than half a pixel of the result: 1.4 to 2 times faster, and no verdict changes."""
    longest = 2 * max(size)  # of both sides, because the image may yet be turned
    image.draft(None, (longest, longest))


def _to_8_bit(image: Image.Image) -> Image.Image:
    """Return a gray or RGB image of 8 bits per channel. Gray stays gray: three times cheaper to resize."""
    if image.mode in _SIXTEEN_BIT_MODES:
        return _from_16_bit(np.asarray(image))
    if image.mode == "F":
        return _from_float(np.asarray(image))
    if image.has_transparency_data:
        backdrop = Image.new("RGBA", image.size, _WHITE)
        return Image.alpha_composite(backdrop, image.convert("RGBA")).convert("RGB")
    return _in_mode("L" if image.mode in ("1", "L") else "RGB", image)


def _is_8_bit(image: Image.Image) -> bool:
    """Say whether nothing has to be converted."""
    return image.mode in ("L", "RGB") and not image.has_transparency_data


def _in_mode(mode: str, image: Image.Image) -> Image.Image:
    """Return the image itself where it has the mode: converting would copy, 400 MB of 100 million pixels."""
    return image if image.mode == mode else image.convert(mode)


def _from_16_bit(values: np.ndarray) -> Image.Image:
    if values.min() < 0 or values.max() > 65535:
        raise ImageError(f"expected values from 0 to 65535, received {values.min()} to {values.max()}")
    return Image.fromarray((values // 257).astype(np.uint8))


def _from_float(values: np.ndarray) -> Image.Image:
    low, high = float(values.min()), float(values.max())
    if not (low >= -_FLOAT_TOLERANCE and high <= 1 + _FLOAT_TOLERANCE):  # NaN fails this too
        raise ImageError(f"expected float values from 0 to 1, received {low:g} to {high:g}")
    return Image.fromarray(np.rint(values.clip(0, 1) * 255).astype(np.uint8))
