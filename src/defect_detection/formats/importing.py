"""Write another tool's data set as our folders: classes, masks and ``index.csv``. Everything is checked before anything is written."""

import csv
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np
from PIL import Image

from defect_detection.config import Config
from defect_detection.data.bounds import Limits
from defect_detection.data.class_names import comparable, shown, suggests_ok, why_no_type
from defect_detection.data.images import read_header
from defect_detection.data.index_file import COLUMNS, NAME, shortened
from defect_detection.errors import DataError, ImageError
from defect_detection.files.unfinished import is_free, whole_folder
from defect_detection.formats.areas import Area, MaskFile
from defect_detection.formats.files import put
from defect_detection.formats.items import TEST, TRAIN, VALIDATION, Item, Lost, Mark
from defect_detection.formats.table import format_of
from defect_detection.processes.watch import OnProgress
from defect_detection.text import cell, printable

MASKS = "masks"
Unlabelled = Literal["ok", "skip"]


@dataclass(frozen=True)
class LabelRules:
    """How labels become classes. renamed: labels by their old name. unlabelled: what an image without any annotation is."""

    ok_classes: tuple[str, ...]
    defect_classes: tuple[str, ...]
    renamed: Mapping[str, str]
    unlabelled: Unlabelled
    limits: Limits


def rules_of(config: Config, renames: Iterable[str], unlabelled: str) -> LabelRules:
    """Return the rules of a project. Raises `DataError` where an option is wrong."""
    if unlabelled not in ("ok", "skip"):
        raise DataError(f"--unlabelled: expected ok or skip, received {unlabelled!r}")
    renamed: dict[str, str] = {}
    for text in renames:
        old, sign, new = text.rpartition("=")  # no name of a class has a "="
        if not (sign and old and new.strip()):
            raise DataError(f"--rename: expected OLD=NEW, received {text!r}")
        if old in renamed:
            raise DataError(
                f"--rename: {old!r} is renamed twice, to {renamed[old]!r} and {new!r}; remove one"
            )
        renamed[old] = new.strip()
    data = config.data
    kept: Unlabelled = "skip" if unlabelled == "skip" else "ok"
    return LabelRules(data.ok_classes, data.defect_classes, renamed, kept, Limits.of(data))


def refuse_among_images(folder: Path, config: Config) -> None:
    """Refuse to write where images are looked for: the next training would take what is written for images of its own.

    Raises:
        DataError: the folder lies in a folder of images. Names the key.
    """
    for key in ("train_dir", "test_dir", "feedback_dir", "challenge_dir"):
        images = getattr(config.data, key)
        if images and folder.resolve().is_relative_to(images.resolve()):
            raise DataError(
                f"{folder}: expected a folder outside data.{key} ({images}); choose another folder"
            )


@dataclass(frozen=True)
class Imported:
    """What was written. counts: images by (split, class). said: what is not carried over or was decided, one line each."""

    folder: Path
    counts: Mapping[tuple[str, str], int]
    masks: int
    said: tuple[str, ...]


@dataclass(frozen=True)
class _Classified:
    """An image whose class is known. areas: none of an OK image."""

    item: Item
    split: str
    types: tuple[str, ...]
    areas: tuple[Area, ...]
    size: tuple[int, int]


def import_data(
    form: str, source: Path, folder: Path, rules: LabelRules, on_progress: OnProgress | None = None
) -> Imported:
    """Read `source`, check all of it, and write ``train/CLASS``, ``test/CLASS``, ``masks`` and ``index.csv``.

    Args:
        form: a name of `table.NAMES`.
        folder: must not exist, or hold no file. It appears when all is written, or not at all.

    Raises:
        DataError: files are missing or damaged, annotations do not fit their images, labels contradict each other, or the folder
            holds data. Names each file and key.
    """
    if not is_free(folder):
        raise DataError(
            f"{folder}: expected a new or empty folder, received one that holds files; choose another --output"
        )
    if not source.exists():
        raise DataError(f"{source}: no such file or folder")
    lost = Lost()
    items = format_of(form).read(source, lost)
    ready = _Checking(rules, lost).all(items, source)
    with whole_folder(folder) as new:
        _write(ready, new, rules, on_progress or (lambda done, total: None))
    counts = Counter((one.split, "; ".join(one.types) or "ok") for one in ready)
    notes = [f"not carried over: {line}" for line in lost.lines()] + _notes(ready)
    return Imported(folder, counts, sum(bool(one.areas) for one in ready), tuple(notes))


