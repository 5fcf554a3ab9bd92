"""Read the structure of an image file before decoding: its size, and whether it is cheap to decode ("plain").

A file is plain where nothing in it costs more than its pixels: few parts to read one after the other, one picture, one pass over
it, nothing that unpacks into more than the picture. Every other file is decoded within limits.
"""

import struct
from collections.abc import Callable
from io import BytesIO
from math import ceil
from typing import IO, Literal, NamedTuple

from defect_detection.data.image_formats import HEAD_BYTES, format_of

PLAIN_PIXELS = (
    6_000_000  # pixels of an image that is decoded in the calling thread; about 0.2 s in any format
)
MOST_SEGMENTS = (
    64  # segments of a JPEG, chunks of a PNG or WebP beside those of pixels, entries of a directory
)
MOST_STRIPS = 4096  # strips or tiles of a TIFF
MOST_BESIDE = 512 * 1024  # bytes beside the picture
LEAST_PIXEL_CHUNK = 2048  # bytes of a PNG's chunks of pixels, on average
_HEAD = 4096  # bytes per read

Effort = Literal["header", "reduced", "full"]
"""What is read of a file: nothing of the picture, the picture at the size of the model, or all of its detail."""

At = Callable[[int, int], bytes]
"""Returns bytes of a file: from a position, at most so many."""


class Outline(NamedTuple):
    """The structure of a file. Width and height are as stored, or 0 if unknown.

    skips_detail: whether its decoder can leave out detail finer than the wanted size.
    """

    width: int = 0
    height: int = 0
    is_plain: bool = False
    skips_detail: bool = False

    def is_quick(self, effort: Effort) -> bool:
        """Check whether decoding is cheap enough to run without limits."""
        most = PLAIN_PIXELS * (4 if self.skips_detail and effort == "reduced" else 1)
        return self.is_plain and (effort == "header" or self.width * self.height <= most)


def outline_of(file: IO[bytes]) -> Outline:
    """Return the outline of an open file, of any content; it is left at its start."""
    at = _reader(file)
    found = format_of(at(0, HEAD_BYTES))
    try:
        if found is None:
            return Outline(is_plain=True)  # refused by its first bytes
        return _LOOKS[found.name](at)
    except (struct.error, IndexError):  # cut off
        return Outline()
    finally:
        file.seek(0)


def _reader(file: IO[bytes]) -> At:
    if isinstance(file, BytesIO):
        content = file.getvalue()  # shares its memory
        return lambda start, length: content[start : start + length]
    head = file.read(_HEAD)

    def at(start: int, length: int) -> bytes:
        end = start + length
        if end <= len(head):
            return head[start:end]
        file.seek(start)
        return file.read(length)

    return at


def _jpeg(at: At) -> Outline:
    position, size, has_exif, is_plain = 2, (0, 0, 0), False, True
    for _ in range(MOST_SEGMENTS):
        ff, marker, length = struct.unpack(">BBH", at(position, 4))
        if ff != 0xFF or marker in (0xFF, 0xD8, 0xD9) or position > MOST_BESIDE:
            break
        start, length = position + 4, length - 2
        if marker == 0xDA:
            is_whole = at(start, 1)[0] == size[2]  # all channels in one scan, so later scans are not decoded
            return Outline(*size[:2], is_plain and is_whole, skips_detail=True)
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            bits, height, width, channels = struct.unpack(">BHHB", at(start, 6))
            is_plain = is_plain and marker in (0xC0, 0xC1) and bits == 8 and not size[2]
            size = (width, height, channels)
        elif marker == 0xE1 and at(start, 6) == b"Exif\0\0":
            is_plain = is_plain and not has_exif and _is_plain_exif(at(start + 6, length - 6))
            has_exif = True
        elif marker == 0xE2 and at(start, 4) == b"MPF\0":
            is_plain = False
        position = start + length
    return Outline(*size[:2])


def _png(at: At) -> Outline:
    width, height = struct.unpack(">II", at(16, 8))
    is_interlaced = at(28, 1) != b"\0"
    position, n_pixels, pixel_bytes, beside, others = 33, 0, 0, 0, 0
    while others <= MOST_SEGMENTS and beside <= MOST_BESIDE:
        if len(head := at(position, 8)) < 8 or head[4:] == b"IEND":
            return Outline(width, height, not is_interlaced)
        length, kind = int.from_bytes(head[:4]), head[4:]
        if kind == b"IDAT":
            n_pixels, pixel_bytes = n_pixels + 1, pixel_bytes + length
            if n_pixels > MOST_SEGMENTS and pixel_bytes < n_pixels * LEAST_PIXEL_CHUNK:
                break
        else:
            others, beside = others + 1, beside + length
            is_hidden = kind in (b"tEXt", b"zTXt", b"iTXt") and at(position + 8, 3).lower() == b"raw"  # EXIF
            if (
                kind == b"acTL"
                or is_hidden
                or (kind == b"eXIf" and not _is_plain_exif(at(position + 8, min(length, MOST_BESIDE))))
            ):
                break
        position += 12 + length
    return Outline(width, height)


def _bmp(at: At) -> Outline:
    header = at(0, 54)
    if header[14] == 12:
        width, height = struct.unpack("<HH", header[18:22])
        return Outline(width, height, is_plain=True)
    width, height, _planes, _bits, coding, _, _, _, colours = struct.unpack("<iiHHIIiiI", header[18:50])
    return Outline(width, abs(height), coding in (0, 3) and colours <= 256)


