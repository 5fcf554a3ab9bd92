"""Detect masks among the images, by name, folder and number of gray levels."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from defect_detection.data.images import read_image
from defect_detection.errors import ImageError

_WORDS = r"(?:gts?|ground[ _-]?truth|masks?|labels?|lbl|seg|segm|segmentations?|anno|annot|annotations?|annotated|binary|bw|roi|m)"
_AFTER = re.compile(rf"(.+?)[ ._(-]+{_WORDS}(?:[ ._-]*\d+)?\)?", re.IGNORECASE)
_BEFORE = re.compile(rf"{_WORDS}[ ._-]+(.+)", re.IGNORECASE)
_FOLDER = re.compile(rf"(?:.*[ ._-])?{_WORDS}(?:[ ._-].*)?", re.IGNORECASE)
_SEAMS = re.compile(
    r"(?<=[a-z\d])(?=[A-Z])|(?<=\d)(?=[a-z])|(?<=[a-zA-Z])(?=\d)"
)  # between digits, letters and capitals
_LOSSLESS = frozenset({".png", ".bmp", ".tif", ".tiff"})
_LEAST_COVERED = 0.95  # of the pixels, by the two most common gray levels and their neighbours
_NEIGHBOURS = 2  # gray levels on each side: a mask saved as JPEG isn't exact
_FEW_LEVELS = 8
_TRIED = (
    3  # of the pictures in one folder; where none of them looks like a mask, its names mean something else
)


def find_mask_pictures(images: Sequence[Path], folder: Path) -> list[Path]:
    """Return the images below a folder that look like masks of other images there, in their order.

    Opens only files with a suspicious name or folder: ``a_mask.png`` or ``a.png`` beside ``a.jpg``, or
    ``ground_truth/a.png``.
    """
    by_folder: dict[Path, list[Path]] = defaultdict(list)
    for path in _named_as_masks(images, folder):
        by_folder[path.parent].append(path)
    return [path for paths in by_folder.values() for path in _masks_among(paths)]


def _named_as_masks(images: Iterable[Path], folder: Path) -> list[Path]:
    stems: dict[Path, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for path in images:
        stems[path.parent][_plain(path.stem)].add(path.suffix.lower())
    return [
        path
        for path in images
        if any(_FOLDER.fullmatch(_plain(part)) for part in path.relative_to(folder).parts[:-1])
        or _has_partner(path, stems[path.parent])
    ]


def _plain(name: str) -> str:
    """Return a name in lower case, with its words apart: ``007mask`` and ``007Mask`` are ``007_mask``."""
    apart = _SEAMS.sub("_", unicodedata.normalize("NFKC", name).strip())
    return apart.casefold()


def _has_partner(path: Path, stems: dict[str, set[str]]) -> bool:
    stem = _plain(path.stem)
    named = [found[1] for pattern in (_AFTER, _BEFORE) if (found := pattern.fullmatch(stem))]
    if any(partner in stems for partner in named):
        return True
    return path.suffix.lower() in _LOSSLESS and bool(stems[stem] & {".jpg", ".jpeg"})


def _masks_among(paths: Sequence[Path]) -> list[Path]:
    first = [path for path in paths[:_TRIED] if _has_few_levels(path)]
    return first + [path for path in paths[_TRIED:] if _has_few_levels(path)] if first else []


def _has_few_levels(path: Path) -> bool:
    try:
        gray = read_image(path).max(axis=2)
    except ImageError:
        return False
    counts = np.bincount(gray.ravel(), minlength=256)
    if np.count_nonzero(counts) <= _FEW_LEVELS:
        return True
    covered = 0
    for _ in range(2):
        level = int(counts.argmax())
        near = slice(max(0, level - _NEIGHBOURS), level + _NEIGHBOURS + 1)
        covered += int(counts[near].sum())
        counts[near] = 0
    return covered >= _LEAST_COVERED * gray.size
