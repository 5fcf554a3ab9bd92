"""Decode and resize images. Training, command line and HTTP all use this reader.

What comes out depends on the bytes, the size and the settings alone, never on other images nor on the image's own brightest
pixel: two parts under the same light look the same to the model. `docs/images.md` lists what is supported.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import IO, Literal, NamedTuple

import numpy as np
from PIL import ExifTags, Image
from PIL.ImageFile import ImageFile

from defect_detection.data import levels
from defect_detection.data.bounded import Source, bounded, name_of
from defect_detection.data.bounds import DEFAULT_LIMITS, Limits
from defect_detection.data.decoders import check_colours, open_image, pages_of
from defect_detection.data.extent import Extent
from defect_detection.data.framing import Framing
from defect_detection.data.levels import Levels, in_mode, levels_of
from defect_detection.data.outline import Effort
from defect_detection.data.upright import SIDEWAYS, array_of, cropped, upright_strips, whole_of
from defect_detection.errors import ImageError

Fit = tuple[int, int] | Framing | None
"""How an image is fitted: stretched to (height, width), as a model sees it, or not at all."""

DECODER_VERSION = 2  # part of every cache key: raise it when pixels change

Pages = Literal["refuse", "first", "all"]
Choice = Callable[[list[int]], list[int]]


class Header(NamedTuple):
    """The header of an image: its first page, upright. holds_16_bits: of which a camera may use fewer.

    pages: how many there are.
    """

    width: int
    height: int
    holds_16_bits: bool
    pages: int


class Page(NamedTuple):
    """A decoded page. pixels: uint8 array of shape (height, width, 3), RGB; size: (width, height) of the file's own, upright.

    extent: the pixels of the file that an evidence map of `pixels` covers.
    """

    pixels: np.ndarray
    size: tuple[int, int]
    extent: Extent


def read_image(
    source: Source,
    size: Fit = None,
    limits: Limits = DEFAULT_LIMITS,
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
        size: (height, width) to stretch to, bilinear with antialiasing, or how a model sees images; None keeps the size.
        limits: a larger image is not decoded, and one that takes too much time or memory not to its end.
        pages: what to do with a file of several pages: take the first, or refuse it. With "all" it is refused too, since
            one image is asked for.
        bit_depth: bits that 16-bit values use, 8 to 16; None for all 16.

    Returns:
        uint8 array of shape (height, width, 3), RGB.

    Raises:
        ImageError: no such file, another format, truncated or damaged, too large, several pages, or values out of range.
            Names the file.
    """
    choose = partial(_one, pages=pages)
    (page,) = bounded(decode_pages, _effort(size), source, limits, size, bit_depth, choose)
    return page.pixels


def read_pages(
    source: Source,
    size: Fit = None,
    limits: Limits = DEFAULT_LIMITS,
    *,
    pages: Pages = "refuse",
    bit_depth: int | None = None,
) -> list[Page]:
    """Decode the pages of an image file: every one with "all", else the one that `read_image` returns.

    Arguments as for `read_image`. `limits` hold for all pages together.
    """
    return bounded(decode_pages, _effort(size), source, limits, size, bit_depth, choice_of(pages))


def choice_of(pages: Pages, number: int | None = None) -> Choice:
    """Return a function that selects frames among the pages of a file.

    Args:
        number: which alone is wanted of those that are read, from 1; None for each.
    """
    return partial(_chosen, pages=pages, number=number)


def read_header(source: Source) -> Header:
    """Read the header of an image, at its first page; nothing is decoded.

    Raises:
        ImageError: another format, or a damaged header.
    """
    return bounded(_header, "header", source, DEFAULT_LIMITS)


def largest_value(path: Path, limits: Limits = DEFAULT_LIMITS) -> int:
    """Decode an image that holds 16 bits, at its first page, and return the largest value in it.

    Raises:
        ImageError: as for `read_image`.
    """
    return bounded(_largest_value, "full", path, limits)


def decode_pages(
    source: Source,
    file: IO[bytes],
    limits: Limits,
    fit: Fit,
    bit_depth: int | None,
    choose: Choice,
) -> list[Page]:
    """Decode pages of an open file, without limits of time and memory; `bounded` keeps those.

    Args:
        choose: takes the frames that are pages, and returns those to decode.
    """
    left, framing = limits.pixels, _framing_of(fit)
    found: list[Page] = []
    with _named(source), open_image(file) as image:
        for frame in choose(pages_of(image)):
            if frame != image.tell():
                image.seek(frame)
            check_colours(image)
            if reason := limits.why_too_large(image.width, image.height, left):
                raise ImageError(f"{reason} as page {frame + 1} after other pages" if found else reason)
            left -= image.width * image.height
            own = image.size  # a large JPEG is decoded at a reduced scale
            pixels = _to_rgb_array(image, file, framing, levels_of(image, bit_depth))
            size = _upright_size(image, own)
            found.append(Page(pixels, size, framing.extent(*size) if framing else Extent.whole(size)))
    return found