def _webp(at: At) -> Outline:
    position, size, is_plain = 12, (0, 0), True
    for _ in range(MOST_SEGMENTS):
        head = at(position, 8)
        if len(head) < 8:
            return Outline(*size, is_plain)
        kind, length, start = head[:4], int.from_bytes(head[4:], "little"), position + 8
        if kind == b"VP8X":
            canvas = at(start + 4, 6)
            size = int.from_bytes(canvas[:3], "little") + 1, int.from_bytes(canvas[3:], "little") + 1
            is_plain = not at(start, 1)[0] & 2  # animated
        elif kind == b"VP8 " and not size[0]:
            width, height = struct.unpack("<HH", at(start + 6, 4))
            size = width & 0x3FFF, height & 0x3FFF
        elif kind == b"VP8L":
            bits = int.from_bytes(at(start + 1, 4), "little")
            size = size if size[0] else ((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
        elif kind == b"EXIF":
            is_plain = is_plain and length <= MOST_BESIDE and _is_plain_exif(at(start, length))
        position = start + length + length % 2
    return Outline(*size)


_PLAIN_COMPRESSIONS = (1, 5, 8, 32773, 32946)  # none, LZW, Deflate, PackBits
_TYPES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}  # bytes of a value
_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _STRIPS, _SAMPLES, _ROWS, _PLANAR = (
    256,
    257,
    258,
    259,
    273,
    277,
    278,
    284,
)
_TILE_WIDTH, _TILE_HEIGHT, _TILES, _STRIP_BYTES, _TILE_BYTES, _DIRECTORIES = 322, 323, 324, 279, 325, 330
_PRIVATE = 0x8769  # EXIF directory of the camera's data
_ARRAYS = (_STRIPS, _STRIP_BYTES, _TILES, _TILE_BYTES)


class _Directory(NamedTuple):
    """The entries of a TIFF or EXIF directory by tag: the number of values, and the first if it is inline."""

    entries: dict[int, tuple[int, int]]
    order: str
    end: int
    is_plain: bool

    def value(self, tag: int, default: int = 0) -> int:
        return self.entries.get(tag, (1, default))[1]

    def count(self, tag: int) -> int:
        return self.entries.get(tag, (0, 0))[0]


def _directory(at: At, start: int, order: str) -> _Directory:
    (n_entries,) = struct.unpack(order + "H", at(start, 2))
    entries: dict[int, tuple[int, int]] = {}
    beside = 0
    for one in range(min(n_entries, MOST_SEGMENTS)):
        entry = at(start + 2 + 12 * one, 12)
        tag, kind, count = struct.unpack(order + "HHI", entry[:8])
        beside += count * _TYPES.get(kind, 1) if tag not in _ARRAYS else 0
        value = struct.unpack(order + ("H" if kind == 3 else "I"), entry[8 : 10 if kind == 3 else 12])[0]
        entries[tag] = (count, value)
    is_plain = n_entries <= MOST_SEGMENTS and beside <= MOST_BESIDE
    return _Directory(entries, order, start + 2 + 12 * n_entries, is_plain)


def _tiff(at: At) -> Outline:
    order = "<" if at(0, 1) == b"I" else ">"
    magic, start = struct.unpack(order + "HI", at(2, 6))
    if magic != 42:
        return Outline()
    found = _directory(at, start, order)
    width, height = found.value(_WIDTH), found.value(_HEIGHT)
    if not (width and height and found.is_plain):
        return Outline(width, height)
    has_more = int.from_bytes(at(found.end, 4)) != 0 or _DIRECTORIES in found.entries
    few_values = found.value(_SAMPLES, 1) <= 4 and found.count(_BITS) <= 4
    is_plain = (
        found.value(_COMPRESSION, 1) in _PLAIN_COMPRESSIONS
        and few_values
        and _has_plain_blocks(found, width, height)
    )
    return Outline(width, height, is_plain and not has_more)


def _has_plain_blocks(found: _Directory, width: int, height: int) -> bool:
    """Check that the strips or tiles are few and cover the picture once."""
    planes = found.value(_SAMPLES, 1) if found.value(_PLANAR, 1) == 2 else 1
    if _TILES not in found.entries:
        rows = min(found.value(_ROWS, height) or height, height)
        return found.count(_STRIPS) == ceil(height / rows) * planes <= MOST_STRIPS
    wide, high = found.value(_TILE_WIDTH), found.value(_TILE_HEIGHT)
    if not (0 < wide * high <= PLAIN_PIXELS):
        return False
    return found.count(_TILES) == ceil(width / wide) * ceil(height / high) * planes <= MOST_STRIPS


def _is_plain_exif(exif: bytes) -> bool:
    exif = exif.removeprefix(b"Exif\0\0")
    order = "<" if exif[:1] == b"I" else ">"

    def at(start: int, length: int) -> bytes:
        return exif[start : start + length]

    try:
        first = _directory(at, struct.unpack(order + "I", exif[4:8])[0], order)
        private = first.value(_PRIVATE)
        return first.is_plain and (not private or _directory(at, private, order).is_plain)
    except struct.error:
        return False


_LOOKS: dict[str, Callable[[At], Outline]] = {
    "JPEG": _jpeg,
    "PNG": _png,
    "BMP": _bmp,
    "TIFF": _tiff,
    "WebP": _webp,
}
