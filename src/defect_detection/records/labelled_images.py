"""Write labelled images into one folder per class for training, with an index of their groups."""

import csv
import io
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from filelock import FileLock
from sqlalchemy import select

from defect_detection.config.products import DEFAULT
from defect_detection.data.class_names import UNNAMED_TYPE, shown, why_no_type
from defect_detection.data.image_formats import IMAGE_SUFFIXES
from defect_detection.data.samples import Sample
from defect_detection.files.permissions import make_private
from defect_detection.records.database import Database, unindexed
from defect_detection.records.feedback import are_conflicting, said_about
from defect_detection.records.image_store import UNKNOWN_SUFFIX, ImageStore, suffix_of, write_whole
from defect_detection.records.senders import network_of
from defect_detection.records.tables import FeedbackRow, ImageRow, InspectionRow
from defect_detection.text import cell, of_cell, plain

INDEX = "index.csv"
COLUMNS = ("file", "label", "defect_type", "group")
NAME_DIGITS = 32  # of the content hash, in a file's name
_LOCK_TIMEOUT_S = 60


@dataclass(frozen=True, slots=True)
class LabelledImage:
    """One image with the current label. `at`: when it was given. group: as the first inspection of the image says; where
    it says none, the first later one that does and that was sent with a key or from this machine.

    suffix: of its format. stored: the suffix of its file; None if the image is not stored.
    """

    sha256: str
    suffix: str | None
    stored: str | None
    label: str
    defect_type: str
    group: str
    at: datetime
    conflicting: bool


@dataclass(frozen=True, slots=True)
class ExportedLabels:
    """The result of an export. `usable`: all labelled images now in the folder.

    written, relabelled: how many are new there, or were moved to another class. skipped: why others aren't there.
    repaired: invalid texts of earlier records, and their replacements.
    """

    usable: tuple[LabelledImage, ...]
    written: int
    relabelled: int
    skipped: tuple[str, ...]
    repaired: tuple[str, ...] = ()

    @property
    def conflicting(self) -> int:
        return sum(one.conflicting for one in self.usable)


def find_labelled(database: Database, product: str = DEFAULT) -> list[LabelledImage]:
    """Return every image that has a label as one of a product, in the order of their content.

    Raises:
        RecordsError: the database can't be reached.
    """
    labelled = select(FeedbackRow.sha256).where(FeedbackRow.product == product)
    with database.reading() as session:
        said = said_about(session, FeedbackRow.product == product)
        images = select(ImageRow.sha256, ImageRow.suffix).where(ImageRow.sha256.in_(labelled))
        suffixes = {row.sha256: row.suffix for row in session.execute(images)}
        row = InspectionRow
        columns = (row.sha256, row.group, row.part, row.sent_by)
        query = select(*columns).where(unindexed(row.product) == product, row.sha256.in_(labelled))
        groups: dict[str, str] = {}
        for found in session.execute(query.order_by(row.at, row.id)):
            if found.sha256 not in groups or not (groups[found.sha256] or network_of(found.sent_by)):
                groups[found.sha256] = found.group or found.part
    return [
        LabelledImage(
            sha256,
            suffixes.get(sha256),
            suffixes.get(sha256),
            labels[0].label,
            labels[0].defect_type if labels[0].label == "defective" else "",
            groups[sha256],
            labels[0].at,
            are_conflicting(labels),
        )
        for (_, sha256), labels in sorted(said.items())
    ]


