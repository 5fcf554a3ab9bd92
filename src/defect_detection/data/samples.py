"""Find the images of a folder, with label, defect type, group and content hash."""

import hashlib
import os
import re
from collections.abc import Container, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from defect_detection.data.formats import IMAGE_SUFFIXES
from defect_detection.data.index import NOTHING_SAID, IndexRow, read_index, shortened
from defect_detection.errors import DataError
from defect_detection.text import printable

OK = 0
DEFECTIVE = 1


@dataclass(frozen=True, slots=True)
class Sample:
    """One image and what is known about it."""

    path: Path
    label: int  # 1 = defective, 0 = OK
    defect_type: str  # "" for OK
    group: str  # images of one group stay on one side of a split; "" = none
    sha256: str  # of the file's bytes, hex
    mask: Path | None = None


@dataclass(frozen=True, slots=True)
class Skipped:
    """One file that looks like an image but isn't used."""

    path: Path
    reason: str

    def __str__(self) -> str:
        return f"{printable(self.path)}: {self.reason}"


def scan(
    folder: Path, ok_classes: Sequence[str], group_pattern: str | None = None
) -> tuple[list[Sample], list[Skipped]]:
    """Return the images below a folder that holds one folder per class.

    Images in a folder named as one of `ok_classes` (in upper or lower case) are OK; those of any other are
    defective, with its name as their defect type. Folders may be nested. Hidden files and folders, and files
    without the ending of an image, are ignored. An ``index.csv`` in the folder or its parent wins, see
    `defect_detection.data.index`.

    Args:
        folder: such as ``data/train``.
        ok_classes: names of folders with OK images.
        group_pattern: regular expression with one group, searched in the path below `folder` of every image
            that the index gives no group.

    Raises:
        DataError: no such folder, a wrong index, or an image that `group_pattern` doesn't match.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; expected one with a folder of images per class in it")
    index = read_index(folder, ok_classes)
    paths = sorted({*_images_below(folder), *index})
    ok = {name.casefold() for name in ok_classes}
    with ThreadPoolExecutor() as threads:
        hashes = list(threads.map(_content_hash, paths))
    found = [
        _sample(path, sha256, _class_name(path, folder), index.get(path), ok)
        if isinstance(sha256, str)
        else sha256
        for path, sha256 in zip(paths, hashes, strict=True)
    ]
    samples = [item for item in found if isinstance(item, Sample)]
    skipped = [item for item in found if isinstance(item, Skipped)]
    return _grouped(samples, folder, group_pattern), skipped


def fingerprint(samples: Iterable[Sample]) -> str:
    """Return a hash (sha256, hex) of contents, labels and groups; paths and order don't change it."""
    lines = sorted(f"{sample.sha256} {sample.label} {sample.group}\n" for sample in samples)
    return hashlib.sha256("".join(lines).encode(errors="surrogateescape")).hexdigest()


def _class_name(path: Path, folder: Path) -> str:
    parts = path.relative_to(folder).parts
    return parts[0] if len(parts) > 1 else ""


def _images_below(folder: Path) -> Iterator[Path]:
    """Yield what has the ending of an image; links to folders are followed, each folder once."""
    visited: set[str] = set()
    for parent, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(parent)
        if real in visited:
            folders.clear()
            continue
        visited.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(parent, name) for name in files if _is_image(name))


def _is_image(name: str) -> bool:
    return not name.startswith(".") and Path(name).suffix.lower() in IMAGE_SUFFIXES


def _content_hash(path: Path) -> str | Skipped:
    try:
        if path.stat().st_size == 0:
            return Skipped(path, "empty file (0 bytes)")
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        return Skipped(path, f"can't be read ({error.strerror})")


def _sample(
    path: Path, sha256: str, class_name: str, row: IndexRow | None, ok: Container[str]
) -> Sample | Skipped:
    """Join what index and folder say about an image; the index wins."""
    row = row or NOTHING_SAID
    if row.label is None and not class_name:
        return Skipped(path, "in no class folder, and index.csv doesn't label it")
    folder_label = OK if class_name.casefold() in ok else DEFECTIVE
    label = folder_label if row.label is None else row.label
    folder_type = printable(class_name) if class_name and folder_label == DEFECTIVE else "defective"
    defect_type = (row.defect_type or folder_type) if label == DEFECTIVE else ""
    return Sample(path, label, defect_type, row.group, sha256, row.mask)


def _grouped(samples: list[Sample], folder: Path, pattern: str | None) -> list[Sample]:
    """Give a group to those that have none, from their path below the folder."""
    if pattern is None:
        return samples
    paths = [sample.path for sample in samples if not sample.group]
    matches = {path: re.search(pattern, path.relative_to(folder).as_posix()) for path in paths}
    unmatched = [printable(path) for path, match in matches.items() if match is None]
    if unmatched:
        raise DataError(
            f"data.group_pattern: expected '{pattern}' in the path of every image below {folder}, "
            f"not found in {len(unmatched)}:\n  " + "\n  ".join(shortened(unmatched))
        )
    groups = {path: printable(match[1] or "") for path, match in matches.items() if match is not None}
    return [replace(sample, group=groups.get(sample.path, sample.group)) for sample in samples]
