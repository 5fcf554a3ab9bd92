"""The formats by name. A module loads when it is used."""

from importlib import import_module
from typing import Any

from defect_detection.errors import DataError

NAMES = ("coco", "yolo", "voc", "datumaro", "cvat", "labelstudio", "mvtec")


def format_of(name: str) -> Any:
    """Return the module of a format: ``read(source, lost)``, and ``write(items, folder, lost)``, which returns what it wrote.

    Raises:
        DataError: no such format.
    """
    if name not in NAMES:
        raise DataError(f"--format: expected {', '.join(NAMES[:-1])} or {NAMES[-1]}, received {name!r}")
    return import_module(f"defect_detection.formats.{name}")