@contextmanager
def open_page(
    source: Source, file: IO[bytes], limits: Limits, choose: Choice
) -> Iterator[tuple[ImageFile, Callable[[], Image.Image]]]:
    """Open the one page that `choose` takes. Yield it, and a function that gives the low bytes of 16-bit colours."""
    with _named(source), open_image(file) as image:
        (frame,) = choose(pages_of(image))
        if frame != image.tell():
            image.seek(frame)
        check_colours(image)
        if reason := limits.why_too_large(image.width, image.height):
            raise ImageError(reason)
        yield image, partial(_low_bytes, image, file)


def _effort(size: Fit) -> Effort:
    return "full" if size is None else "reduced"


def _framing_of(size: Fit) -> Framing | None:
    return Framing.plain(size) if isinstance(size, tuple) else size


def _header(source: Source, file: IO[bytes], _limits: Limits) -> Header:
    with _named(source), open_image(file) as image:
        pages = len(pages_of(image))
        # Asked for EXIF data that its head does not hold, a PNG decodes everything.
        may_turn = image.format != "PNG" or "exif" in image.info
        size = _upright_size(image, image.size) if may_turn else image.size
        return Header(*size, levels.holds_16_bits(image), pages)


def _largest_value(source: Source, file: IO[bytes], _limits: Limits) -> int:
    with _named(source), open_image(file) as image:
        pages_of(image)
        image.load()
        return levels.largest_value(image)


@contextmanager
def _named(source: Source) -> Iterator[None]:
    """Put the image's name in front of whatever goes wrong in the block."""
    try:
        yield
    except ImageError as error:
        raise ImageError(f"{name_of(source)}: {error}") from None
    except Exception as error:  # decoders raise nearly anything on damaged input
        raise ImageError(f"{name_of(source)}: {_reason(error)}") from error


def _chosen(frames: list[int], pages: Pages, number: int | None) -> list[int]:
    frames = frames if pages == "all" else _one(frames, pages)
    return frames if number is None else frames[number - 1 : number]


def _one(frames: list[int], pages: Pages) -> list[int]:
    if len(frames) == 1 or pages == "first":
        return frames[:1]
    if pages == "all":
        raise ImageError(
            f"{len(frames)} pages; a label belongs to one page, so `data.pages: all` applies to inspection only. Save each "
            "page as a file, with one group per part"
        )
    raise ImageError(
        f"{len(frames)} pages; data.pages says refuse. Save each page as a file, or set data.pages to all (each page is "
        "inspected, the highest score decides) or first"
    )


def _reason(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return "needs more memory than allowed for a file of this size; save it as a baseline JPEG or an 8-bit PNG"
    if isinstance(error, OSError) and error.strerror:
        return f"cannot be read ({error.strerror})"
    return (
        f"cannot be decoded; the file is damaged or of an unsupported kind ({error or type(error).__name__})"
    )


def _to_rgb_array(image: ImageFile, file: IO[bytes], framing: Framing | None, meaning: Levels) -> np.ndarray:
    """Return the image upright, uint8 of shape (height, width, 3), RGB."""
    is_exact = framing is not None and (framing.region is not None or framing.hidden is not None)
    if framing is not None and not is_exact:
        _decode_at_reduced_scale(image, framing.size)
    low = _low_bytes(image, file) if levels.needs_low_bytes(image, meaning) else None
    shape, strips = upright_strips(image, meaning, low)
    if framing is None:
        return array_of(shape, strips)
    whole = whole_of(shape, strips)
    narrow = framing.apply(cropped(whole, framing.box(*shape)) if is_exact else whole)
    return np.array(in_mode("RGB", narrow))  # a writable copy


def _upright_size(image: ImageFile, own: tuple[int, int]) -> tuple[int, int]:
    """Return (width, height) of an upright image; for a TIFF the size is already upright."""
    is_turned = image.format != "TIFF" and image.getexif().get(ExifTags.Base.Orientation, 1) in SIDEWAYS
    return own[::-1] if is_turned else own


def _low_bytes(image: ImageFile, file: IO[bytes]) -> Image.Image:
    again = BytesIO(file.getvalue()) if isinstance(file, BytesIO) else Path(file.name).open("rb")  # noqa: SIM115  closed below
    with again, open_image(again) as other:
        if image.tell() != other.tell():
            other.seek(image.tell())
        levels.swap_bytes(other)
        other.load()
        return other


def _decode_at_reduced_scale(image: Image.Image, size: tuple[int, int]) -> None:
    """Let a large JPEG skip detail finer than half a pixel of the result: 1.4 to 2 times faster, and no verdict changes."""
    longest = 2 * max(size)  # of both sides, because the image may yet be turned
    image.draft(None, (longest, longest))
