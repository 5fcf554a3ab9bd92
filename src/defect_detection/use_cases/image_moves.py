"""Plan the moves of images and the changes of their rows in ``index.csv``; `whole_changes` carries them out."""

from collections.abc import Sequence
from pathlib import Path

from defect_detection.data.class_names import comparable
from defect_detection.data.image_folders import ImagePlace, folders_of
from defect_detection.data.index_edit import Cells, Indexes, with_part
from defect_detection.data.whole_changes import Change, carry_out
from defect_detection.errors import DataError
from defect_detection.text import from_root
from defect_detection.use_cases.product_images import ProductImage, ProductImages, parts_of_paths


class Moves:
    """Collects the moves of one change."""

    def __init__(self, images: ProductImages) -> None:
        self._images, self._config = images, images.config
        self._folders = folders_of(images.config)
        self._indexes = Indexes(list(self._folders.values()), images.indexes)
        self._change = Change()
        self._taken: set[Path] = set()
        self._inside: set[Path] = set()  # folders that were looked at
        self._emptied: dict[Path, None] = {}
        self._classes: dict[Path, dict[str, str]] = {}

    def bring(self, pairs: Sequence[tuple[ProductImage, ProductImage]]) -> list[Path]:
        """Bring images, given as they are and as they are to be, into another state, and return their paths then."""
        paths = [self._path(one, wanted) for one, wanted in pairs]
        by_pattern = self._by_pattern(pairs, paths)
        for (one, wanted), new in zip(pairs, paths, strict=True):
            old = self._images.path(one)
            cells = self._indexes.take(old)
            if new != old:
                cells |= {"label": "", "defect_type": ""}
                self._move(old, new, one)
            if len(wanted.types) > 1 or one.types != wanted.types:
                cells["defect_type"] = ";".join(wanted.types) if len(wanted.types) > 1 else ""
            cells = _with_part(cells, one, wanted, by_pattern.get(new, ""))
            self._indexes.put(new, self._with_mask(cells, one, wanted))
        return paths

    def _path(self, one: ProductImage, wanted: ProductImage) -> Path:
        old = self._images.path(one)
        is_kept = (one.place, one.label, one.types[:1]) == (wanted.place, wanted.label, wanted.types[:1])
        return old if is_kept else self.free(self._folder(one, wanted) / old.name)

    def _by_pattern(
        self, pairs: Sequence[tuple[ProductImage, ProductImage]], paths: Sequence[Path]
    ) -> dict[Path, str]:
        """Return what ``data.group_pattern`` finds in the new paths of images that keep their part."""
        of_place: dict[ImagePlace, list[Path]] = {}
        for (one, wanted), new in zip(pairs, paths, strict=True):
            if wanted.part and wanted.part == one.part:
                of_place.setdefault(wanted.place, []).append(new)
        found: dict[Path, str] = {}
        for place, some in of_place.items():
            found |= zip(some, parts_of_paths(self._config, some, self._folders[place]), strict=True)
        return found

    def add(self, partial: Path, path: Path) -> None:
        """Give a new image its name."""
        self._change.moves.append((partial, path))

    def remove(self, one: ProductImage) -> None:
        """Delete an image, with its row and its mask."""
        path = self._images.path(one)
        mask = self._indexes.take(path)["mask"]
        is_own = bool(mask) and Path(mask).is_relative_to(self._folders[one.place])
        is_own = is_own and not self._indexes.is_mask_of_several(path, Path(mask))
        self._change.removed += [path, *([Path(mask)] if is_own else [])]
        self._note_emptied(path, one)

    def carry_out(self, lines: list[dict[str, str]]) -> None:
        """Do all of it as one change, which leaves lines in the trail. Raises as `whole_changes.carry_out`."""
        self._change.texts = self._indexes.texts()
        self._change.emptied = sorted(self._emptied, key=lambda folder: -len(folder.parts))
        self._change.lines, self._change.is_of_plant = lines, self._config.plant == self._config.root
        carry_out(self._config.root, self._change)
        self._indexes.keep()

    def free(self, path: Path) -> Path:
        """Return a free path that no other move uses; if needed, with a number behind the name."""
        found, number = path, 1
        while found in self._taken or found.exists():
            number += 1
            found = path.with_name(f"{path.stem}-{number}{path.suffix}")
        self._taken.add(found)
        return found

    def _folder(self, one: ProductImage, wanted: ProductImage) -> Path:
        """Return the folder that says the place, the label and the first type of an image."""
        base = self._folders[wanted.place]
        if wanted.place == "bin":
            base, place = base / one.place, one.place
        else:
            place = wanted.place
        if place == "unlabelled" or (place == "challenge" and not wanted.types):
            return base
        if wanted.label == "ok":
            return base / self._ok_class(base)
        return base / self._known_in(base).get(comparable(wanted.types[0]), wanted.types[0])

    def _ok_class(self, base: Path) -> str:
        names = self._config.data.ok_classes
        known = self._known_in(base)
        return next((known[key] for key in map(comparable, names) if key in known), names[0])

    def _known_in(self, base: Path) -> dict[str, str]:
        """Return the names of the class folders that are there, by how they are compared."""
        if base not in self._classes:
            found = sorted(path.name for path in base.iterdir() if path.is_dir()) if base.is_dir() else []
            self._classes[base] = {comparable(name): name for name in found}
        return self._classes[base]

    def _move(self, old: Path, new: Path, one: ProductImage) -> None:
        if old.is_symlink() and not old.readlink().is_absolute():
            raise DataError(
                f"{one.file}: is a link, and the link would not work from another folder: replace the link by a copy of the file"
            )
        self._check_inside(new.parent)
        self._change.moves.append((old, new))
        self._note_emptied(old, one)

    def _check_inside(self, folder: Path) -> None:
        """Refuse to change a folder that a link leads to, outside the folder of the product."""
        if folder not in self._inside and not folder.resolve().is_relative_to(self._config.root.resolve()):
            raise DataError(
                f"{from_root(folder, self._config.root)}: leads to {folder.resolve()}, outside the folder of the product: change "
                "its images with other programs"
            )
        self._inside.add(folder)

    def _note_emptied(self, path: Path, one: ProductImage) -> None:
        self._check_inside(path.parent)
        base = self._folders[one.place]
        self._emptied |= dict.fromkeys(
            folder for folder in path.parents if folder != base and folder.is_relative_to(base)
        )

    def _with_mask(self, cells: Cells, one: ProductImage, wanted: ProductImage) -> Cells:
        """Move the mask of an image to the folder of the image's new split."""
        mask = Path(cells["mask"])
        base = self._folders[one.place]
        if not cells["mask"] or one.place == wanted.place or not mask.is_relative_to(base):
            return cells
        if wanted.place == "challenge":
            raise DataError(
                f"{one.file}: has a mask, so it cannot be a known defect; delete the mask in index.csv first"
            )
        if self._indexes.is_mask_of_several(self._images.path(one), mask):
            raise DataError(
                f"{one.file}: other images have the same mask {mask.name}: give each image a separate mask file in index.csv"
            )
        new = self.free(self._folders[wanted.place] / "masks" / mask.name)
        self._move(mask, new, one)
        return cells | {"mask": str(new)}


def _with_part(cells: Cells, one: ProductImage, wanted: ProductImage, by_pattern: str) -> Cells:
    """Return the cells with the part, where neither they nor ``data.group_pattern`` say it."""
    is_said = bool(cells["group"]) or by_pattern == wanted.part
    if wanted.part != one.part or (wanted.part and not is_said):
        return with_part(cells, wanted.part)
    return cells
