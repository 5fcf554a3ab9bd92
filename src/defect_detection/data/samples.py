"""Find the images of a folder, with label, defect type, group and content hash."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from defect_detection.data.class_names import comparable
from defect_detection.data.classes import DEFECTIVE, OK, Classes, Meaning, meanings, refuse_questions
from defect_detection.data.index import NOTHING_SAID, Index, IndexRow, read_index
from defect_detection.data.index_file import NAME as INDEX_NAME
from defect_detection.data.index_file import shortened
from defect_detection.data.mask_pictures import find_mask_pictures
from defect_detection.data.parts_in_paths import parts_in
from defect_detection.data.walk import Skipped, Walked, in_words, reasons, walk
from defect_detection.errors import DataError
from defect_detection.text import printable

__all__ = [
    "DEFECTIVE",
    "OK",
    "Sample",
    "Scanned",
    "Skipped",
    "fingerprint",
    "labels_of",
    "scan",
    "scan_folder",
]


@dataclass(frozen=True, slots=True)
class Sample:
    """One image and what is known about it."""

    path: Path
    label: int  # 1 = defective, 0 = OK
    defect_type: str  # "" for OK
    group: str  # the name that the user gives its part (see `data.parts`); "" = none
    sha256: str  # of the file's bytes, hex
    mask: Path | None = None
    more_types: tuple[str, ...] = ()  # beside defect_type

    @property
    def defect_types(self) -> tuple[str, ...]:
        """All types of defects that it has."""
        return (self.defect_type, *self.more_types) if self.defect_type else ()


@dataclass(frozen=True)
class Scanned:
    """The images of a folder, with their classes.

    counts: images by (class folder, label). left_out: how often each (kind, name). masks: samples that look like masks of others.
    notes: what else has no effect.
    """

    folder: Path
    samples: list[Sample]
    skipped: list[Skipped]
    counts: Counter[tuple[str, int]]
    left_out: Counter[tuple[str, str]]
    masks: list[Path]
    notes: tuple[str, ...] = ()

    @property
    def understood(self) -> str:
        """Return each class folder with its meaning: ``ok: 31 OK; scratch: 12 defective``."""
        names = {OK: "OK", DEFECTIVE: "defective"}
        parts = [f"{place}: {count} {names[label]}" for (place, label), count in sorted(self.counts.items())]
        return "; ".join(parts) or "no images"

    def said(self) -> list[str]:
        """Describe the classes of the folder, the skipped files with reasons, and the files left out."""
        left_out = in_words(self.left_out)
        lines = [*reasons(self.skipped), *self.notes, *([f"left out: {left_out}"] if left_out else [])]
        return [f"{printable(self.folder)}: {self.understood}", *(f"  {line}" for line in lines)]


def scan(
    folder: Path, ok_classes: Sequence[str], group_pattern: str | None = None
) -> tuple[list[Sample], list[Skipped]]:
    """Return the images below a folder and the skipped files; the short form of `scan_folder`."""
    scanned = scan_folder(folder, ok_classes, group_pattern)
    return scanned.samples, scanned.skipped


def scan_folder(
    folder: Path,
    ok_classes: Sequence[str],
    group_pattern: str | None = None,
    defect_classes: Sequence[str] = (),
    content_hash: Callable[[Path], str | Skipped] | None = None,
) -> Scanned:
    """Find the images below a folder that holds one folder per class.

    Images in a folder named as one of `ok_classes` are OK; those of any other are defective, with its name as their defect type.
    Case, outer blanks and Unicode forms of names don't matter. Folders may be nested; what a folder above the classes means, and
    which names are asked about, says `defect_detection.data.classes`. What counts as an image, and what is left out, says
    `defect_detection.data.walk`. An ``index.csv`` in the folder or its parent wins, see `defect_detection.data.index`.

    Args:
        folder: such as ``data/train``.
        ok_classes: names of folders with OK images.
        group_pattern: regular expression with one group, searched in the path below `folder` of every image
            that the index gives no group.
        defect_classes: names of folders with defective images, where that is not clear by itself.
        content_hash: for who needs none, or knows it; by default the file is read.

    Raises:
        DataError: no such folder, folders that may hold OK or defective images, a wrong index, or an image that
            `group_pattern` doesn't match.
    """
    if not folder.is_dir():
        raise DataError(
            f"{folder}: no such folder; expected a folder that contains one folder of images per class"
        )
    classes, walked = Classes.of(ok_classes, defect_classes), walk(folder)
    _refuse_inner_indexes(walked, folder)
    index = read_index(folder, classes, walked.images)
    listed = index.rows.keys() - {item.path for item in walked.skipped}
    paths = sorted({*walked.images, *listed} - index.masks)
    places = {path.parent: path.parent.relative_to(folder).parts for path in paths}
    found = meanings(places.values(), classes)
    meant = {path: found.get(places[path.parent]) for path in paths}
    rows = {path: index.rows.get(path, NOTHING_SAID) for path in paths}
    refuse_questions(folder, Counter(one for path, one in meant.items() if one and rows[path].label is None))
    with ThreadPoolExecutor() as threads:
        hashes = list(threads.map(content_hash or _content_hash, paths))
    items = [
        _sample(path, sha256, meant[path], rows[path]) if isinstance(sha256, str) else sha256
        for path, sha256 in zip(paths, hashes, strict=True)
    ]
    samples = _with_one_spelling([item for item in items if isinstance(item, Sample)])
    skipped = [*walked.skipped, *(item for item in items if isinstance(item, Skipped))]
    return Scanned(
        folder,
        _grouped(samples, folder, group_pattern),
        sorted(skipped, key=lambda item: item.path),
        _counted((_place_in_words(meant[sample.path]), sample.label) for sample in samples),
        _without_index(walked, index),
        find_mask_pictures([sample.path for sample in samples if sample.path not in index.rows], folder),
        index.notes,
    )


def labels_of(samples: Iterable[Sample]) -> np.ndarray:
    """Return the labels, int64 array of shape (n_samples,), 1 = defective."""
    return np.array([sample.label for sample in samples], np.int64)


def fingerprint(samples: Iterable[Sample]) -> str:
    """Return a hash (sha256, hex) of contents, labels and groups; paths and order don't change it."""
    lines = sorted(f"{sample.sha256} {sample.label} {sample.group}\n" for sample in samples)
    return hashlib.sha256("".join(lines).encode(errors="surrogateescape")).hexdigest()


