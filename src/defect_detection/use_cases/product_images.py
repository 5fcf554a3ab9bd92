"""List the images of a product: where each lies, its label, types, part and tag. The list stays in memory until a folder changes."""

import hashlib
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Literal

from defect_detection.config import Config
from defect_detection.data.classes import DEFECTIVE, Classes
from defect_detection.data.image_folders import (
    FOLDER,
    ImagePlace,
    folders_of,
    why_not_shown,
    why_unchangeable,
)
from defect_detection.data.index import read_index
from defect_detection.data.index_edit import KeptIndexes
from defect_detection.data.index_file import NAME as INDEX_NAME
from defect_detection.data.index_file import shortened
from defect_detection.data.parts_in_paths import parts_in
from defect_detection.data.samples import scan_folder
from defect_detection.data.walk import walk
from defect_detection.data.whole_changes import finish_changes
from defect_detection.errors import DataError
from defect_detection.files.unfinished import remove_leftovers
from defect_detection.text import from_root, printable

Label = Literal["ok", "defective"]
Stamp = tuple[int, ...] | None  # of a folder or index: another one means that it has changed


@dataclass(frozen=True)
class ProductImage:
    """One image. file: seen from the folder of the product, with slashes. label: None: it has none yet.

    modified_ns: when its file was written, as the program that made it says. inode: stays when the file moves.
    """

    file: str
    place: ImagePlace
    label: Label | None
    types: tuple[str, ...]
    part: str
    n_bytes: int
    modified_ns: int
    inode: int

    @cached_property
    def tag(self) -> str:
        """The state that a request about this image carries."""
        facts = (self.file, self.label, self.types, self.part, self.n_bytes, self.modified_ns)
        return hashlib.sha256(repr(facts).encode(errors="surrogateescape")).hexdigest()[:12]

    @property
    def name(self) -> str:
        return self.file.rpartition("/")[2]

    @property
    def day(self) -> str:
        """The day on which it was taken, as its file says; "" where that is no date."""
        try:
            return datetime.fromtimestamp(self.modified_ns / 1e9).date().isoformat()
        except (ValueError, OverflowError, OSError):
            return ""

    @property
    def said(self) -> str:
        """What is known about it, for the audit trail."""
        label = "no label" if self.label is None else ", ".join((self.label, *self.types))
        return f"{self.file}: {label}{f'; part {self.part}' if self.part else ''}"


@dataclass
class ListedImages:
    """The images of a product by their file. problems: why images are shown without what is known about them, and not changed.

    notes: which images are not shown.
    """

    images: dict[str, ProductImage]
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    stamps: dict[Path, Stamp] = field(default_factory=dict)

    @property
    def state(self) -> str:
        """Of all images together: another one means that something has changed."""
        tags = "".join(sorted(image.tag for image in self.images.values()))
        return hashlib.sha256(tags.encode()).hexdigest()[:16]

    def at(self, *places: ImagePlace) -> Iterator[ProductImage]:
        return (image for image in self.images.values() if image.place in places)


