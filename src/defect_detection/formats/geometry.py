"""Read boxes, outlines and runs of pixels from lists of numbers."""

from typing import Any

import numpy as np

from defect_detection.errors import DataError
from defect_detection.formats.areas import Polygon, Runs, coco_counts
from defect_detection.formats.files import child, numbers, of_kind, whole_numbers


def four(values: object, where: str) -> list[float]:
    """Return the numbers of a box. Raises `DataError`."""
    found = numbers(of_kind(values, list, where), where)
    if len(found) != 4:
        raise DataError(f"{where}: expected 4 numbers (left, top, width, height), received {len(found)}")
    return found


def polygon(values: object, where: str) -> Polygon:
    """Return an outline from x, y, x, y, … Raises `DataError`."""
    found = numbers(of_kind(values, list, where), where)
    if len(found) < 6 or len(found) % 2:
        raise DataError(f"{where}: expected x and y of at least 3 corners, received {len(found)} numbers")
    return Polygon(np.array(found).reshape(-1, 2))


def runs(value: dict[str, Any], where: str) -> Runs:
    """Return runs of pixels from ``counts`` and ``size``. Raises `DataError`."""
    size = numbers(child(value, "size", list, where), f"{where}.size")
    counts = value.get("counts")
    if len(size) != 2:
        raise DataError(f"{where}.size: expected height and width, received {len(size)} numbers")
    if isinstance(counts, str):
        found = coco_counts(counts, f"{where}.counts")
    else:
        found = whole_numbers(of_kind(counts, list, f"{where}.counts"), f"{where}.counts")
    return Runs(found, (int(size[0]), int(size[1])))
