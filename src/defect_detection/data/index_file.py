"""Find ``index.csv`` and parse its cells: any usual delimiter, columns in any case, errors with line and cell."""

import codecs
import csv
import difflib
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from defect_detection.data.class_names import comparable
from defect_detection.errors import DataError
from defect_detection.text import of_cell

NAME = "index.csv"
COLUMNS = ("file", "label", "defect_type", "group", "mask")
SHOWN = 10  # entries that an error message lists before it counts the rest
_PATHS = ("file", "mask")  # where an apostrophe is the file's own
_ALSO_KNOWN = frozenset(
    {"split", "source_path", "source"}
)  # of lists that other programs write, for people to read
_MEANT = {
    "file": "filename file_name filepath file_path path image img image_path image_file images files",
    "label": "class category target labels verdict",
    "defect_type": "type defect defects defect_class kind",
    "group": "part part_id part_no lot lot_id batch serial serial_number sn id group_id object specimen piece",
    "mask": "mask_path mask_file masks ground_truth gt segmentation",
}
_MISNAMED = frozenset({"index.tsv", "index.xls", "index.xlsx", "index.ods"})
_DELIMITERS = (",", ";", "\t", "|")


@dataclass(frozen=True, slots=True)
class Row:
    """The cells of one line by the column names in `COLUMNS`; "" if missing."""

    line: int
    cells: dict[str, str]


@dataclass(frozen=True, slots=True)
class IndexFile:
    """The parsed file. unused: names of unknown columns."""

    path: Path
    rows: tuple[Row, ...]
    unused: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class IndexTable:
    """All cells of the file. lines: each with its number. places: the position of each known column."""

    delimiter: str
    header: list[str]
    lines: list[tuple[int, list[str]]]
    places: dict[str, int]
    unused: tuple[str, ...]


def index_in(folder: Path) -> Path | None:
    """Return the index directly in a folder; the case of its name is ignored.

    Raises:
        DataError: there are two, or one under a name that is not read.
    """
    try:
        names = sorted(child for child in folder.iterdir() if child.name.casefold().startswith("index."))
    except OSError:  # the parent of a folder may be closed to us
        return None
    found = [path for path in names if path.name.casefold() == NAME]
    if len(found) > 1:
        raise DataError(
            f"{folder}: expected one {NAME}, received {' and '.join(path.name for path in found)}; remove one"
        )
    if found and not os.path.isfile(found[0]):  # noqa: PTH113  of a closed folder a Path raises
        raise DataError(
            f"{found[0]}: expected a CSV file, received a folder, a broken link or similar; remove it"
        )
    for path in names if not found else []:
        if path.name.casefold() in _MISNAMED or path.name.casefold().startswith(f"{NAME}."):
            raise DataError(
                f"{path}: the index must be named {NAME}; save it under that name, as CSV in UTF-8"
            )
    return found[0] if found else None


def read_rows(path: Path) -> IndexFile:
    """Return the rows that name a file.

    Raises:
        DataError: no CSV in UTF-8, no column ``file``, a column that nearly has a known name, or rows of the wrong length.
    """
    table = read_table(path)
    width, problems, rows = len(table.header), [], []
    for line, cells in table.lines:
        row = Row(line, {name: _said(name, cells, place) for name, place in table.places.items()})
        if any("\n" in cell for cell in row.cells.values()):
            problems.append(f"line {line}: a cell spans several lines; a quote before it is not closed")
        elif any(cells[width:]):
            problems.append(
                f"line {line}: expected {width} cells, received {len(cells)}; put cells with commas into quotes"
            )
        elif row.cells["file"]:
            rows.append(row)
        elif any(row.cells.values()):
            problems.append(f"line {line}: the column file is empty")
    if problems:
        raise DataError("\n".join(f"{path}: {text}" for text in shortened(problems)))
    return IndexFile(path, tuple(rows), table.unused)


def read_table(path: Path) -> IndexTable:
    """Return all cells as they are.

    Raises:
        DataError: no CSV in UTF-8, no column ``file``, or a column that nearly has a known name.
    """
    text = _text_of(path)
    first, _, rest = text.partition("\n")
    if first.strip().casefold().startswith("sep="):  # as Excel writes it
        text = rest
    delimiter = _delimiter(text)
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        lines = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader]
    except csv.Error as error:
        raise DataError(f"{path}: cannot be read as CSV in UTF-8 ({error})") from error
    header = lines[0][1] if lines else []
    places, unused = _columns(path, header)
    return IndexTable(delimiter, header, lines[1:], places, tuple(unused))


def _said(name: str, cells: Sequence[str], place: int) -> str:
    said = cells[place] if place < len(cells) else ""
    return said if name in _PATHS else of_cell(said)


def shortened(lines: Sequence[str]) -> list[str]:
    """Return the first few lines, and how many more there are."""
    more = len(lines) - SHOWN
    return [*lines[:SHOWN], *([f"and {more} more"] if more > 0 else [])]


def _text_of(path: Path) -> str:
    advice = "expected CSV in UTF-8; save it as 'CSV UTF-8'"
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in content[:200]:
        raise DataError(f"{path}: cannot be read as CSV in UTF-8 (it is in UTF-16); {advice}")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        where = content.count(b"\n", 0, error.start) + 1
        raise DataError(f"{path}: cannot be read as CSV in UTF-8 (line {where}); {advice}") from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _delimiter(text: str) -> str:
    """Return the delimiter with which the first line has a column ``file``, else the one with the most columns."""
    first = text.partition("\n")[0]
    headers = {one: next(csv.reader([first], delimiter=one), []) for one in _DELIMITERS}
    with_file = [one for one, cells in headers.items() if "file" in map(_column, cells)]
    return with_file[0] if with_file else max(_DELIMITERS, key=lambda one: len(headers[one]))


def _column(heading: str) -> str:
    return "_".join(comparable(heading).replace("-", " ").replace("_", " ").split())


def _columns(path: Path, header: Sequence[str]) -> tuple[dict[str, int], list[str]]:
    """Return the position of each known column, and the unknown headings."""
    names = [_column(heading) for heading in header]
    if twice := [
        heading
        for heading, name in zip(header, names, strict=True)
        if name in COLUMNS and names.count(name) > 1
    ]:
        raise DataError(f"{path}: duplicate column '{twice[0]}'; remove one")
    for heading, name in zip(header, names, strict=True):
        meant = _meant(name)
        if name not in COLUMNS and meant is not None and meant not in names:
            raise DataError(
                f"{path}: unknown column '{heading}', did you mean '{meant}'? Rename or remove it"
            )
    if "file" not in names:
        raise DataError(f"{path}: expected a column 'file' in the first line, received {', '.join(header)}")
    unused = [
        heading
        for heading, name in zip(header, names, strict=True)
        if name and name not in COLUMNS and name not in _ALSO_KNOWN
    ]
    return {name: names.index(name) for name in COLUMNS if name in names}, unused


def _meant(name: str) -> str | None:
    """Return the column that a heading may be meant for."""
    if name in _ALSO_KNOWN:
        return None
    for column, synonyms in _MEANT.items():
        if name in synonyms.split():
            return column
    plain = {column.replace("_", ""): column for column in COLUMNS}
    close = difflib.get_close_matches(name.replace("_", ""), plain, n=1, cutoff=0.72)
    return plain[close[0]] if close else None
