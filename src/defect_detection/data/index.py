"""Read ``index.csv``, which says about images what folder names can't.

Columns: ``file`` (relative to the folder of the index), and any of ``label``, ``defect_type``, ``group`` and
``mask``; others are ignored. An empty cell leaves the matter to the folders. A label is 0 (OK) or 1, or
the name of an OK class or of a class folder. Images that aren't listed are labelled by their folder.
"""

import csv
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from defect_detection.errors import DataError
from defect_detection.text import printable

SHOWN = 10  # entries that an error message lists before it counts the rest


@dataclass(frozen=True, slots=True)
class IndexRow:
    """What the index says about one image; None or "" where it says nothing."""

    line: int
    label: int | None
    defect_type: str
    group: str
    mask: Path | None


NOTHING_SAID = IndexRow(line=0, label=None, defect_type="", group="", mask=None)


def read_index(folder: Path, ok_classes: Sequence[str]) -> dict[Path, IndexRow]:
    """Return the rows for files below `folder`, by path; none when neither it nor its parent has an index.

    Raises:
        DataError: the index can't be read, or rows are wrong. Names the lines.
    """
    places = [folder / "index.csv", folder.parent / "index.csv"]
    path = next((place for place in places if place.is_file()), None)
    return {} if path is None else _rows_below(folder, path, ok_classes)


def _rows_below(folder: Path, index: Path, ok_classes: Sequence[str]) -> dict[Path, IndexRow]:
    labels = _known_labels(folder, ok_classes)
    rows: dict[Path, IndexRow] = {}
    problems: list[str] = []
    for line, cells in _cells(index):
        file = _normalized(index.parent / cells["file"])
        if not file.is_relative_to(_normalized(folder)):
            continue
        file = folder / file.relative_to(_normalized(folder))
        if file in rows:
            problems.append(
                f"line {line}: file '{printable(cells['file'])}' is also in line {rows[file].line}"
            )
            continue
        rows[file] = _row(line, cells, labels, index.parent)
        problems += _problems(cells, file, rows[file], labels)
    if problems:
        raise DataError("\n".join(f"{index}: {text}" for text in shortened(problems)))
    return rows


def shortened(lines: Sequence[str]) -> list[str]:
    """Return the first few lines, and how many more there are."""
    more = len(lines) - SHOWN
    return [*lines[:SHOWN], *([f"and {more} more"] if more > 0 else [])]


def _known_labels(folder: Path, ok_classes: Sequence[str]) -> dict[str, int]:
    folders = {child.name.casefold(): 1 for child in folder.iterdir() if child.is_dir()}
    return folders | {"1": 1, "defective": 1, "0": 0, "ok": 0} | {name.casefold(): 0 for name in ok_classes}


def _cells(index: Path) -> list[tuple[int, dict[str, str]]]:
    """Return the line number and the cells of each row that names a file."""
    try:
        with index.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, restval="")
            columns = reader.fieldnames or ()
            rows = [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{index}: can't be read as CSV in UTF-8 ({error})") from error
    if "file" not in columns:
        raise DataError(f"{index}: expected a column 'file' in the first line, received {', '.join(columns)}")
    return [(line, {name: row[name].strip() for name in columns}) for line, row in rows if row["file"]]


def _normalized(path: Path) -> Path:
    return Path(os.path.normpath(path))


def _row(line: int, cells: dict[str, str], labels: dict[str, int], root: Path) -> IndexRow:
    label = cells.get("label", "")
    defect_type = cells.get("defect_type", "")
    if not defect_type and label.casefold() not in ("", "1", "defective"):
        defect_type = label
    mask = cells.get("mask", "")
    return IndexRow(
        line=line,
        label=labels.get(label.casefold()),
        defect_type=defect_type,
        group=cells.get("group", ""),
        mask=root / mask if mask else None,
    )


def _problems(cells: dict[str, str], file: Path, row: IndexRow, labels: dict[str, int]) -> list[str]:
    problems = []
    if not file.is_file():
        problems.append(f"line {row.line}: no such file: '{printable(cells['file'])}'")
    if row.label is None and cells.get("label"):
        known = ", ".join(sorted(labels))
        problems.append(
            f"line {row.line}: unknown label '{printable(cells['label'])}', expected one of: {known}"
        )
    if row.mask is not None and not row.mask.is_file():
        problems.append(f"line {row.line}: no such mask: '{printable(cells['mask'])}'")
    return problems
