"""Decode and resize images: the one way in, shared by training, command line and HTTP.

What comes out depends on the bytes, the size and the settings alone, never on other images nor on the image's own brightest
pixel: two parts under the same light look the same to the model. `docs/images.md` lists what is supported.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from PIL import ExifTags, Image
from PIL.ImageFile import ImageFile

from defect_detection.data import levels
from defect_detection.data.decoders import check_colours, open_image, pages_of
from defect_detection.data.levels import Levels, in_mode, is_8_bit, levels_of, to_8_bit
from defect_detection.errors import ImageError
from defect_detection.text import printable

DECODER_VERSION = 2  # part of every cache key: raise it when pixels change
MAX_PIXELS = 100_000_000
STRIP_PIXELS = (
    1_000_000  # of a large image that are turned and converted at a time: that takes up to 16 bytes each
)

Pages = Literal["refuse", "first", "all"]

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


class Header(NamedTuple):
    """What an image's header says of its first page, upright. holds_16_bits: a camera may use fewer bits of them.

    pages: how many there are.
    """

    width: int
    height: int
    holds_16_bits: bool
    pages: int


class Page(NamedTuple):
    """A decoded page. pixels: uint8 array of shape (height, width, 3), RGB; size: (width, height) of the file's own, upright."""

    pixels: np.ndarray
    size: tuple[int, int]


def read_image(
    source: Path | bytes,
    size: tuple[int, int] | None = None,
    max_pixels: int = MAX_PIXELS,
    *,
    pages: Pages = "refuse",
    bit_depth: int | None = None,
) -> np.ndarray:
    """Decode one image to 8-bit RGB, upright, at the given size.

    - EXIF orientation is applied.
    - 16-bit gray is divided by 257, so that 65535 becomes 255. Integers of 32 bits count as 16-bit values.
    - Float gray holds values in [0, 1].
    - Transparent pixels are blended with white. An image that is transparent everywhere has its colours as they are.
    - Gray, palette, 1-bit, CMYK, Lab and YCbCr become RGB.

    Args:
        source: a file, or the bytes of one, in JPEG, PNG, BMP, TIFF or WebP format.
        size: (height, width) to stretch to, bilinear with antialiasing; None keeps the size.
        max_pixels: width * height above which nothing is decoded.
        pages: what to do with a file of several pages: take the first, or refuse it. With "all" it is refused too, since
            one image is asked for.
        bit_depth: bits that 16-bit values use, 8 to 16; None for all 16.

    Returns:
        uint8 array of shape (height, width, 3), RGB.

    Raises:
        ImageError: no such file, another format, truncated or damaged, too large, several pages, or values out of range.
            Names the file.
    """
    return next(_read(source, size, max_pixels, bit_depth, partial(_one, pages=pages))).pixels


def read_pages(
    source: Path | bytes,
    size: tuple[int, int] | None = None,
    max_pixels: int = MAX_PIXELS,
    *,
    pages: Pages = "refuse",
    bit_depth: int | None = None,
) -> Iterator[Page]:
    """Decode one page of an image file after the other: every one with "all", else the one that `read_image` returns.

    Arguments as for `read_image`. `max_pixels` holds for all pages together.
    """
    choose = list if pages == "all" else partial(_one, pages=pages)
    return _read(source, size, max_pixels, bit_depth, choose)


def read_header(source: Path | bytes) -> Header:
    """Read the header of an image, at its first page; nothing is decoded.

    Raises:
        ImageError: another format, or a damaged header.
    """
    with _named(""), _opened(source) as image:
        pages = len(pages_of(image))
        # Asked for EXIF data that its head does not hold, a PNG decodes everything.
        may_turn = image.format != "PNG" or "exif" in image.info
        size = _upright_size(image, image.size) if may_turn else image.size
        return Header(*size, levels.holds_16_bits(image), pages)


def largest_value(path: Path) -> int:
    """Decode an image that holds 16 bits, at its first page, and return the largest value in it.

    Raises:
        ImageError: as for `read_image`.
    """
    with _named(f"{path}: "), _opened(path) as image:
        pages_of(image)
        image.load()
        return levels.largest_value(image)


def _read(
    source: Path | bytes,
    size: tuple[int, int] | None,
    max_pixels: int,
    bit_depth: int | None,
    choose: Callable[[list[int]], list[int]],
) -> Iterator[Page]:
    left = max_pixels
    name = f"image of {len(source)} bytes: " if isinstance(source, bytes) else f"{printable(source)}: "
    with _named(name), _opened(source) as image:
        for frame in choose(pages_of(image)):
            if frame != image.tell():
                image.seek(frame)
            check_colours(image)
            left -= image.width * image.height
            if left < 0:
                raise ImageError(_too_large(image, frame, max_pixels))
            own = image.size  # a large JPEG is decoded at a reduced scale
            pixels = _to_rgb_array(image, source, size, levels_of(image, bit_depth))
            yield Page(pixels, _upright_size(image, own))


