"""Convert stored values to 8 bits per channel with one scale for all images, and handle transparency."""

import re
import sys
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image
from PIL.ImageFile import ImageFile

from defect_detection.errors import ImageError

WHITE = 65535  # of 16 bits

_SIXTEEN_BIT_MODES = frozenset({"I;16", "I;16L", "I;16B", "I;16N", "I"})
_TWO_BYTES = re.compile(
    r"(RGBX?);16([BLN])$"
)  # how colours of 16 bits are stored whose bytes can be read apart
_OTHER_BYTE = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}
_ROWS = 256  # at a time
_WHITE_RGBA = (255, 255, 255, 255)
_FLOAT_TOLERANCE = 0.01  # values that interpolation pushes just out of [0, 1]


@dataclass(frozen=True, slots=True)
class Levels:
    """What the stored values of an image mean.

    white: the highest value, where they have 16 bits. inverted: 0 is white. transparent: the value of pixels that show
    the white behind them, where they have 16 bits; None for none.
    """

    white: int = WHITE
    inverted: bool = False
    transparent: int | tuple[int, ...] | None = None


def levels_of(image: ImageFile, bit_depth: int | None) -> Levels:
    """Return what the values of an opened image mean.

    Args:
        bit_depth: bits that are used of 16; None for all of them. A file that packs fewer than 16 says so itself.
    """
    packed = getattr(image, "bits", 16)
    depth = packed if 8 < packed < 16 else bit_depth or 16
    return Levels(2**depth - 1, getattr(image, "inverted", False), image.info.get("transparency"))


def holds_16_bits(image: ImageFile) -> bool:
    """Check whether an opened image stores 16-bit values."""
    is_gray = image.mode in _SIXTEEN_BIT_MODES and getattr(image, "bits", 16) >= 16
    return is_gray or _TWO_BYTES.search(_raw_mode(image)) is not None


def needs_low_bytes(image: ImageFile, levels: Levels) -> bool:
    """Check whether a 16-bit colour image needs more than its high bytes, which is all that Pillow returns.

    Raises:
        ImageError: they aren't, and the low ones can't be read.
    """
    raw_mode = _raw_mode(image)
    if ";16" not in raw_mode or image.mode in _SIXTEEN_BIT_MODES:
        return False
    if levels.white == WHITE and levels.transparent is None:
        return False
    if _TWO_BYTES.search(raw_mode) is None or (image.format == "PNG" and image.tell() > 0):
        raise ImageError(
            f"16 bits per channel of {raw_mode.partition(';')[0]} cannot be read with data.bit_depth; save it as gray or RGB"
        )
    return True


def swap_bytes(image: ImageFile) -> None:
    """Make an opened colour image of 16 bits give its low bytes instead of the high ones."""
    found = _TWO_BYTES.search(_raw_mode(image))
    assert found is not None
    raw_mode = f"{found[1]};16{_OTHER_BYTE[found[2]]}"
    image.tile = [
        tile._replace(args=(raw_mode, *tile.args[1:]) if isinstance(tile.args, tuple) else raw_mode)
        for tile in image.tile
    ]


def joined(high: np.ndarray, low: np.ndarray, levels: Levels) -> Image.Image:
    """Return an image of 8 bits from the two bytes, uint8 (height, width, 3), of each value."""
    blocks = [slice(top, top + _ROWS) for top in range(0, len(high), _ROWS)]
    hidden = [_is_transparent(_both(high[rows], low[rows]), levels) for rows in blocks]
    if all(one is None or one.all() for one in hidden):  # transparent everywhere: its colours as they are
        hidden = [None for _ in blocks]
    narrow = [
        _narrowed(_both(high[rows], low[rows]), levels, one) for rows, one in zip(blocks, hidden, strict=True)
    ]
    return Image.fromarray(np.concatenate(narrow))


def _both(high: np.ndarray, low: np.ndarray) -> np.ndarray:
    return high.astype(np.uint16) << 8 | low


def _is_transparent(values: np.ndarray, levels: Levels) -> np.ndarray | None:
    return None if levels.transparent is None else (values == levels.transparent).all(axis=2)


