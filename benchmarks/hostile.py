"""Draw files of at most 1 MB that cost far more to decode than their bytes."""

import io
import struct
import zlib
from collections.abc import Callable

from PIL import Image


def encoded(image: Image.Image, format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def webp_without_loss(side: int) -> bytes:
    """A black image in 34 bytes: that of another size, with its own size in the header, 14 bits for each side."""
    content = encoded(Image.new("RGB", (64, 64)), "WEBP", lossless=True, method=0)
    sides = int.from_bytes(content[21:25], "little") >> 28 << 28 | (side - 1) << 14 | (side - 1)
    return content[:21] + sides.to_bytes(4, "little") + content[25:]


def jpeg_of_scans(side: int, scans: int) -> bytes:
    """A progressive JPEG that is scanned over and over."""
    content = encoded(Image.new("RGB", (side, side)), "JPEG", progressive=True)
    last = content.rindex(b"\xff\xda")
    return content[:last] + content[last : content.rindex(b"\xff\xd9")] * scans + b"\xff\xd9"


def bmp_of_runs(width: int, height: int, runs: bytes) -> bytes:
    head = struct.pack("<IHHI", 1078 + len(runs), 0, 0, 1078)
    return (
        b"BM"
        + head
        + struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(runs), 0, 0, 256, 0)
        + bytes(1024)
        + runs
    )


def chunk(kind: bytes, data: bytes = b"") -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(side: int, *beside: bytes, coding: tuple[int, int] = (8, 0), interlaced: bool = False) -> bytes:
    """A black PNG. coding: bits and type of colour. beside: chunks before its pixels."""
    bits, kind = coding
    packer = zlib.compressobj(9)
    row = bytes(side * bits // 8 * {0: 1, 2: 3, 6: 4}[kind] + 1)
    pixels = b"".join(packer.compress(row) for _ in range(side * (2 if interlaced else 1))) + packer.flush()
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, bits, kind, 0, 0, interlaced))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(beside) + chunk(b"IDAT", pixels) + chunk(b"IEND")


def _packed_zeros(megabytes: int) -> bytes:
    """What zlib makes of so many bytes: the block of one megabyte, again and again."""
    packer = zlib.compressobj(9)
    first, block = (packer.compress(bytes(10**6)) + packer.flush(zlib.Z_FULL_FLUSH) for _ in range(2))
    checksum = megabytes * 10**6 % 65521 << 16 | 1
    return first + block * (megabytes - 1) + b"\3\0" + struct.pack(">I", checksum)


def tiff(width: int, height: int, strips: int, rows: int) -> bytes:
    """A gray TIFF of strips that all lie in the same place."""
    offsets, counts = 8 + 2 + 9 * 12 + 4, 8 + 2 + 9 * 12 + 4 + 4 * strips
    tags = (
        (256, width),
        (257, height),
        (258, 8),
        (259, 1),
        (262, 1),
        (273, offsets),
        (277, 1),
        (278, rows),
        (279, counts),
    )
    entries = (struct.pack("<HHII", tag, 4, strips if tag in (273, 279) else 1, value) for tag, value in tags)
    body = struct.pack("<I", counts + 4 * strips) * strips + struct.pack("<I", width * rows) * strips
    return b"II*\0\x08\0\0\0\x09\0" + b"".join(entries) + bytes(4) + body + bytes(width * rows)


def chain_of_directories(count: int) -> bytes:
    step = 2 + 12 + 4
    links = (8 + step * (number + 1) if number + 1 < count else 0 for number in range(count))
    return b"II*\0\x08\0\0\0" + b"".join(struct.pack("<HHHIII", 1, 254, 4, 1, 0, link) for link in links)


def exif(count: int) -> bytes:
    """EXIF data whose entries all hold the same 60 kB."""
    entries = (struct.pack("<HHII", 1000 + number, 7, 60_000, 8) for number in range(count))
    return b"II*\0\x08\0\0\0" + struct.pack("<H", count) + b"".join(entries) + bytes(4)


def jpeg_with(before: bytes) -> bytes:
    content = encoded(Image.new("RGB", (32, 32)), "JPEG")
    return content[:2] + before + content[2:]


def _hidden_exif() -> bytes:
    return zlib.compress(b"\nexif\n  90000\n457869660000" + exif(3000).hex().encode())


def _segment_of_exif() -> bytes:
    block = (b"Exif\0\0" + exif(4500)).ljust(60_000, b"\0")
    return b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block


def _two_pages(format: str) -> bytes:
    first, second = (Image.new("RGB", (64, 64), colour) for colour in ("red", "blue"))
    return encoded(first, format, save_all=True, append_images=[second])


# Files of at most 1 MB that must not be decoded like others; making them all takes seconds.
HOSTILE: dict[str, Callable[[], bytes]] = {
    "BMP of runs": lambda: bmp_of_runs(4000, 4000, b"\xff\0" * 300_000 + b"\0\1"),
    "BMP of runs, very wide": lambda: bmp_of_runs(100_000_000, 1, b"\0\1"),
    "WebP without loss": lambda: webp_without_loss(4900),
    "WebP without loss, very large": lambda: webp_without_loss(12_000),
    "JPEG of 64 scans": lambda: jpeg_of_scans(3000, 60),
    "JPEG of segments": lambda: jpeg_with(b"\xff\xfe\0\2" * 200_000),
    "JPEG of fill bytes": lambda: jpeg_with(b"\xff" * 900_000),
    "JPEG with much EXIF": lambda: jpeg_with(_segment_of_exif()),
    "PNG with alpha": lambda: png(5000, coding=(8, 6)),
    "PNG of 16 bits": lambda: png(4000, coding=(16, 6)),
    "PNG, interlaced": lambda: png(3000, coding=(8, 2), interlaced=True),
    "PNG of empty chunks": lambda: png(8, chunk(b"teXt") * 80_000),
    "PNG of empty pixels": lambda: png(8, chunk(b"IDAT") * 80_000),
    "PNG with a packed profile": lambda: png(8, chunk(b"iCCP", b"a\0\0" + _packed_zeros(600))),
    "PNG with much EXIF": lambda: png(8, chunk(b"eXIf", exif(60_000))),
    "PNG with hidden EXIF": lambda: png(8, chunk(b"zTXt", b"Raw profile type exif\0\0" + _hidden_exif())),
    "TIFF with a strip a row": lambda: tiff(60, 16_000, 16_000, 1),
    "TIFF with a strip a row, very high": lambda: tiff(1, 120_000, 120_000, 1),
    "TIFF that is drawn over and over": lambda: tiff(500, 500, 4000, 500),
    "TIFF of directories": lambda: chain_of_directories(50_000),
    "TIFF, LZMA": lambda: encoded(Image.new("RGB", (3000, 3000)), "TIFF", compression="lzma"),
    "PNG of two pages": lambda: _two_pages("PNG"),
    "JPEG of two pages": lambda: _two_pages("MPO"),
}


def hostile_files() -> dict[str, bytes]:
    """Return all files of `HOSTILE`."""
    return {name: make() for name, make in HOSTILE.items()}
