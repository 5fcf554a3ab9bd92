"""Mark a product whose images a training is reading, whoever started it: a command, the server or Python."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from defect_detection.data.image_folders import FOLDER
from defect_detection.files.unfinished import remove_leftovers, unfinished

_SUFFIX = ".train"


@contextmanager
def in_training(root: Path) -> Iterator[None]:
    """Mark the product in a folder as one that is trained. The mark of a killed process does not count.

    Args:
        root: the folder of the product. Where it has no folder for images, or one that cannot be written, nobody moves images there.
    """
    mark = unfinished(root / FOLDER, _SUFFIX)
    with suppress(OSError):
        mark.touch()
    try:
        yield
    finally:
        with suppress(OSError):
            mark.unlink(missing_ok=True)


def is_in_training(root: Path) -> bool:
    """Say whether a training of the product in a folder is running."""
    remove_leftovers([root / FOLDER])
    return any((root / FOLDER).glob(f".unfinished-*{_SUFFIX}"))
