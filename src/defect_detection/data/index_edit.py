"""Change rows of ``index.csv`` as images move and get parts. Other rows and columns stay as they are."""

import csv
import os
import unicodedata
from collections import Counter
from functools import cached_property
from pathlib import Path

from defect_detection.data.index_file import NAME, index_in, read_rows, read_table
from defect_detection.text import absolute_path, cell

CELLS = ("label", "defect_type", "group", "mask")  # beside the column file
Cells = dict[str, str]


class Indexes:
    """The index files that hold the rows of some folders, read when they are needed.

    Args:
        folders: each with images; the index of a folder lies in it or in its parent.
        kept: files that an earlier change has read, which are used as long as they are the same.
    """

    def __init__(self, folders: list[Path], kept: "KeptIndexes | None" = None) -> None:
        self._folders = folders
        self._kept = KeptIndexes() if kept is None else kept
        self._of_folder: dict[Path, Path] = {}
        self._files: dict[Path, _EditedFile] = {}

    def take(self, image: Path) -> Cells:
        """Remove the row of an image, and return its cells; "" where there is no row, or no such column."""
        return self._of(image).take(image)

    def put(self, image: Path, cells: Cells) -> None:
        """Give an image, which has no row, a row, unless all cells are empty."""
        if any(cells.values()):
            self._of(image).put(image, cells)

    def is_mask_of_several(self, image: Path, mask: Path) -> bool:
        """Say whether the rows of several images name a mask, which then cannot go with one of them."""
        return self._of(image).masks[os.path.normpath(mask)] > 1

    def texts(self) -> dict[Path, str]:
        """Return the new text of each index that has changed."""
        return {file.path: file.text() for file in self._files.values() if file.has_changed}

    def keep(self) -> None:
        """Keep the files for the next change. Call it once the texts are written."""
        for file in self._files.values():
            file.settle()
            self._kept.files[file.path] = file

    def _of(self, image: Path) -> "_EditedFile":
        folder = next(folder for folder in self._folders if image.is_relative_to(folder))
        path = self._of_folder.get(folder) or self._of_folder.setdefault(folder, _used(folder))
        if path not in self._files:
            self._files[path] = self._kept.take(path) or _EditedFile(path)
        return self._files[path]


class KeptIndexes:
    """Index files in memory between changes: reading one with 10,000 rows takes longer than the rest of a change."""

    def __init__(self) -> None:
        self.files: dict[Path, _EditedFile] = {}

    def take(self, path: Path) -> "_EditedFile | None":
        """Return what is kept of a file, unless the file is another one now. A change that fails does not put it back."""
        kept = self.files.pop(path, None)
        return kept if kept is not None and kept.content == _content(path) else None


