"""Read ``index.csv``: label, defect type, group and mask of each image.

Columns: ``file`` (relative to the folder of the index), and any of ``label``, ``defect_type``, ``group`` and ``mask``. An empty
cell leaves the matter to the folders. A label is 0 (OK) or 1, or the name of an OK class or of a class folder. Images that are
not listed are labelled by their folder. An image with several types of defects has them in one cell, separated by ``;``, or in one
row each. Unclear content is refused: a row that names no image is an error.
"""

import os
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from defect_detection.data.class_names import SPLITS, comparable, shown, suggests_ok
from defect_detection.data.classes import Classes
from defect_detection.data.index_file import IndexFile, index_in, read_rows, shortened
from defect_detection.errors import DataError
from defect_detection.text import absolute_path, printable


@dataclass(frozen=True, slots=True)
class IndexRow:
    """The row of the index for one image; None or "" for missing values."""

    line: int
    label: int | None
    defect_type: str
    group: str
    mask: Path | None
    more_types: tuple[str, ...] = ()

    def joined(self, other: "IndexRow") -> "IndexRow | None":
        """Return this row with the types of another one of the same image; None where that says anything else, or nothing new."""
        types = (self.defect_type, *self.more_types)
        new = tuple(one for one in (other.defect_type, *other.more_types) if one and one not in types)
        same = all(getattr(self, name) == getattr(other, name) for name in ("label", "group", "mask"))
        return replace(self, more_types=self.more_types + new) if same and new and types[0] else None


NOTHING_SAID = IndexRow(line=0, label=None, defect_type="", group="", mask=None)


@dataclass(frozen=True)
class Index:
    """Rows by the path of the image. notes: ignored parts of the index, as text."""

    rows: dict[Path, IndexRow] = field(default_factory=dict)
    path: Path | None = None
    notes: tuple[str, ...] = ()

    @property
    def masks(self) -> set[Path]:
        return {row.mask for row in self.rows.values() if row.mask is not None}


def read_index(folder: Path, classes: Classes, images: Sequence[Path]) -> Index:
    """Return the index in `folder` or in its parent, for files below `folder`.

    Args:
        images: found below `folder`; a row may spell their paths in another case, or with backslashes.

    Raises:
        DataError: the index can't be read, rows are wrong, or both folders hold an index for these images. Names the lines.
    """
    inner, outer = index_in(folder), index_in(Path(absolute_path(folder)).parent)
    read = [_Reading(folder, read_rows(path), classes, images).index() for path in (inner, outer) if path]
    used = [index for index in read if index.rows]
    if len(used) > 1:
        raise DataError(
            f"{used[0].path}: {used[1].path} also has rows for {len(used[1].rows)} files in {folder}; merge both into one "
            "index"
        )
    return (used or read or [Index()])[0]