def _notes(ready: Sequence[_Classified]) -> list[str]:
    notes = []
    unlabelled = sum(_is_unsaid(one.item) for one in ready)
    validation = sum(one.item.split in VALIDATION for one in ready)
    if unlabelled:
        notes.append(
            f"{unlabelled} images without any annotation count as OK (--unlabelled skip leaves them out)"
        )
    if validation:
        notes.append(
            f"{validation} images for validation are in {TRAIN}: training chooses its own validation images"
        )
    without = sum(bool(one.types) and not one.areas for one in ready)
    if without:
        notes.append(
            f"{without} defective images have no mask, because nothing marks the place of the defect"
        )
    if not any(one.split == TEST for one in ready):
        notes.append(
            f"there are no test images: move some parts of each class from {TRAIN} to {TEST}, with their rows of {NAME}"
        )
    return notes


class _Checking:
    """Collect what is wrong with all images, so that one run names it."""

    def __init__(self, rules: LabelRules, lost: Lost) -> None:
        self._rules, self._lost = rules, lost
        self._ok = {comparable(name) for name in (*rules.ok_classes, "ok")}
        self._defects = set(map(comparable, rules.defect_classes))
        self._problems: list[str] = []
        self._bad_names: dict[str, str] = {}
        self._used: set[str] = set()

    def all(self, items: Sequence[Item], source: Path) -> list[_Classified]:
        """Return the images to write. Raises `DataError` with what is wrong."""
        self._listed_twice(items)
        wanted = [one for one in items if self._is_wanted(one)]
        with ThreadPoolExecutor() as threads:
            sizes = list(threads.map(_size_of, wanted))
        found = [one for item, size in zip(wanted, sizes, strict=True) if (one := self._ready(item, size))]
        self._problems += [f"label {name!r}: {why}" for name, why in self._bad_names.items()]
        unused = sorted(set(self._rules.renamed) - self._used)
        self._problems += [f"--rename {name}=…: no image has the label {name!r}" for name in unused]
        if self._problems:
            text = "\n  ".join(shortened([printable(one) for one in self._problems]))
            raise DataError(
                f"{source}: nothing was written, because of {len(self._problems)} problems:\n  {text}"
            )
        if not found:
            raise DataError(f"{source}: expected images with annotations, received none that can be used")
        return found

    def _listed_twice(self, items: Iterable[Item]) -> None:
        places: dict[Path, list[str]] = defaultdict(list)
        for one in items:
            places[one.path].append(one.where)
        for path, where in places.items():
            if len(where) > 1:
                self._problems.append(
                    f"{where[1]}: {path.name} is listed before, in {where[0]}; expected one entry for each file"
                )

    def _is_wanted(self, one: Item) -> bool:
        if one.is_annotated is False:
            self._lost.add("images that are not annotated yet", one.where)
        elif _is_unsaid(one) and self._rules.unlabelled == "skip":
            self._lost.add("images without any annotation", one.where)
        else:
            return True
        return False

    def _ready(self, one: Item, size: tuple[int, int] | str) -> _Classified | None:
        before = len(self._problems)
        self._check_size(one, size)
        ok, defects = self._sorted(one)
        if ok and defects:
            self._problems.append(
                f"{defects[0].where}: {one.path.name} has the label {defects[0].label!r} and the OK label {ok[0].label!r} "
                f"({ok[0].where}); remove one"
            )
        if isinstance(size, str) or len(self._problems) > before:
            return None
        areas = self._areas(one, defects, size)
        for mark in ok:
            if mark.area is not None:
                self._lost.add("areas of OK labels", mark.where)
        # The mask is of the first type, so types with a place come first.
        types = tuple(dict.fromkeys(map(self._name, sorted(defects, key=lambda mark: mark.area is None))))
        split = TEST if one.split == TEST else TRAIN
        return _Classified(one, split, types, areas, size)

    def _check_size(self, one: Item, size: tuple[int, int] | str) -> None:
        if isinstance(size, str):
            self._problems.append(f"{one.where}: {size}")
            return
        if one.size not in (None, size):
            stated = "{} x {} px".format(*one.size or ())
            self._problems.append(
                f"{one.where}: its size is given as {stated}, but {one.path.name} has {size[0]} x {size[1]} px (upright); correct the "
                "size, or export the image with its annotations again"
            )
        if why := self._rules.limits.why_too_large(*size):
            self._problems.append(f"{one.where}: {why}")

    def _sorted(self, one: Item) -> tuple[list[Mark], list[Mark]]:
        """Return the marks with an OK label, and those with a defect."""
        ok: list[Mark] = []
        defects: list[Mark] = []
        for mark in one.marks:
            name = self._name(mark)
            is_ok = comparable(name) in self._ok
            (ok if is_ok else defects).append(mark)
            if not is_ok and (why := self._why_no_type(mark.label, name)):
                self._bad_names.setdefault(mark.label, why)
        return ok, defects

    def _why_no_type(self, label: str, name: str) -> str | None:
        if why := why_no_type(name, self._rules.ok_classes):
            return f"as a defect type it is {why}; name another with --rename '{label}=NEW'"
        if comparable(name) in self._defects or not suggests_ok(name, self._ok):
            return None
        return (
            f"it resembles an OK class but would count as defective: add --rename '{label}=ok' if its images are OK, or "
            f"'{name}' to data.defect_classes if they are defective"
        )

    def _name(self, mark: Mark) -> str:
        if mark.label in self._rules.renamed:
            self._used.add(mark.label)
        return shown(self._rules.renamed.get(mark.label, mark.label))

    def _areas(self, one: Item, marks: Iterable[Mark], size: tuple[int, int]) -> tuple[Area, ...]:
        areas: list[Area] = []
        for mark in marks:
            area = mark.area
            if area is None or area.covers(*size):
                continue
            if isinstance(area, MaskFile):
                area = replace(area, limits=self._rules.limits)
            if problem := area.problem(*size):
                self._problems.append(f"{mark.where}: {problem} ({one.path.name})")
            areas.append(area)
        return tuple(areas)


