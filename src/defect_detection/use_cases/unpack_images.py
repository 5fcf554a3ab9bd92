"""Unpack the images of a zip that arrived in pieces: member by member, within bounds, without trusting a name or a size in it."""

import errno
import hashlib
import os
import shutil
import stat
import struct
import time
import zipfile
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path, PurePosixPath

from defect_detection.data.image_folders import FOLDER
from defect_detection.data.other_files import is_side_name
from defect_detection.data.system_names import is_hidden, is_system_file, is_system_folder
from defect_detection.data.whole_changes import alone
from defect_detection.errors import BusyError, DataError
from defect_detection.text import printable
from defect_detection.use_cases.add_images import Added
from defect_detection.use_cases.product_images import ProductImages

ARCHIVES = ".archives"  # in the data folder of a product: hidden, so nothing reads it
MOST_MEMBERS = 50_000
MOST_DIRECTORY_BYTES = 16_000_000  # of the list of members, which is read into memory
SPARE_BYTES = 1_000_000_000  # that stay free on the disk
OLD_S = 7 * 24 * 3600.0  # after which an archive that nobody went on with is deleted
STEP_S = 3.0  # that one request unpacks
# The other methods unpack a few bytes to gigabytes at once, whatever is asked for.
_BOUNDED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_DAMAGED = (  # what zipfile raises for a zip that it cannot read
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    NotImplementedError,
    OverflowError,
    RuntimeError,
    ValueError,
)

AddMember = Callable[[str, bytes, float | None], Added]


@dataclass
class Step:
    """A part of the unpacking. next: the member to go on with; None: all were looked at. skipped: (name, reason)."""

    total: int
    next: int | None
    added: int = 0
    there: int = 0
    left_out: int = 0
    skipped: list[tuple[str, str]] = field(default_factory=list)


def begin_archive(images: ProductImages, name: str, size: int, modified: float) -> tuple[str, int]:
    """Make a place for a zip. Return its id, which is the same for the same file, and how many bytes are there already.

    Raises:
        DataError: the disk has no room for it, or the page must not change the images.
    """
    if why := images.why_unchangeable:
        raise DataError(why)
    folder = images.config.root / FOLDER / ARCHIVES
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > OLD_S:
                path.unlink()
    key = hashlib.sha256(f"{name} {size} {modified}".encode(errors="surrogateescape")).hexdigest()[:16]
    path = folder / f"{key}.{size}"
    received = path.stat().st_size if path.is_file() else 0
    free = shutil.disk_usage(folder).free - SPARE_BYTES
    if 2 * size - received > free:  # the archive, and the images in it
        raise DataError(
            f"{printable(name)}: expected at most {max(0, free) // 2:,} bytes (half of what is free on the disk), received {size:,}"
        )
    path.touch()
    return key, received


def append_piece(images: ProductImages, key: str, offset: int, piece: bytes) -> int:
    """Append a piece, and return how many bytes are there now. A piece that is there already changes nothing.

    Raises:
        BusyError: another piece comes next. DataError: no such archive was begun, or the piece goes beyond its size.
        OSError: the disk is full; the pieces before stay.
    """
    path, expected = _begun(images, key)
    with alone(images.config.root):
        size = path.stat().st_size
        if offset + len(piece) > expected:
            raise DataError(
                f"archive {key}: expected {expected:,} bytes, as it was begun, received a piece that ends at byte "
                f"{offset + len(piece):,}: the file has changed, so begin again with POST /data/archives"
            )
        if offset + len(piece) <= size:
            return size
        if offset != size:
            raise BusyError(f"expected the piece from byte {size}, received that from byte {offset}")
        if shutil.disk_usage(path.parent).free - len(piece) < SPARE_BYTES:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path.parent))
        try:
            with path.open("ab") as file:
                file.write(piece)
        except OSError:
            os.truncate(path, size)
            raise
        return size + len(piece)


def unpack_step(images: ProductImages, key: str, start: int, add: AddMember, most_bytes: int) -> Step:
    """Add the images of a zip from one member on, for some seconds. At the end the zip is deleted.

    Args:
        add: adds one image.
        most_bytes: of one member.

    Raises:
        BusyError: pieces are missing. DataError: no zip, which is deleted, or one with too many members. OSError: the disk is full.
    """
    path, expected = _begun(images, key)
    if (size := path.stat().st_size) < expected:
        raise BusyError(f"archive {key}: expected {expected:,} bytes, received {size:,}: send the rest first")
    _check_directory(path)
    with _opened(path) as archive:
        step = _unpacked(archive, start, add, most_bytes)
    if step.next is None:
        path.unlink(missing_ok=True)
    return step