class _Reading:
    """One index, read for one folder."""

    def __init__(self, folder: Path, file: IndexFile, classes: Classes, images: Sequence[Path]) -> None:
        self._folder = folder
        self._file = file
        self._below = os.path.join(absolute_path(folder), "")  # noqa: PTH118  strings: an index has many rows
        self._root = absolute_path(file.path.parent)
        self._ok = classes.ok
        self._labels = _known_labels(folder, images, classes)
        self._by_place = {absolute_path(path): path for path in images}

    @cached_property
    def _by_key(self) -> dict[str, list[Path]]:
        """Return the images by their place, as it is compared where spellings differ."""
        found: dict[str, list[Path]] = defaultdict(list)
        for place, path in self._by_place.items():
            found[_key(place)].append(path)
        return found

    @cached_property
    def _beside(self) -> set[str]:
        return {child.name for child in Path(self._root).iterdir() if child.is_dir()}

    def index(self) -> Index:
        rows: dict[Path, IndexRow] = {}
        problems: list[str] = []
        missing = 0
        for row in self._file.rows:
            named = row.cells["file"]
            file = self._found(named)
            if isinstance(file, str):
                missing += 1
                problems.append(f"line {row.line}: {file}")
            elif file is not None:
                found, wrong = self._row(row.line, row.cells)
                joined = rows[file].joined(found) if file in rows else found
                if joined is None:
                    wrong = [f"file '{printable(named)}' is also in line {rows[file].line}"]
                rows[file] = joined or rows[file]
                problems += [f"line {row.line}: {text}" for text in wrong]
        if missing:
            count = f"{missing} of {len(self._file.rows)} rows match no image"
            problems = [*shortened(problems), f"{count}; paths are relative to {self._root}"]
        if problems:
            raise DataError("\n".join(f"{self._file.path}: {text}" for text in shortened(problems)))
        return Index(rows, self._file.path, tuple(self._notes(rows.values())))

    def _notes(self, rows: Iterable[IndexRow]) -> Iterator[str]:
        unused = sum(row.label == 0 and self._names_a_defect(row.defect_type) for row in rows)
        if unused:
            yield f"{self._file.path}: defect type ignored in {unused} rows with the label OK"
        if self._file.unused:
            yield f"{self._file.path}: columns not used: {printable(', '.join(self._file.unused))}"
        if not self._file.rows:
            yield f"{self._file.path}: no row matches an image"

    def _found(self, named: str) -> Path | str | None:
        """Return the file of a cell; None if it is in another folder; or an error text."""
        spellings = [named, named.replace("\\", "/")]
        for spelling in spellings:
            place = self._place(spelling)
            if place in self._by_place:
                return self._by_place[place]
            if place.startswith(self._below) and Path(place).is_file():
                return self._folder / place.removeprefix(self._below)
        alike = self._by_key.get(_key(place), []) if self._may_be_below(place) else []
        if len(alike) == 1:
            return alike[0]
        if alike:
            return f"'{printable(named)}' matches {len(alike)} files, such as {alike[0].name} and {alike[1].name}"
        if self._may_be_below(place) or not self._is_elsewhere(place):
            return f"no such file: '{printable(named)}'"
        return None

    def _may_be_below(self, place: str) -> bool:
        return _key(place).startswith(_key(self._below))

    def _place(self, named: str) -> str:
        """Return the absolute path that a cell names; one that is absolute may reach the folder by a link."""
        place = os.path.normpath(os.path.join(self._root, named))  # noqa: PTH118
        if named.startswith("/") and self._inside_root(place) is None:
            real = os.path.relpath(os.path.realpath(place), os.path.realpath(self._root))
            if not real.startswith(".."):
                return os.path.normpath(os.path.join(self._root, real))  # noqa: PTH118
        return place

    def _inside_root(self, place: str) -> str | None:
        root = os.path.join(self._root, "")  # noqa: PTH118
        return place.removeprefix(root) if place.startswith(root) else None

    def _is_elsewhere(self, place: str) -> bool:
        """Check whether a path may belong to another split: a sibling folder, which may not have been copied."""
        first, apart, _ = (self._inside_root(place) or "").partition(os.sep)
        return bool(apart) and (first in self._beside or comparable(first) in SPLITS)

    def _row(self, line: int, cells: dict[str, str]) -> tuple[IndexRow, list[str]]:
        """Return the content of a row, and its errors."""
        said, types = cells.get("label", ""), _several(cells.get("defect_type", ""))
        label = self._label(said)
        problems = []
        if said and label is None:
            known = ", ".join(sorted(self._labels))
            problems.append(f"unknown label '{printable(said)}', expected one of: {known}")
        if not types and comparable(said) not in ("", "1", "defective"):
            types = _several(said)
        if label and (named_ok := [one for one in types if comparable(one) in self._ok]):
            problems.append(f"defect type '{named_ok[0]}' of a defective image is the name of an OK class")
        mask = self._mask(cells.get("mask", ""))
        if isinstance(mask, str):
            problems.append(mask)
            mask = None
        group = unicodedata.normalize("NFC", cells.get("group", ""))
        return IndexRow(line, label, types[0] if types else "", group, mask, types[1:]), problems

    def _label(self, said: str) -> int | None:
        """Return the label of a cell, which may name several types of defects."""
        labels = {self._labels.get(comparable(one)) for one in _several(said) or [said]}
        return labels.pop() if len(labels) == 1 else None

    def _names_a_defect(self, defect_type: str) -> bool:
        is_ok = self._labels.get(comparable(defect_type)) == 0 or suggests_ok(defect_type, self._ok)
        return bool(defect_type) and not is_ok

    def _mask(self, named: str) -> Path | str | None:
        if not named:
            return None
        places = [self._file.path.parent / spelling for spelling in (named, named.replace("\\", "/"))]
        return next((place for place in places if place.is_file()), f"no such mask: '{printable(named)}'")


def _several(cell: str) -> tuple[str, ...]:
    """Return the names in a cell, each once."""
    return tuple(dict.fromkeys(name for one in cell.split(";") if (name := shown(one))))


def _known_labels(folder: Path, images: Iterable[Path], classes: Classes) -> dict[str, int]:
    """Return the label of each name: the settings' lists, and folders that are clearly defect classes."""
    names = {part for parent in {path.parent for path in images} for part in parent.relative_to(folder).parts}
    folders = {comparable(name): 1 for name in names if not suggests_ok(name, classes.ok)}
    known = {"1": 1, "defective": 1, "0": 0, "ok": 0}
    return folders | known | dict.fromkeys(classes.defects, 1) | dict.fromkeys(classes.ok, 0)


def _key(place: str) -> str:
    """Normalise a path for comparison."""
    return unicodedata.normalize("NFC", place).casefold()
