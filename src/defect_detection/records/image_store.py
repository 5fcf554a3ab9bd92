"""The folder of inspected images, stored once per content under its hash."""

import hashlib
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any, Protocol

from filelock import FileLock

from defect_detection.data.image_formats import format_of
from defect_detection.files.permissions import create_private, make_private
from defect_detection.files.unfinished import whole_file

_LOCK_TIMEOUT_S = 30
UNKNOWN_SUFFIX = ".img"


def suffix_of(content: bytes) -> str:
    """Return the ending for an image's bytes, with its dot; `UNKNOWN_SUFFIX` for none that is known."""
    found = format_of(content)
    return found.suffixes[0] if found else UNKNOWN_SUFFIX


StoredImage = tuple[str, bool]  # the ending of an image, and whether it was written


class ImageStore(Protocol):
    """Where images are kept: a folder, or `image_bucket`. Who adds or removes some with their rows holds `lock` meanwhile."""

    @property
    def lock(self) -> AbstractContextManager[object]: ...
    def check(self) -> None: ...
    def add_all(self, images: Iterable[tuple[str, bytes]]) -> Iterator[StoredImage | OSError]: ...
    def read(self, sha256: str, suffix: str) -> bytes | None: ...
    def remove(self, sha256: str, suffix: str) -> None: ...
    def files_by_folder(self) -> Iterator[dict[str, Any]]: ...
    def remove_if_older(self, entry: Any, age_s: float) -> bool: ...


class ImageFolder:
    """Images as ``ab/cdef….jpg``, where ``abcdef…`` is the sha256 of the bytes. Every method may raise `OSError`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __str__(self) -> str:
        return str(self.folder)

    def check(self) -> None:
        """Do nothing: the next image shows whether the folder can be used."""

    @property
    def lock(self) -> FileLock:
        make_private(self.folder)
        return FileLock(self.folder / ".lock", timeout=_LOCK_TIMEOUT_S)

    def path_of(self, sha256: str, suffix: str) -> Path:
        return self.folder / sha256[:2] / f"{sha256[2:]}{suffix}"

    def add_all(self, images: Iterable[tuple[str, bytes]]) -> Iterator[StoredImage | OSError]:
        """Do `add` for each image; yield what it returned, or why it could not be written."""
        for sha256, content in images:
            try:
                yield self.add(sha256, content)
            except OSError as error:
                yield error

    def add(self, sha256: str, content: bytes) -> StoredImage:
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

    def remove_if_older(self, entry: Path, age_s: float) -> bool:
        """Remove a file that has been there for longer, and say whether it was."""
        with suppress(FileNotFoundError):
            if time.time() - entry.stat().st_mtime > age_s:
                entry.unlink()
                return True
        return False


def write_whole(path: Path, content: bytes) -> None:
    """Write a file under a temporary name, and give it its own only when all of it is on the disk."""
    with whole_file(path) as partial, os.fdopen(create_private(partial), "wb") as file:
        file.write(content)
