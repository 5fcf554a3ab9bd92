"""Open image files with Pillow's decoder for their format, and list the frames that are pages.

`PIL.Image.open` checks a limit of pixels that holds for the whole process, so it is not called here. Nothing changes that limit:
`defect_detection.data.images` checks `data.max_pixels` instead.
"""

import struct
from typing import IO

from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from defect_detection.data.image_formats import HEAD_BYTES, format_of
from defect_detection.errors import ImageError

MOST_PAGES = 100  # of one file; each costs a run of the model

_UNREADABLE = "expected a JPEG, PNG, BMP, TIFF or WebP image, received something else or a damaged file"
_DAMAGED = (
    SyntaxError,
    IndexError,
    TypeError,
    struct.error,
)  # exceptions of Pillow's decoders for an invalid header
_MP_ENTRIES = 0xB002  # of the index of a JPEG with several pictures
_VIEW = "Multi-Frame Image"  # a picture of the same scene; others are thumbnails and brightness maps
_GRAY_STEPS = {"L;2": 85, "L;4": 17}  # from stored values of few bits to 8 bits


def open_image(file: IO[bytes]) -> ImageFile:
    """Read the header of an image file; nothing is decoded yet.

    Raises:
        ImageError: another format, or a damaged header.
    """
    head = file.read(HEAD_BYTES)
    file.seek(0)
    found = format_of(head)
    if found is None:
        raise ImageError(_UNREADABLE)
    try:
        image = _decoder(found.name)(file)
    except _DAMAGED as error:
        raise ImageError(_UNREADABLE) from error
    if isinstance(image, PngImageFile):
        _scale_transparent_gray(image)
    return image


def _decoder(name: str) -> type[ImageFile]:
    if name in ("JPEG", "PNG"):
        return JpegImageFile if name == "JPEG" else PngImageFile
    if name == "TIFF":
        from defect_detection.data.tiff import TiffImage

        return TiffImage
    if name == "BMP":
        from PIL.BmpImagePlugin import BmpImageFile

        return BmpImageFile
    from PIL.WebPImagePlugin import WebPImageFile

    return WebPImageFile


def _scale_transparent_gray(image: PngImageFile) -> None:
    """Scale the transparent value of a 2 or 4-bit gray image like its pixels; Pillow returns the stored value."""
    step = _GRAY_STEPS.get(str(image.tile[0].args)) if image.tile else None
    if step and "transparency" in image.info:
        image.info["transparency"] *= step


def pages_of(image: ImageFile) -> list[int]:
    """Return the frames of an opened image that are pages: pictures that stand for themselves.

    Of a TIFF, smaller copies and masks are none. Of a JPEG with several pictures, thumbnails and brightness maps are none; views
    of the same scene are pages, and so is a picture of no stated kind that is as large as the first.

    Raises:
        ImageError: there are too many, or none.
    """
    if isinstance(image, JpegImageFile):
        return _views(image) if "mp" in image.info else [0]
    find = getattr(image, "pages", None)  # of TIFF
    frames = find(MOST_PAGES) if find else range(getattr(image, "n_frames", 1))
    if len(frames) > MOST_PAGES:
        raise ImageError(f"expected at most {MOST_PAGES} pages, received more")
    if not frames:
        raise ImageError("expected a picture, received only reduced-size copies or masks")
    return list(frames)


def check_colours(image: ImageFile) -> None:
    """Refuse the current frame where it would come out in other colours than it has.

    Raises:
        ImageError: says why.
    """
    if problem := getattr(image, "problem", None):
        raise ImageError(problem)
    if image.format == "JPEG" and image.mode == "CMYK" and "adobe" not in image.info:
        raise ImageError(
            "a CMYK JPEG without Adobe's marker does not say whether its colours are inverted; save it as RGB"
        )


def _views(image: JpegImageFile) -> list[int]:
    """Return the views of a JPEG with several pictures, and seek to the first."""
    from PIL.MpoImagePlugin import MpoImageFile

    try:
        index = image._getmp() or {}
        kinds = [entry["Attribute"]["MPType"] for entry in index.get(_MP_ENTRIES, ())][: MOST_PAGES + 1]
        views = [n for n, kind in enumerate(kinds) if n == 0 or kind.startswith((_VIEW, "Undefined"))]
        if len(views) < 2:
            return [0]
        size = image.size
        several = MpoImageFile.adopt(image, index)
    except (*_DAMAGED, KeyError, AssertionError):  # no index that can be read: a plain JPEG
        return [0]
    views = [n for n in views if kinds[n].startswith(_VIEW) or _size_of(several, n) == size]
    several.seek(0)
    return views or [0]


def _size_of(image: ImageFile, frame: int) -> tuple[int, int] | None:
    try:
        image.seek(frame)
    except Exception:  # the index names a picture that isn't there (any more)
        return None
    return image.size