def largest_value(image: Image.Image) -> int:
    """Return the largest value of a decoded 16-bit image (for colours, estimated from the high byte)."""
    values = np.asarray(image)
    return int(values.max()) if image.mode in _SIXTEEN_BIT_MODES else int(values.max()) * 256 + 255


def to_8_bit(image: Image.Image, levels: Levels) -> Image.Image:
    """Return a gray or RGB image of 8 bits per channel. Gray stays gray: three times cheaper to resize."""
    if image.mode in _SIXTEEN_BIT_MODES:
        values = np.asarray(image)
        hidden = None if levels.transparent is None else values == levels.transparent
        return Image.fromarray(_narrowed(values, levels, hidden))
    if image.mode == "F":
        return _from_float(np.asarray(image), levels)
    if image.has_transparency_data:
        backdrop = Image.new("RGBA", image.size, _WHITE_RGBA)
        return Image.alpha_composite(backdrop, _with_alpha(image)).convert("RGB")
    return in_mode("L" if image.mode in ("1", "L") else "RGB", image)


def is_8_bit(image: Image.Image) -> bool:
    """Check whether no conversion is needed."""
    return image.mode in ("L", "RGB") and not image.has_transparency_data


def in_mode(mode: str, image: Image.Image) -> Image.Image:
    """Return the same image if it has the mode already; a conversion would copy 400 MB for 100 million pixels."""
    return image if image.mode == mode else image.convert(mode)


def is_empty(image: Image.Image, levels: Levels) -> bool:
    """Check whether a part of an image is completely transparent."""
    if image.mode in _SIXTEEN_BIT_MODES:
        return bool((np.asarray(image) == levels.transparent).all())
    return _with_alpha(image).getchannel("A").getextrema() == (0, 0)


def without_alpha(image: Image.Image, levels: Levels) -> tuple[Image.Image, Levels]:
    """Return an image with its colours as they are stored, and what they mean.

    Raises:
        ImageError: alpha was multiplied into its colours when Pillow read them.
    """
    if getattr(image, "has_lost_colours", False):
        raise ImageError("alpha is 0 in the whole image, so no colours are stored; save it without alpha")
    if image.mode in ("La", "RGBa"):
        bands = [image.getchannel(band) for band in range(len(image.getbands()) - 1)]
        return Image.merge("L" if len(bands) == 1 else "RGB", bands), levels
    opaque = {"LA": "L", "RGBA": "RGB", "PA": "RGB"}.get(image.mode)
    bare = image.convert(opaque) if opaque else image.copy()
    bare.info.pop("transparency", None)
    return bare, replace(levels, transparent=None)


def _with_alpha(image: Image.Image) -> Image.Image:
    return in_mode("RGBA", image.convert("LA") if image.mode == "La" else image)


def _narrowed(values: np.ndarray, levels: Levels, hidden: np.ndarray | None) -> np.ndarray:
    """Scale values of 16 bits to uint8, with white where a pixel is hidden."""
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > levels.white:
        bits = "" if levels.white == WHITE else f" (data.bit_depth: {levels.white.bit_length()})"
        raise ImageError(f"expected values from 0 to {levels.white}{bits}, received {low} to {high}")
    counted = levels.white - values if levels.inverted else values
    whole = counted // 257 if levels.white == WHITE else counted.astype(np.uint32) * 255 // levels.white
    narrow = whole.astype(np.uint8)
    if hidden is not None:
        narrow[hidden] = 255
    return narrow


def _from_float(values: np.ndarray, levels: Levels) -> Image.Image:
    low, high = float(values.min()), float(values.max())
    if not (low >= -_FLOAT_TOLERANCE and high <= 1 + _FLOAT_TOLERANCE):  # NaN fails this too
        raise ImageError(f"expected float values from 0 to 1, received {low:g} to {high:g}")
    shares = values.clip(0, 1)
    return Image.fromarray(np.rint((1 - shares if levels.inverted else shares) * 255).astype(np.uint8))


def _raw_mode(image: ImageFile) -> str:
    """Return Pillow's name for how the pixels of an opened image are stored."""
    args = image.tile[0].args if image.tile else ""
    return str(args if isinstance(args, str) else args[0]) if args else ""
