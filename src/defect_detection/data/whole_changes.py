"""Move images and replace index files together: all of a change is done, or nothing.

New texts are written first, as ``.NAME.next`` beside the files that they replace. Then a journal in the product's folder lists all
renames, and then they are done. Last, the lines of the change are in the audit trail. The next process completes the journal of a
killed process, with its lines. A full disk fails before the journal.
"""

import errno
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from defect_detection.data.image_folders import FOLDER
from defect_detection.errors import BusyError, DataError
from defect_detection.files.trail import leave_all, leave_missing
from defect_detection.files.unfinished import write_text

JOURNAL = ".images-under-way.json"
LOCK = ".images.lock"
WAIT_S = 20.0
_PLANTS = (".", "../..")  # where the trail is, seen from the folder of a product

Move = tuple[Path, Path]


@dataclass
class Change:
    """What is to be done. moves: (from, to), in order; texts: the new text of a file; removed: files.

    emptied: folders that are removed if nothing is left in them, the innermost first.
    lines: of the audit trail; is_of_plant: it lies in the folder of the images, not two folders above, where the plant is.
    """

    moves: list[Move] = field(default_factory=list)
    texts: dict[Path, str] = field(default_factory=dict)
    removed: list[Path] = field(default_factory=list)
    emptied: list[Path] = field(default_factory=list)
    lines: list[dict[str, str]] = field(default_factory=list)
    is_of_plant: bool = True


@contextmanager
def alone(root: Path) -> Iterator[None]:
    """Lock the images of a product against other changes, and finish the change of a killed process.

    Raises:
        BusyError: another process holds the lock for long.
    """
    folder = root / FOLDER
    folder.mkdir(exist_ok=True)
    try:
        with FileLock(folder / LOCK, timeout=WAIT_S, poll_interval=0.01):
            _finish(folder, leave_missing)
            yield
    except Timeout:
        raise BusyError(
            f"{folder}: another process is changing these images: try again in a moment"
        ) from None


def finish_changes(root: Path) -> None:
    """Finish what a killed process began. Costs a look at one file."""
    if is_under_way(root):
        with alone(root):
            pass


def is_under_way(root: Path) -> bool:
    """Check for an unfinished change, which the next process completes."""
    return (root / FOLDER / JOURNAL).is_file()


def carry_out(root: Path, change: Change) -> None:
    """Carry out a change completely. The caller holds `alone`, and has chosen names that are free.

    Raises:
        OSError: nothing was done, or (after a fault of the disk) the next process completes the change.
    """
    folder = root / FOLDER
    _require_changeable(change)
    made = [made for _, new in change.moves for made in _made_for(new)]
    try:
        for path, text in change.texts.items():
            made += _made_for(path)
            write_text(_next(path), text)
        write_text(folder / JOURNAL, json.dumps(_journal(root, change)))
    except OSError:
        for path in change.texts:
            _next(path).unlink(missing_ok=True)
        _remove_empty(made[::-1])
        raise
    _finish(folder, leave_all)


def _require_changeable(change: Change) -> None:
    """Raise before any change if this user cannot write a folder: an unfinished change would block all later ones."""
    paths = [*chain(*change.moves), *change.removed]
    for folder in {path.parent for path in paths}:
        if folder.exists() and not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), os.fspath(folder))


def _journal(root: Path, change: Change) -> dict[str, Any]:
    def named(paths: Iterable[Path]) -> list[str]:
        return [path.relative_to(root).as_posix() for path in paths]

    moves = [named(move) for move in change.moves]
    lists = {"texts": change.texts, "removed": change.removed, "emptied": change.emptied}
    told = {"lines": change.lines, "plant": _PLANTS[0 if change.is_of_plant else 1]}
    return {"moves": moves, **{name: named(paths) for name, paths in lists.items()}, **told}


def _finish(folder: Path, leave: Callable[[Path, list[dict[str, str]]], None]) -> None:
    """Do what the journal lists, as far as it is not done. What is missing was done before. `leave` writes the trail."""
    journal, root = folder / JOURNAL, folder.parent
    if not journal.is_file():
        return
    said = _read(journal)
    for old, new in said["moves"]:
        (root / new).parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            if not (root / new).exists():  # it was moved, and another file has its old name since
                (root / old).replace(root / new)
    for name in said["texts"]:
        with suppress(FileNotFoundError):
            _next(root / name).replace(root / name)
    for name in said["removed"]:
        (root / name).unlink(missing_ok=True)
    _remove_empty([root / name for name in said["emptied"]])
    leave(root / said.get("plant", _PLANTS[0]), said.get("lines", []))  # earlier versions list none
    journal.unlink(missing_ok=True)


def _read(journal: Path) -> dict[str, Any]:
    """Return what a journal lists.

    Raises:
        DataError: it is damaged, or names a path outside the folder of the product.
    """
    try:
        said: dict[str, Any] = json.loads(journal.read_bytes())
        paths = [*chain(*said["moves"]), *said["texts"], *said["removed"], *said["emptied"]]
        is_whole = all(".." not in Path(path).parts and not Path(path).is_absolute() for path in paths)
        is_whole = is_whole and said.get("plant", _PLANTS[0]) in _PLANTS
        is_whole = is_whole and all(isinstance(line, dict) for line in said.get("lines", []))
    except (ValueError, KeyError, TypeError):
        is_whole = False
    if not is_whole:
        raise DataError(
            f"{journal}: expected a list of moves in this product, received something else: delete it"
        )
    return said


def _next(path: Path) -> Path:
    return path.with_name(f".{path.name}.next")


def _made_for(path: Path) -> list[Path]:
    """Make the folder of a file, and return the folders that were made, the innermost last."""
    missing = [one for one in path.parents if not one.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    return missing[::-1]


def _remove_empty(folders: Sequence[Path]) -> None:
    """Remove folders that hold nothing any more."""
    for folder in folders:
        with suppress(OSError):  # others use it
            folder.rmdir()
