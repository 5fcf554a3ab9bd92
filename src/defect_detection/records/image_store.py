"""The folder of inspected images, stored once per content under its hash."""

import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from filelock import FileLock

from defect_detection.data.formats import format_of
from defect_detection.files.permissions import create_private, make_private
from defect_detection.files.unfinished import whole_file

_LOCK_TIMEOUT_S = 30
UNKNOWN_SUFFIX = ".img"


def suffix_of(content: bytes) -> str:
    """Return the ending for an image's bytes, with its dot; `UNKNOWN_SUFFIX` for none that is known."""
    found = format_of(content)
    return found.suffixes[0] if found else UNKNOWN_SUFFIX


class ImageFolder:
    """Images as ``ab/cdef….jpg``, where ``abcdef…`` is the sha256 of the bytes. Every method may raise `OSError`.

    Hold `lock` while adding or removing images together with their rows.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def lock(self) -> FileLock:
        make_private(self.folder)
        return FileLock(self.folder / ".lock", timeout=_LOCK_TIMEOUT_S)

    def path_of(self, sha256: str, suffix: str) -> Path:
        return self.folder / sha256[:2] / f"{sha256[2:]}{suffix}"

    def add(self, sha256: str, content: bytes) -> tuple[str, bool]:
        """Write an image that isn't there yet; return its ending, and whether it was written.

        It gets its name only when all of it is on the disk, so that no full disk leaves a part of an image.
        """
        suffix = suffix_of(content)
        path = self.path_of(sha256, suffix)
        is_new = not path.is_file() or path.stat().st_size != len(content)
        if is_new:
            make_private(path.parent)
            write_whole(path, content)
        return suffix, is_new

    def read(self, sha256: str, suffix: str) -> bytes | None:
        """Return the bytes of an image, or None if it is missing or changed."""
        try:
            content = self.path_of(sha256, suffix).read_bytes()
        except FileNotFoundError:
            return None
        return content if hashlib.sha256(content).hexdigest() == sha256 else None

    def remove(self, sha256: str, suffix: str) -> None:
        self.path_of(sha256, suffix).unlink(missing_ok=True)

    def files_by_folder(self) -> Iterator[dict[str, Path]]:
        """Yield the files of each folder with the hash in their name; None for interrupted writes."""
        for folder in sorted(self.folder.glob("??")):
            yield {folder.name + path.stem: path for path in folder.iterdir()}


def remove_if_older(path: Path, age_s: float) -> bool:
    """Remove a file that is older than this, and return whether it was removed."""
    with suppress(FileNotFoundError):
        if time.time() - path.stat().st_mtime > age_s:
            path.unlink()
            return True
    return False


def write_whole(path: Path, content: bytes) -> None:
    """Write a file under a temporary name, and give it its own only when all of it is on the disk."""
    with whole_file(path) as partial, os.fdopen(create_private(partial), "wb") as file:
        file.write(content)