@contextmanager
def _opened(source: Path | bytes) -> Iterator[ImageFile]:
    with (
        BytesIO(source) if isinstance(source, bytes) else source.open("rb") as file,
        open_image(file) as image,
    ):
        yield image


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Put the image's name in front of whatever goes wrong in the block."""
    try:
        yield
    except ImageError as error:
        raise ImageError(f"{name}{error}") from None
    except Exception as error:  # decoders raise nearly anything on damaged input
        raise ImageError(f"{name}{_reason(error)}") from error


def _one(frames: list[int], pages: Pages) -> list[int]:
    if len(frames) == 1 or pages == "first":
        return frames[:1]
    if pages == "all":
        raise ImageError(
            f"{len(frames)} pages; a label belongs to one picture, so data.pages: all serves inspection only. Save each page as "
            "a file, with one group for those of a part"
        )
    raise ImageError(
        f"{len(frames)} pages; data.pages says refuse. Save each page as a file, or set data.pages to all (each is judged, the "
        "worst decides) or first"
    )


def _too_large(image: ImageFile, frame: int, max_pixels: int) -> str:
    of_all = f" as page {frame + 1} after other pages" if frame else ""
    return f"expected at most {max_pixels} pixels (data.max_pixels), received {image.width} x {image.height}{of_all}"


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"cannot be read ({error.strerror})"
    return f"can't be decoded, the file is damaged or of a rare kind ({error or type(error).__name__})"


def _to_rgb_array(
    image: ImageFile, source: Path | bytes, size: tuple[int, int] | None, meaning: Levels
) -> np.ndarray:
    if size is not None:
        _decode_at_reduced_scale(image, size)
    low = _low_bytes(image, source) if levels.needs_low_bytes(image, meaning) else None
    narrow = _upright(image, meaning, low)
    if size is not None:
        narrow = narrow.resize((size[1], size[0]), Image.Resampling.BILINEAR)
    return np.array(in_mode("RGB", narrow))  # (height, width, 3), a writable copy


def _upright_size(image: ImageFile, own: tuple[int, int]) -> tuple[int, int]:
    """Return (width, height) of an image when it is upright; that of a TIFF is already."""
    is_turned = image.format != "TIFF" and image.getexif().get(ExifTags.Base.Orientation, 1) in _SIDEWAYS
    return own[::-1] if is_turned else own


def _low_bytes(image: ImageFile, source: Path | bytes) -> Image.Image:
    with _opened(source) as other:
        if image.tell() != other.tell():
            other.seek(image.tell())
        levels.swap_bytes(other)
        other.load()
        return other


def _upright(image: ImageFile, meaning: Levels, low: Image.Image | None) -> Image.Image:
    """Return the image upright, gray or RGB, of 8 bits per channel.

    A large one is turned and converted strip by strip, so that all that it takes beside its own pixels are those returned.
    Only stretching needs it as a whole: Pillow chooses which side comes first, and rounds between the two.

    Args:
        low: the low bytes of an image of 16-bit colours, whose high bytes are `image`.
    """
    image.load()
    orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    if low is not None:
        return _turned(levels.joined(np.asarray(image), np.asarray(low), meaning), orientation)
    stored, meaning = _with_colours(image, meaning)
    width, height = stored.size[::-1] if orientation in _SIDEWAYS else stored.size
    rows = max(1, STRIP_PIXELS // width)
    if rows >= height or (orientation not in _TURNS and is_8_bit(stored)):
        return _turned(to_8_bit(stored, meaning), orientation)
    whole: Image.Image | None = None
    for top in range(0, height, rows):
        strip = _cropped(stored, _box(stored, orientation, top, min(top + rows, height)))
        narrow = _turned(to_8_bit(strip, meaning), orientation)
        whole = Image.new(narrow.mode, (width, height)) if whole is None else whole
        whole.paste(narrow, (0, top))
    assert whole is not None
    return whole


def _with_colours(image: Image.Image, meaning: Levels) -> tuple[Image.Image, Levels]:
    """Ignore transparency that hides the whole image: cameras write 0 into an alpha that they don't use."""
    if not image.has_transparency_data:
        return image, meaning
    rows = max(1, STRIP_PIXELS // image.width)
    boxes = ((0, top, image.width, min(top + rows, image.height)) for top in range(0, image.height, rows))
    if not all(levels.is_empty(_cropped(image, box), meaning) for box in boxes):
        return image, meaning
    return levels.without_alpha(image, meaning)


def _cropped(image: Image.Image, box: tuple[int, int, int, int]) -> Image.Image:
    """Cut out a part without asking for Pillow's limit of pixels, which holds for the whole process."""
    return image._new(image.im.crop(box))


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
