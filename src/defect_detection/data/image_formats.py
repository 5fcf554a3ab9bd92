"""The list of image formats: first bytes, file extensions and media types."""

import re
from dataclasses import dataclass

HEAD_BYTES = 32  # of a file, by which its format is recognised
# BMP: with the size of its header, since a text may start with BM as well; or cut off before that.
_BMP = rb"BM(?:.{12}[\x0c\x10\x28\x34\x38\x40\x6c\x7c]\0\0\0|.{0,15}\Z)"


@dataclass(frozen=True, slots=True)
class Format:
    """One image format. The first of `suffixes` is the ending of files that we name ourselves."""

    name: str
    signature: re.Pattern[bytes]
    suffixes: tuple[str, ...]
    media_type: str


FORMATS = (
    Format("JPEG", re.compile(rb"\xff\xd8\xff"), (".jpg", ".jpeg"), "image/jpeg"),
    Format("PNG", re.compile(rb"\x89PNG\r\n\x1a\n"), (".png",), "image/png"),
    Format("BMP", re.compile(_BMP, re.DOTALL), (".bmp",), "image/bmp"),
    Format("TIFF", re.compile(rb"II[*+]\0|MM\0[*+]"), (".tif", ".tiff"), "image/tiff"),  # +: BigTIFF
    Format("WebP", re.compile(rb"RIFF....WEBP", re.DOTALL), (".webp",), "image/webp"),
)
IMAGE_SUFFIXES = frozenset(suffix for one in FORMATS for suffix in one.suffixes)


def format_of(content: bytes) -> Format | None:
    """Return the format of a file from its first `HEAD_BYTES`; None if unsupported."""
    return next((one for one in FORMATS if one.signature.match(content)), None)