def _content(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b""


def _used(folder: Path) -> Path:
    """Return the index that has the rows of a folder, as `read_index` finds it; the one to be made where there is none."""
    inner, outer = (index_in(place) if place.is_dir() else None for place in (folder, folder.parent))
    if outer is not None and (inner is None or _has_rows(outer, folder)):
        return outer
    return inner or folder / NAME


def _has_rows(index: Path, folder: Path) -> bool:
    below = _key(folder / "x")[:-1]
    return any(
        _key(index.parent / _spelt(row.cells["file"])).startswith(below) for row in read_rows(index).rows
    )


class _EditedFile:
    """One index file, or one to be made."""

    def __init__(self, path: Path) -> None:
        self.path, self.content = path, _content(path)
        self.has_changed = False
        self._header, self._rows, self._delimiter = ["file", "group"], list[list[str]](), ","
        self._places = {name: place for place, name in enumerate(self._header)}
        if path.is_file():
            table = read_table(path)
            self._header, self._delimiter = list(table.header), table.delimiter
            self._rows = [cells for _, cells in table.lines if any(cells)]
            known = set(table.places.values())
            others = {name: place for place, name in enumerate(self._header) if place not in known}
            self._places = table.places | others
        self._lines = _Lines()  # of the rows, so that only those that change are written anew
        csv.writer(self._lines, delimiter=self._delimiter, lineterminator="\n").writerows(self._rows)
        self._free = list[int]()  # places of rows that were taken
        self._masks = self._named_masks()
        self._below = _key(path.parent / "x")[:-1]
        self._by_key: dict[str, list[int]] = {}
        for number, row in enumerate(self._rows):
            named = row[self._places["file"]] if len(row) > self._places["file"] else ""
            self._by_key.setdefault(self._key_of(named), []).append(number)

    @cached_property
    def masks(self) -> Counter[str]:
        """How many rows named each mask when the file was read."""
        return Counter(os.path.normpath(self.path.parent / _spelt(said)) for said in self._masks)

    def _named_masks(self) -> list[str]:
        if "mask" not in self._places:
            return []
        return [said for row in self._rows if (said := self._cell(row, "mask"))]

    def settle(self) -> None:
        """Make what has changed the state that the next change begins with."""
        if self.has_changed:
            self.content, self.has_changed = self.text().encode(errors="surrogateescape"), False
            self.__dict__.pop("masks", None)
            self._masks = self._named_masks()

    def _key_of(self, named: str) -> str:
        named = _spelt(named)
        if named.isascii() and "//" not in named and "./" not in named and not named.startswith("/"):
            return self._below + named.casefold()  # what most rows are, 20 times as fast
        return _key(self.path.parent / named)

    def take(self, image: Path) -> Cells:
        alike = self._by_key.pop(_key(image), [])
        if others := [number for number in alike if self._names_another(number, image)]:
            self._by_key[_key(image)] = others
        found = [number for number in alike if number not in others]
        cells = dict.fromkeys((*CELLS, *self._places), "")
        for number in found:
            row = self._rows[number]
            self._write(number, [])
            self._free.append(number)
            for name in self._places:
                said = self._cell(row, name)
                if name == "defect_type" and said and cells[name]:
                    cells[name] += f";{said}"  # one row for each type
                else:
                    cells[name] = cells[name] or said
        del cells["file"]
        if cells["mask"]:
            cells["mask"] = os.path.normpath(self.path.parent / _spelt(cells["mask"]))
        return cells

    def put(self, image: Path, cells: Cells) -> None:
        named = {"file": _relative(image, self.path), **cells}
        if named.get("mask"):
            named["mask"] = _relative(Path(named["mask"]), self.path)
        for name in [name for name, said in named.items() if said and name not in self._places]:
            self._places[name] = len(self._header)
            self._header.append(name)
        row = [""] * len(self._header)
        for name, said in named.items():
            if said:
                row[self._places[name]] = said
        number = self._free.pop() if self._free else len(self._rows)
        self._by_key.setdefault(_key(image), []).append(number)
        self._write(number, row)

    def _write(self, number: int, row: list[str]) -> None:
        """Put a row into a place; an empty one leaves no line."""
        line = _Lines()
        if row:
            csv.writer(line, delimiter=self._delimiter, lineterminator="\n").writerow(row)
        self._rows[number : number + 1], self._lines[number : number + 1] = [row], ["".join(line)]
        self.has_changed = True

    def _names_another(self, number: int, image: Path) -> bool:
        """Say whether a row names another file, whose name differs in case or Unicode form only."""
        named = self.path.parent / _spelt(self._cell(self._rows[number], "file"))
        if absolute_path(named) == absolute_path(image) or not named.exists():
            return False
        return not named.samefile(image)

    def _cell(self, row: list[str], name: str) -> str:
        place = self._places.get(name, len(row))
        return row[place] if place < len(row) else ""

    def text(self) -> str:
        header = _Lines()
        csv.writer(header, delimiter=self._delimiter, lineterminator="\n").writerow(self._header)
        return "".join((*header, *self._lines))


class _Lines(list[str]):
    """Takes what `csv` writes: a text for each row."""

    def write(self, text: str) -> None:
        self.append(text)


def with_part(cells: Cells, part: str) -> Cells:
    """Return the cells of a row with another part; "" for none."""
    return cells | {"group": cell(part)}


def _relative(path: Path, index: Path) -> str:
    return Path(os.path.relpath(path, index.parent)).as_posix()


def _spelt(named: str) -> str:
    return named.replace("\\", "/")


def _key(path: Path) -> str:
    """Return a path as it is compared: rows may spell it in another case or Unicode form."""
    return unicodedata.normalize("NFC", absolute_path(path)).casefold()