def _is_unsaid(one: Item) -> bool:
    """Check for an image of which nothing is said, not even that somebody has looked at it."""
    return not one.marks and one.is_annotated is None


def _size_of(one: Item) -> tuple[int, int] | str:
    """Return (width, height) of an image, upright; or why it cannot be read."""
    try:
        header = read_header(one.path)
    except ImageError as error:
        return str(error)
    return header.width, header.height


def _write(ready: Sequence[_Classified], folder: Path, rules: LabelRules, on_progress: OnProgress) -> None:
    for split in (TRAIN, TEST):
        (folder / split).mkdir()
    ok = "ok" if "ok" in map(comparable, rules.ok_classes) else rules.ok_classes[0]
    rows = []
    for done, (one, name) in enumerate(_named(ready, ok), 1):
        file = PurePosixPath(one.split, one.types[0] if one.types else ok, name)
        put(one.item.path, folder / file)
        mask = PurePosixPath(MASKS, file).with_suffix(".png") if one.areas else None
        if mask:
            _write_mask(one, folder / mask)
        rows.append(
            (str(file), "defective" if one.types else "ok", "; ".join(one.types), "", str(mask or ""))
        )
        on_progress(done, len(ready))
    with (folder / NAME).open("w", newline="", encoding="utf-8") as file_:
        writer = csv.writer(file_, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(
            (file, label, cell(types), group, mask) for file, label, types, group, mask in sorted(rows)
        )


def _named(ready: Sequence[_Classified], ok: str) -> Iterable[tuple[_Classified, str]]:
    """Yield each image with its name in the folder of its class: its own, with its folders where that is taken."""
    taken: Counter[tuple[str, str, str]] = Counter()
    for one in ready:
        place = one.split, comparable(one.types[0] if one.types else ok)
        name = printable(one.item.path.name).lstrip(".")
        key = (*place, PurePosixPath(name).stem.casefold())
        taken[key] += 1
        if taken[key] > 1:
            name = f"{PurePosixPath(name).stem}~{taken[key]}{PurePosixPath(name).suffix}"
        yield one, name


def _write_mask(one: _Classified, path: Path) -> None:
    marked = np.zeros(one.size[::-1], bool)
    for area in one.areas:
        marked |= area.draw(*one.size)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(marked.astype(np.uint8) * 255).save(path)
