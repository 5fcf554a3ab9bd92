"""Mark a product whose images a training is reading, started by a command, the server or Python."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from defect_detection.data.image_folders import FOLDER
from defect_detection.data.whole_changes import alone
from defect_detection.files.unfinished import unfinished

_SUFFIX = ".train"


@contextmanager
def in_training(root: Path) -> Iterator[None]:
    """Mark the product in a folder as being trained. The mark ends with the process, also after a kill or a power failure.

    Args:
        root: the folder of the product. If it cannot be written, no image can be moved either.

    Raises:
        BusyError: another process keeps changing these images. DataError: a change of them cannot be finished.
    """
    with ExitStack() as held:
        with suppress(OSError), alone(root):  # so that no split is chosen meanwhile
            held.enter_context(_marked(root))
        yield


@contextmanager
def _marked(root: Path) -> Iterator[None]:
    mark = unfinished(root / FOLDER, _SUFFIX)
    with _lock(mark):
        try:
            yield
        finally:
            with suppress(OSError):
                mark.unlink(missing_ok=True)


def is_in_training(root: Path) -> bool:
    """Check whether a training of the product in a folder is running. The caller holds `alone`."""
    return any(map(_is_held, (root / FOLDER).glob(f".unfinished-*{_SUFFIX}")))


def _is_held(mark: Path) -> bool:
    """Check whether a process holds a mark, and remove a mark that no process holds."""
    try:
        with _lock(mark):
            mark.unlink(missing_ok=True)
    except Timeout:
        return True
    return False


def _lock(mark: Path) -> FileLock:
    return FileLock(mark, timeout=0, mode=0o666)  # others must be able to look at it
