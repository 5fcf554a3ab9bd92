"""Replace a folder and its text file together. One rename decides; the remaining steps are repeated after a kill.

.unfinished-…   being filled; after a kill the old folder and the old text count
.NAME.ready     holds `bundle` and `text`; from its rename on the new ones count, and `finish` puts them in their places
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

from defect_detection.files.unfinished import working_folder, write_text

LOCK_NAME = ".switch.lock"
_FOLDER, _TEXT = "bundle", "text"
_WAIT_S = 10.0


@contextmanager
def switched(folder: Path, file: Path) -> Iterator[tuple[Path, Callable[[str], None]]]:
    """Yield an empty folder and a function for the text. Both replace the old ones if the block succeeds."""
    folder = folder.absolute()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with working_folder(folder.parent) as partial:
        (partial / _FOLDER).mkdir()
        yield partial / _FOLDER, lambda text: write_text(partial / _TEXT, text)
        with alone(folder):
            _finish(folder, file)
            partial.replace(_ready(folder))
            _finish(folder, file)


def finish(folder: Path, file: Path) -> None:
    """Complete a replacement that a killed process had prepared. A read-only project is unchanged."""
    folder = folder.absolute()
    if _ready(folder).is_dir():
        with suppress(OSError), alone(folder):
            _finish(folder, file)


def alone(folder: Path) -> AbstractContextManager[object]:
    """Lock the folder against replacement."""
    from filelock import FileLock  # not at every start of a command

    return FileLock(folder.parent / LOCK_NAME, timeout=_WAIT_S)


def _ready(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.ready")


def _finish(folder: Path, file: Path) -> None:
    ready = _ready(folder)
    if (ready / _FOLDER).is_dir():
        if folder.exists():
            folder.replace(ready / "replaced")
        (ready / _FOLDER).replace(folder)
    if (ready / _TEXT).is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        write_text(file, (ready / _TEXT).read_text(encoding="utf-8"))
        (ready / _TEXT).unlink()
    shutil.rmtree(ready, ignore_errors=True)