def _refuse_inner_indexes(walked: Walked, folder: Path) -> None:
    """Refuse an index in a subfolder, because its groups would be lost."""
    inner = [path for path in walked.indexes if path.parent != folder]
    if inner:
        names = "\n  ".join(shortened([str(path) for path in inner]))
        raise DataError(
            f"{folder}: {INDEX_NAME} is only read in this folder and in its parent folder, but was also found in:\n  "
            f"{names}\nMove the "
            f"rows into {folder / INDEX_NAME}, and remove these files"
        )


def _place_in_words(meaning: Meaning | None) -> str:
    return meaning.place if meaning else "in no folder"


def _counted(images: Iterable[tuple[str, int]]) -> Counter[tuple[str, int]]:
    """Count images by class folder and label; spellings of one class count together."""
    spelling: dict[str, str] = {}
    return Counter((spelling.setdefault(comparable(place), place), label) for place, label in images)


def _without_index(walked: Walked, index: Index) -> Counter[tuple[str, str]]:
    """Return what was left out; the index that was read is none of it."""
    used = Counter({("side file", ".csv"): int(index.path in walked.indexes)})
    return walked.left_out - used


def _content_hash(path: Path) -> str | Skipped:
    try:
        if path.stat().st_size == 0:
            return Skipped(path, "empty file (0 bytes)")
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        return Skipped(path, f"cannot be read ({error.strerror})")


def _sample(path: Path, sha256: str, meaning: Meaning | None, row: IndexRow) -> Sample | Skipped:
    """Combine index and folder for an image; the index takes precedence."""
    if row.label is None and meaning is None:
        return Skipped(path, "not in a class folder, and without a label in index.csv")
    label = row.label if row.label is not None or meaning is None else meaning.label
    folder_type = meaning.defect_type if meaning else ""
    defect_type = (row.defect_type or folder_type or "defective") if label == DEFECTIVE else ""
    more = row.more_types if label == DEFECTIVE else ()
    return Sample(
        path, DEFECTIVE if label == DEFECTIVE else OK, defect_type, row.group, sha256, row.mask, more
    )


def _with_one_spelling(samples: list[Sample]) -> list[Sample]:
    """Name each type of defect as its first sample does, where spellings differ in case or blanks."""
    spelling: dict[str, str] = {}
    for name in (name for sample in samples for name in sample.defect_types):
        spelling.setdefault(comparable(name), name)
    return [_spelt(one, spelling) if one.defect_type else one for one in samples]


def _spelt(sample: Sample, spelling: dict[str, str]) -> Sample:
    first, *more = dict.fromkeys(spelling[comparable(name)] for name in sample.defect_types)
    return replace(sample, defect_type=first, more_types=tuple(more))


def _grouped(samples: list[Sample], folder: Path, pattern: str | None) -> list[Sample]:
    """Give a group to those that have none, from their path below the folder."""
    if pattern is None:
        return samples
    paths = [sample.path for sample in samples if not sample.group]
    found = parts_in(pattern, [path.relative_to(folder).as_posix() for path in paths])
    unmatched = [printable(path) for path, part in zip(paths, found, strict=True) if part is None]
    if unmatched:
        raise DataError(
            f"data.group_pattern: expected '{pattern}' in the path of every image below {folder}, "
            f"not found in {len(unmatched)}:\n  " + "\n  ".join(shortened(unmatched))
        )
    groups = {path: printable(part or "") for path, part in zip(paths, found, strict=True)}
    return [replace(sample, group=groups.get(sample.path, sample.group)) for sample in samples]
