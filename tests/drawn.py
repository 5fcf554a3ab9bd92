"""Image files drawn byte by byte, where no library writes them."""

import struct
import zlib
from collections.abc import Sequence

import numpy as np

PNG_COLOURS = {"gray": 0, "rgb": 2, "palette": 3, "gray+alpha": 4, "rgba": 6}


def png(rows: np.ndarray, bits: int, colours: str, chunks: Sequence[tuple[bytes, bytes]] = ()) -> bytes:
    """Return a PNG file.

    Args:
        rows: values of shape (height, width) or (height, width, channels), each in `bits` bits.
        chunks: name and content of what stands in front of the pixels.
    """
    height, width = rows.shape[:2]
    if bits == 16:
        packed = rows.astype(">u2").reshape(height, -1).view(np.uint8)
    else:
        spread = np.unpackbits(rows.astype(np.uint8).reshape(height, -1, 1), axis=2)[:, :, 8 - bits :]
        packed = np.packbits(spread.reshape(height, -1), axis=1)
    content = zlib.compress(b"".join(b"\0" + row.tobytes() for row in packed))
    header = struct.pack(">IIBBBBB", width, height, bits, PNG_COLOURS[colours], 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", content), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*part) for part in parts)


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def tiff(
    content: bytes, size: tuple[int, int], bits: int, photometric: int, order: str = "<", **tags: int
) -> bytes:
    """Return a TIFF file of one strip, uncompressed.

    Args:
        content: the rows, packed.
        size: (width, height).
        tags: further ones with one value each, as `t339=2`.
    """
    width, height = size
    entries = {256: width, 257: height, 258: bits, 259: 1, 262: photometric, 277: 1, 278: height}
    entries |= {279: len(content)} | {int(name[1:]): value for name, value in tags.items()}
    start = 8 + 2 + 12 * (len(entries) + 1) + 4
    entries = dict(sorted((entries | {273: start}).items()))
    directory = b"".join(struct.pack(f"{order}HHII", tag, 4, 1, value) for tag, value in entries.items())
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, 8)
    return head + struct.pack(f"{order}H", len(entries)) + directory + bytes(4) + content


def bmp(pixels: np.ndarray, bits: int, compression: int = 0, masks: Sequence[int] = (0, 0, 0, 0)) -> bytes:
    """Return a BMP file with a header of version 5. pixels: values as they are stored, (height, width, bytes)."""
    height, width = pixels.shape[:2]
    rows = pixels[::-1].reshape(height, -1)
    content = np.pad(rows, ((0, 0), (0, -rows.shape[1] % 4))).tobytes()
    header = struct.pack("<IiiHHIIiiII", 124, width, height, 1, bits, compression, len(content), 0, 0, 0, 0)
    header = (header + struct.pack("<4I", *masks)).ljust(124, b"\0")
    return struct.pack("<2sIHHI", b"BM", 138 + len(content), 0, 0, 138) + header + content


def packed_12_bits(values: np.ndarray) -> bytes:
    """Return rows of an even length in 12 bits a value."""
    bits = np.unpackbits(values.astype(">u2")[..., None].view(np.uint8), axis=-1)[..., 4:]
    return np.packbits(bits.reshape(len(values), -1), axis=1).tobytes()


def jpeg_of_several(pictures: Sequence[bytes], kinds: Sequence[int]) -> bytes:
    """Return a JPEG with further pictures behind the first, as CIPA DC-007 has it. kinds: the type of each."""
    length = 10 + 50 + 16 * len(pictures)  # of the segment with the index, and of what stands before it
    starts = [0, *np.cumsum([len(pictures[0]) + length - 2, *map(len, pictures[1:-1])])]
    entries = b"".join(
        struct.pack("<IIIHH", kind, len(picture), start and start - 10, 0, 0)
        for kind, picture, start in zip(kinds, pictures, starts, strict=True)
    )
    index = struct.pack("<2sHIH", b"II", 42, 8, 3) + struct.pack("<HHI4s", 0xB000, 7, 4, b"0100")
    index += struct.pack("<HHII", 0xB001, 4, 1, len(pictures))
    index += struct.pack("<HHIII", 0xB002, 7, len(entries), 50, 0) + entries
    segment = b"\xff\xe2" + struct.pack(">H", 6 + len(index)) + b"MPF\0" + index
    return pictures[0][:2] + segment + pictures[0][2:] + b"".join(pictures[1:])
