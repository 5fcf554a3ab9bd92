"""Apply the EXIF orientation and convert to 8 bits, in strips for large images to save memory."""

from collections.abc import Iterator

import numpy as np
from PIL import ExifTags, Image
from PIL.ImageFile import ImageFile

from defect_detection.data import levels
from defect_detection.data.levels import Levels, in_mode, is_8_bit, to_8_bit

STRIP_PIXELS = (
    1_000_000  # of a large image that are turned and converted at a time: that takes up to 16 bytes each
)

Size = tuple[int, int]  # width, height
Strips = Iterator[tuple[int, Image.Image]]  # the row at which each begins, and the strip

_TURNS = {  # the transformation to upright, by EXIF orientation
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
SIDEWAYS = (5, 6, 7, 8)  # orientations where columns become rows
_BACKWARDS = (3, 4, 7, 8)  # where the last row, or column, becomes the first row


def upright_strips(image: ImageFile, meaning: Levels, low: Image.Image | None) -> tuple[Size, Strips]:
    """Return the size of the image when it is upright, and the image in strips, gray or RGB, of 8 bits per channel.

    A large image is rotated and converted in strips, so it needs little memory besides its input and output.
    Only resizing needs the whole image, because Pillow resizes one side first and rounds in between.

    Args:
        low: the low bytes of an image of 16-bit colours, whose high bytes are `image`.
    """
    image.load()
    orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    if low is not None:
        joined = _turned(levels.joined(np.asarray(image), np.asarray(low), meaning), orientation)
        return joined.size, iter([(0, joined)])
    stored, meaning = _with_colours(image, meaning)
    width, height = stored.size[::-1] if orientation in SIDEWAYS else stored.size
    rows = max(1, STRIP_PIXELS // width)
    if rows >= height or (orientation not in _TURNS and is_8_bit(stored)):
        return (width, height), iter([(0, _turned(to_8_bit(stored, meaning), orientation))])
    return (width, height), _strips_of(stored, meaning, orientation, (width, height))


def _strips_of(stored: Image.Image, meaning: Levels, orientation: int, size: Size) -> Strips:
    width, height = size
    rows = max(1, STRIP_PIXELS // width)
    for top in range(0, height, rows):
        strip = cropped(stored, _box(stored, orientation, top, min(top + rows, height)))
        yield top, _turned(to_8_bit(strip, meaning), orientation)


def whole_of(size: Size, strips: Strips) -> Image.Image:
    """Put strips together as one image."""
    _, first = next(strips)
    if first.size == size:
        return first
    whole = Image.new(first.mode, size)
    whole.paste(first, (0, 0))
    for top, strip in strips:
        whole.paste(strip, (0, top))
    return whole


def array_of(size: Size, strips: Strips) -> np.ndarray:
    """Put strips together as uint8 pixels of shape (height, width, 3), RGB."""
    pixels = np.empty((*size[::-1], 3), np.uint8)
    for top, strip in strips:
        rows = _rows_of(strip)
        for start in range(0, strip.height, rows):
            end = min(start + rows, strip.height)
            part = cropped(strip, (0, start, strip.width, end))
            pixels[top + start : top + end] = np.asarray(in_mode("RGB", part))
    return pixels


def _rows_of(image: Image.Image) -> int:
    return max(1, STRIP_PIXELS // image.width)


def _with_colours(image: Image.Image, meaning: Levels) -> tuple[Image.Image, Levels]:
    """Ignore an alpha channel that is 0 everywhere, because some cameras write 0 into an unused alpha."""
    if not image.has_transparency_data:
        return image, meaning
    rows = _rows_of(image)
    boxes = ((0, top, image.width, min(top + rows, image.height)) for top in range(0, image.height, rows))
    if not all(levels.is_empty(cropped(image, box), meaning) for box in boxes):
        return image, meaning
    return levels.without_alpha(image, meaning)


def cropped(image: Image.Image, box: tuple[int, int, int, int]) -> Image.Image:
    """Crop without Pillow's global pixel limit."""
    return image._new(image.im.crop(box))


def _box(image: Image.Image, orientation: int, top: int, bottom: int) -> tuple[int, int, int, int]:
    """Return (left, upper, right, lower), in the image as it is stored, of rows of the upright one."""
    sideways = orientation in SIDEWAYS
    if orientation in _BACKWARDS:
        length = image.width if sideways else image.height
        top, bottom = length - bottom, length - top
    return (top, 0, bottom, image.height) if sideways else (0, top, image.width, bottom)


def _turned(image: Image.Image, orientation: int) -> Image.Image:
    return image.transpose(_TURNS[orientation]) if orientation in _TURNS else image
