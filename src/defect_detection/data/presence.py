"""Check that there are images before anything else starts."""

import os
from pathlib import Path

from defect_detection.config import Config
from defect_detection.errors import DataError
from defect_detection.text import printable


def require_images(config: Config) -> None:
    """Check that both image folders contain files.

    Raises:
        DataError: one doesn't; the text says how to begin.
    """
    for key, folder in (("train_dir", config.data.train_dir), ("test_dir", config.data.test_dir)):
        if not _holds_a_file(folder):
            received = "an empty folder" if folder.is_dir() else "no such folder"
            raise DataError(
                f"data.{key}: expected a folder with one folder of images per class, such as ok and scratch, received "
                f"{received} ({printable(folder)}). Put your images there, or draw some with `defect sample-data`. `defect "
                "init` creates a new project"
            )


def _holds_a_file(folder: Path) -> bool:
    """Check for a file or a link (links are not followed, because they may form a loop)."""
    return any(
        files or any(os.path.islink(os.path.join(place, name)) for name in folders)  # noqa: PTH114, PTH118  as os.walk gives them
        for place, folders, files in os.walk(folder)
    )
