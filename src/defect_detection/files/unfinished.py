"""Write files and folders atomically, and remove unfinished files of killed processes.

What is under way has the name ``.unfinished-PLACE-PID-START-RANDOM``, which tells its process (`processes.identity.name_of_owner`):

- of a dead process of this machine, it is removed when the next one starts or writes there;
- of another machine that shares the folder, or of this one before it was started again, once nothing in it has changed for a week.
"""

import errno
import logging
import os
import re
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from defect_detection.processes.identity import has_ended, name_of_owner
from defect_detection.text import encodable

OLD_S = 7 * 24 * 3600.0
_NAME = re.compile(r"\.unfinished-(?P<owner>[0-9a-f]{8}-[0-9]+-[0-9a-f]{8})-[0-9a-f]{6}(\.[a-z]{1,5})?")
_REPLACED = "replaced"
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

log = logging.getLogger(__name__)


def unfinished(folder: Path, suffix: str = "") -> Path:
    """Return a name in the folder for something of this process that is under way."""
    return folder / f".unfinished-{name_of_owner()}-{uuid.uuid4().hex[:6]}{suffix}"


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path, which replaces `path` if the block succeeds and is removed if it fails."""
    partial = unfinished(path.parent, path.suffix if re.fullmatch(r"\.[a-z]{1,5}", path.suffix) else "")
    try:
        yield partial
        partial.replace(path)
    except BaseException as error:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        if isinstance(error, OSError) and _lacks_room(error, partial):
            raise OSError(error.errno, error.strerror, os.fspath(path)) from error
        raise


def _lacks_room(error: OSError, partial: Path) -> bool:
    """Check for a full-disk error that names no file (from a write) or only an unfinished one (from a copy)."""
    named = error.filename2 or error.filename
    is_hidden = named is None or Path(os.fsdecode(named)).is_relative_to(partial)
    return error.errno in _NO_ROOM and is_hidden


def write_text(path: Path, text: str) -> None:
    """Write a file in UTF-8: whole, or it stays as it was."""
    with whole_file(path) as partial, partial.open("x", encoding="utf-8") as file:
        file.write(encodable(text))
        file.flush()
        os.fsync(file.fileno())


def is_free(folder: Path) -> bool:
    """Check whether a folder can be replaced without loss: it holds only empty folders (from `defect init`) and lock files."""
    return not folder.exists() or (folder.is_dir() and all(map(_is_nothing, folder.rglob("*"))))


def _is_nothing(path: Path) -> bool:
    return path.is_dir() or (path.suffix == ".lock" and path.is_file() and not path.stat().st_size)


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """Yield an empty folder, which replaces `folder` if the block succeeds and is removed if it fails."""
    folder = folder.absolute()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with working_folder(folder.parent) as work:
        new = work / "new"
        new.mkdir()
        try:
            yield new
        except OSError as error:
            if _lacks_room(error, new):
                raise OSError(error.errno, error.strerror, os.fspath(folder)) from error
            raise
        if folder.exists():
            (work / _REPLACED).mkdir()
            folder.replace(
                work / _REPLACED / folder.name
            )  # killed from here on, the old one is put back: `_remove`
        new.replace(folder)


@contextmanager
def working_folder(within: Path | None = None) -> Iterator[Path]:
    """Provide an empty private folder, by default below the temporary folder. It is removed after the block."""
    parent = within or Path(tempfile.gettempdir())
    remove_leftovers([parent])
    folder = unfinished(parent)
    folder.mkdir(0o777 if within else 0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def own_temporary_folder() -> Iterator[None]:
    """Use one temporary folder for all libraries of this process, so its files can be identified after a kill."""
    before = tempfile.tempdir
    with working_folder() as folder:
        tempfile.tempdir = str(folder)
        try:
            yield
        finally:
            tempfile.tempdir = before


def remove_leftovers(folders: Iterable[Path]) -> int:
    """Remove unfinished files of dead processes directly in the folders. Log and return their number."""
    found = [
        path
        for folder in dict.fromkeys(folders)
        for path in _names(folder)
        if _is_left(path) and _remove(path)
    ]
    if found:
        places = ", ".join(str(place) for place in dict.fromkeys(path.parent for path in found))
        log.warning("Removed %d unfinished files and folders of killed processes, in %s", len(found), places)
    return len(found)


def _names(folder: Path) -> list[Path]:
    with suppress(OSError):  # not there, not a folder, not ours to read
        return [path for path in folder.iterdir() if _NAME.fullmatch(path.name) and not path.is_symlink()]
    return []


def _is_left(path: Path) -> bool:
    name = _NAME.fullmatch(path.name)
    assert name is not None
    ended = has_ended(name["owner"])
    return _is_old(path) if ended is None else ended


def _is_old(path: Path) -> bool:
    try:
        changed = max(one.lstat().st_mtime for one in (path, *path.rglob("*")))
    except OSError:  # its process is still running
        return False
    return time.time() - changed > OLD_S


def _remove(path: Path) -> bool:
    """Remove it, and restore the file that it was about to replace, if that is missing."""
    with suppress(OSError):  # of another user; or another process was faster
        for old in (path / _REPLACED).iterdir() if (path / _REPLACED).is_dir() else ():
            if not (path.parent / old.name).exists():
                old.replace(path.parent / old.name)
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
        return True
    return False