def export_feedback(
    database: Database,
    images: ImageStore,
    folder: Path,
    ok_classes: Sequence[str],
    held_out: Sequence[Sample] = (),
    product: str = DEFAULT,
) -> ExportedLabels:
    """Update a data folder with the labels. No image in it is overwritten or deleted. Without labels, no folder is created.

    An image has the name of its content, so it is there once; with another label than before it moves to that class. Its
    group keeps it on one side of a split together with other images of its part.

    Args:
        ok_classes: names of folders of OK images; the first takes them.
        held_out: images of the test split. They, and others of their groups, must not be trained on.
        product: whose labels.

    Raises:
        RecordsError: the database can't be reached. OSError: the folder can't be written.
    """
    contents = {sample.sha256 for sample in held_out}
    groups = {sample.group for sample in held_out if sample.group}
    usable, skipped, repaired, counts = [], [], [], [0, 0]
    if not folder.exists() and not find_labelled(database, product):
        return ExportedLabels((), 0, 0, ())
    make_private(folder)
    with FileLock(folder / ".lock", timeout=_LOCK_TIMEOUT_S):
        for labelled in find_labelled(database, product):
            one = _named_by_content(labelled, images)
            one, odd = _repaired(one, ok_classes)
            repaired += [f"{one.sha256[:NAME_DIGITS]}: {what}" for what in odd]
            reason = _why_not(one, contents, groups) or _place(one, images, folder, ok_classes[0], counts)
            if reason is None:
                usable.append(one)
            else:
                skipped.append(f"{one.sha256[:NAME_DIGITS]}: {reason}")
        _write_index(folder, usable, ok_classes[0])
    return ExportedLabels(tuple(usable), counts[0], counts[1], tuple(skipped), tuple(repaired))


def _named_by_content(one: LabelledImage, images: ImageStore) -> LabelledImage:
    """Recognise an image whose format was not known when it was recorded."""
    if one.stored != UNKNOWN_SUFFIX:
        return one
    return replace(one, suffix=suffix_of(images.read(one.sha256, one.stored) or b""))


def _repaired(one: LabelledImage, ok_classes: Sequence[str]) -> tuple[LabelledImage, list[str]]:
    """Return an image with valid names, and descriptions of the invalid ones: earlier versions stored any text."""
    group, defect_type, odd = plain(one.group), one.defect_type, []
    if group != one.group:
        odd.append(f"group {one.group!r} is written as {group!r}")
    if defect_type and (why := why_no_type(shown(defect_type), ok_classes)):
        odd.append(f"type of defect {defect_type!r} is {why}: written as '{UNNAMED_TYPE}'")
        defect_type = UNNAMED_TYPE
    return replace(one, group=group, defect_type=shown(defect_type)), odd


def _why_not(one: LabelledImage, contents: Iterable[str], groups: Iterable[str]) -> str | None:
    if one.sha256 in contents:
        return "it is in the test split"
    if one.group in groups:
        return f"its group '{one.group}' is in the test split"
    if one.suffix is None:
        return "its image was not stored"
    if one.suffix not in IMAGE_SUFFIXES:
        return "its file is not a supported image"
    return None


def _place(
    one: LabelledImage, images: ImageStore, folder: Path, ok_class: str, counts: list[int]
) -> str | None:
    """Put one image into the folder of its label, and count it as written or relabelled. Return why that is impossible, or ""."""
    target = folder / _file_of(one, ok_class)
    if target.is_file():
        return None
    target.parent.mkdir(exist_ok=True)
    if (elsewhere := next(folder.glob(f"*/{target.name}"), None)) is not None:
        elsewhere.replace(target)
        with suppress(OSError):  # other images are in it
            elsewhere.parent.rmdir()
        counts[1] += 1
        return None
    content = images.read(one.sha256, one.stored or "")
    if content is None:
        return "its image is missing or damaged"
    write_whole(target, content)
    counts[0] += 1
    return None


def _file_of(one: LabelledImage, ok_class: str) -> str:
    class_name = ok_class if one.label == "ok" else one.defect_type or UNNAMED_TYPE
    return f"{class_name}/{one.sha256[:NAME_DIGITS]}{one.suffix}"


def _write_index(folder: Path, usable: Sequence[LabelledImage], ok_class: str) -> None:
    """Rewrite the whole index. Rows of images that are not in the database stay."""
    rows = {Path(row["file"]).name: row for row in _read_index(folder / INDEX)}
    for one in usable:
        file = _file_of(one, ok_class)
        cells = (file, one.label, one.defect_type, cell(one.group))
        rows[Path(file).name] = dict(zip(COLUMNS, cells, strict=True))
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows[name] for name in sorted(rows) if (folder / rows[name]["file"]).is_file())
    write_whole(folder / INDEX, text.getvalue().encode())


def _read_index(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = [row for row in csv.DictReader(file, restval="") if row.get("file")]
    return [row | {"group": cell(plain(of_cell(row.get("group") or "")))} for row in rows]