def _opened(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except _DAMAGED as error:
        path.unlink(missing_ok=True)  # so that it can be sent again
        raise DataError(f"no complete zip file ({printable(error)}): send it again") from error


def _begun(images: ProductImages, key: str) -> tuple[Path, int]:
    """Return the file of an archive that was begun, and the size that it will have, which is the end of its name.

    Raises:
        DataError: there is none.
    """
    for path in (images.config.root / FOLDER / ARCHIVES).glob(f"{key}.*"):
        return path, int(path.suffix[1:])
    raise DataError(
        f"archive {key}: unknown archive: begin again with POST /data/archives, and send the whole file"
    )


def _unpacked(archive: zipfile.ZipFile, start: int, add: AddMember, most_bytes: int) -> Step:
    members = [one for one in archive.infolist() if not one.filename.endswith("/")]
    top = _common_folder([one.filename for one in members])
    step = Step(len(members), None)
    end = time.monotonic() + STEP_S
    for number, member in enumerate(members[start:], start):
        if number > start and time.monotonic() > end:
            step.next = number
            break
        _take(archive, member, top, add, most_bytes, step)
    return step


def _take(
    archive: zipfile.ZipFile, member: zipfile.ZipInfo, top: str, add: AddMember, most_bytes: int, step: Step
) -> None:
    name = member.filename
    if _is_left_out(name):
        step.left_out += 1
        return
    try:
        done = add(name.removeprefix(top), _content(archive, member, most_bytes), _moment(member))
        step.added += done.state == "added"
        step.there += done.state == "there"
    except _DAMAGED as error:
        step.skipped.append((printable(name), f"damaged in the zip ({printable(error)})"))
    except DataError as error:
        step.skipped.append((printable(name), str(error)))


def _content(archive: zipfile.ZipFile, member: zipfile.ZipInfo, most_bytes: int) -> bytes:
    """Return the content of a member. At most so many bytes are unpacked, whatever its entry says.

    Raises:
        DataError: it is not taken.
    """
    if reason := _why_not(member):
        raise DataError(reason)
    with archive.open(member) as file:
        content = file.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise DataError(f"larger than {most_bytes:,} bytes (serving.max_upload_bytes)")
    return content


def _is_left_out(name: str) -> bool:
    """Say whether a member belongs to a system, is hidden, or is a note beside images."""
    *folders, last = PurePosixPath(name.replace("\\", "/")).parts or ("",)
    if any(is_hidden(one) or is_system_folder(one) for one in folders if one not in ("..", "/")):
        return True
    return is_hidden(last) or is_system_file(last) or is_side_name(last)


def _why_not(member: zipfile.ZipInfo) -> str | None:
    parts = PurePosixPath(member.filename.replace("\\", "/")).parts
    if not parts:
        return "it has no name"
    if ".." in parts or parts[:1] == ("/",) or ":" in parts[0]:
        return "its path leads out of the zip"
    if stat.S_ISLNK(member.external_attr >> 16):
        return "a link"
    if member.flag_bits & 1:
        return "encrypted; save the zip without a password"
    if member.compress_type not in _BOUNDED:
        return "compressed by a method that is not read; save the zip with the method Deflate"
    return None


def _moment(member: zipfile.ZipInfo) -> float | None:
    try:
        return datetime(*member.date_time).timestamp()
    except (ValueError, OverflowError, OSError):
        return None


def _common_folder(names: list[str]) -> str:
    """Return the folder that all members lie in, with a slash; "" where there is none."""
    first = {name.partition("/")[0] for name in names if not _is_left_out(name)}
    common = f"{first.pop()}/" if len(first) == 1 else ""
    return (
        common if common and all(name.startswith(common) for name in names if not _is_left_out(name)) else ""
    )


def _check_directory(path: Path) -> None:
    """Refuse a zip whose list of members is too long, before it is read.

    Raises:
        DataError: says so.
    """
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 66_000))
        tail = file.read()
    is_at_end = tail[-22:-18] == b"PK\x05\x06" and tail[-2:] == b"\0\0"  # without a comment
    at = len(tail) - 22 if is_at_end else tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) < at + 22:
        return  # zipfile says what is wrong
    count, n_bytes = (
        struct.unpack("<H", tail[at + 10 : at + 12])[0],
        struct.unpack("<I", tail[at + 12 : at + 16])[0],
    )
    wide = at - 76  # a record for large zips, and 20 bytes that lead to it
    if wide >= 0 and tail[wide : wide + 4] == b"PK\x06\x06" and tail[at - 20 : at - 16] == b"PK\x06\x07":
        count, n_bytes = struct.unpack("<QQ", tail[wide + 32 : wide + 48])
    if count > MOST_MEMBERS or n_bytes > MOST_DIRECTORY_BYTES:
        raise DataError(
            f"expected a zip with at most {MOST_MEMBERS:,} files, received {count:,} files with {n_bytes:,} bytes of names: make "
            "several zips"
        )