class ProductImages:
    """The images of one product, for all threads of a server."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.changing = (
            threading.RLock()
        )  # held while they are changed: beside `alone`, which is for processes
        self.indexes = KeptIndexes()
        self._looking = threading.Lock()
        self._listed: ListedImages | None = None
        self._hashes: dict[tuple[int, int, int], str] = {}  # by inode, size and time

    @property
    def why_unchangeable(self) -> str | None:
        return why_unchangeable(self.config)

    def listed(self) -> ListedImages:
        """Return the images as they are now. Do not change the result."""
        if current := self._current():
            return current
        with self.changing:  # of images that are just being moved, the list would be wrong
            finish_changes(self.config.root)
            if current := self._current():
                return current
            if self._listed is None:
                remove_leftovers([self.config.root / FOLDER, *folders_of(self.config).values()])
            with self._looking:
                self._listed = _read(self.config)
                return self._listed

    def _current(self) -> ListedImages | None:
        """Return the list that was read last, unless something has changed since."""
        with self._looking:
            listed = self._listed
            return listed if listed and self._stamps(listed.stamps) == listed.stamps else None

    def replace(self, old: Iterable[str], new: Sequence[ProductImage]) -> None:
        """Note what was changed, so that the folders need not be read again."""
        with self._looking:
            if self._listed is None:
                return
            images = dict(self._listed.images)
            for file in old:
                images.pop(file, None)
            images.update((image.file, image) for image in new)
            folders = {*self._listed.stamps, *(self.path(image).parent for image in new)}
            before = self._listed
            self._listed = ListedImages(images, before.problems, before.notes, self._stamps(folders))

    def is_as_listed(self, image: ProductImage) -> bool:
        """Say whether a file is the one that was listed. If not, the folders will be read again."""
        try:
            status = self.path(image).stat()
        except OSError:
            status = None
        if status and (status.st_size, status.st_mtime_ns) == (image.n_bytes, image.modified_ns):
            return True
        with self._looking:
            self._listed = None
        return False

    def path(self, image: ProductImage) -> Path:
        return self.config.root / image.file

    def hash_of(self, image: ProductImage) -> str:
        """Return the hash (sha256, hex) of an image's content. It is read once.

        Raises:
            OSError: it is gone, or can't be read.
        """
        key = (image.inode, image.n_bytes, image.modified_ns)
        if key not in self._hashes:
            with self.path(image).open("rb") as file:
                self._hashes[key] = hashlib.file_digest(file, "sha256").hexdigest()
        return self._hashes[key]

    def of_content(self, content: bytes) -> list[ProductImage]:
        """Return the images with this content. Only those of the same size are read."""
        alike = [image for image in self.listed().images.values() if image.n_bytes == len(content)]
        if not alike:
            return []
        sha256 = hashlib.sha256(content).hexdigest()
        found = []
        for image in alike:
            with suppress(OSError):
                if self.hash_of(image) == sha256:
                    found.append(image)
        return found

    def _stamps(self, folders: Iterable[Path]) -> dict[Path, Stamp]:
        found = set(folders)
        for folder in folders_of(self.config).values():
            found |= {folder, folder / INDEX_NAME, folder.parent / INDEX_NAME}
        return {folder: _stamp(folder) for folder in found}


def _stamp(path: Path) -> Stamp:
    try:
        status = path.stat()
    except OSError:
        return None
    return (
        status.st_mtime_ns,
        status.st_ctime_ns,
        status.st_size,
        status.st_ino,
    )  # who writes a file may set its first time


def _read(config: Config) -> ListedImages:
    folders = folders_of(config)
    stamps = {
        path: _stamp(path)
        for folder in folders.values()
        for path in (folder, folder / INDEX_NAME, folder.parent / INDEX_NAME)
    }
    found: list[ProductImage] = []
    problems: list[str] = []
    for place, folder in folders.items():
        if not folder.is_dir():
            continue
        stamps |= {path: _stamp(path) for path in _folders_below(folder)}
        try:
            found += (
                _labelled(config, place, folder)
                if place in ("train", "test")
                else _others(config, place, folder)
            )
        except DataError as error:
            problems.append(str(error))
            found += _plain(config, place, folder)
    shown = {image.file: image for image in found if why_not_shown(image.file) is None}
    odd = [
        f"not shown: {printable(one.file)}: rename it, its name {why_not_shown(one.file)}"
        for one in found
        if one.file not in shown
    ]
    return ListedImages(shown, tuple(problems), tuple(shortened(odd)), stamps)


def _folders_below(folder: Path) -> Iterator[Path]:
    return (Path(path) for path, _, _ in os.walk(folder))


def _labelled(config: Config, place: ImagePlace, folder: Path) -> Iterator[ProductImage]:
    data = config.data
    scanned = scan_folder(folder, data.ok_classes, None, data.defect_classes, content_hash=lambda _path: "")
    parts = parts_of_paths(config, [sample.path for sample in scanned.samples], folder)
    for sample, part in zip(scanned.samples, parts, strict=True):
        label: Label = "defective" if sample.label == DEFECTIVE else "ok"
        with suppress(OSError):  # gone meanwhile
            yield image_at(config.root, sample.path, place, label, sample.defect_types, sample.group or part)
    for item in scanned.skipped:
        with suppress(OSError):
            if item.path.is_file():
                yield image_at(config.root, item.path, place, None, (), "")


def _others(config: Config, place: ImagePlace, folder: Path) -> Iterator[ProductImage]:
    images = walk(folder).images
    index = read_index(folder, Classes.of(config.data.ok_classes, config.data.defect_classes), images)
    for path, by_pattern in zip(images, parts_of_paths(config, images, folder), strict=True):
        if path in index.masks:
            continue
        row = index.rows.get(path)
        part = (row.group if row else "") or by_pattern
        label, types = _said(config, place, path.parent.relative_to(folder).parts)
        if row and row.defect_type and label == "defective":
            types = (row.defect_type, *row.more_types)
        with suppress(OSError):
            yield image_at(config.root, path, place, label, types, part)


def _said(config: Config, place: ImagePlace, names: Sequence[str]) -> tuple[Label | None, tuple[str, ...]]:
    """Return label and types that the folders of an image say: ``train/scratch`` in the bin, ``scratch`` in challenge."""
    if place == "challenge":
        return "defective", tuple(names[:1])
    if place == "bin" and len(names) > 1 and names[0] != "unlabelled":
        is_ok = names[1].casefold() in {name.casefold() for name in config.data.ok_classes}
        return ("ok", ()) if is_ok and names[0] != "challenge" else ("defective", (names[1],))
    return None, ()


def _plain(config: Config, place: ImagePlace, folder: Path) -> Iterator[ProductImage]:
    for path in walk(folder).images:
        with suppress(OSError):
            yield image_at(config.root, path, place, None, (), "")


def parts_of_paths(config: Config, paths: Sequence[Path], folder: Path) -> list[str]:
    """Return the part that ``data.group_pattern`` finds in the path of each image; "" for none.

    Raises:
        DataError: the pattern takes too long.
    """
    if config.data.group_pattern is None:
        return [""] * len(paths)
    found = parts_in(config.data.group_pattern, [path.relative_to(folder).as_posix() for path in paths])
    return [printable(part or "") for part in found]


def image_at(
    root: Path, path: Path, place: ImagePlace, label: Label | None, types: tuple[str, ...], part: str
) -> ProductImage:
    status = path.stat()
    file = from_root(path, root).as_posix()
    return ProductImage(file, place, label, types, part, status.st_size, status.st_mtime_ns, status.st_ino)
