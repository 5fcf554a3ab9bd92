"""Labels that people gave to inspected images. Nothing is overwritten: the latest label of an image counts.

The latest is the one with the highest id: a clock may be set back between two labels.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from defect_detection.errors import UnknownRecordError
from defect_detection.records.database import Database, alone_with_labels
from defect_detection.records.tables import FeedbackRow, InspectionRow
from defect_detection.records.tallies import count_label, label_that_counts

Label = Literal["ok", "defective"]


@dataclass(frozen=True, slots=True)
class Said:
    """One label that a person gave to an image."""

    id: int
    at: datetime
    inspection_id: str
    sha256: str
    label: Label
    defect_type: str  # "" for OK, and where none was named
    comment: str
    by: str  # name of the key, or "this machine"
    product: str  # of the inspection


def add_feedback(
    database: Database, inspection_id: str, label: Label, by: str, defect_type: str = "", comment: str = ""
) -> Said:
    """Keep a label for the image of an inspection.

    Raises:
        UnknownRecordError: there is no such inspection, or it was pruned.
        RecordsError: the database cannot be written; nothing was stored.
    """
    with database.writing() as session:
        alone_with_labels(session)
        inspection = session.get(InspectionRow, inspection_id)
        if inspection is None:
            raise unknown_inspection(inspection_id)
        row = FeedbackRow(
            at=datetime.now(UTC),
            inspection_id=inspection_id,
            sha256=inspection.sha256,
            label=label,
            defect_type=defect_type,
            comment=comment,
            by=by,
            product=inspection.product,
        )
        before = session.scalar(select(label_that_counts()).where(InspectionRow.id == inspection_id))
        session.add(row)
        session.flush()
        count_label(session, inspection.product, inspection.sha256, before, label)
        return _said(row)


def said_about(session: Session, which: ColumnElement[bool]) -> dict[tuple[str, str], list[Said]]:
    """Return all labels of images, by product and sha256, the latest first.

    Args:
        which: of the rows of feedback.
    """
    by_image: dict[tuple[str, str], list[Said]] = defaultdict(list)
    for row in session.scalars(select(FeedbackRow).where(which).order_by(FeedbackRow.id.desc())):
        by_image[row.product, row.sha256].append(_said(row))
    return by_image


def are_conflicting(said: Sequence[Said]) -> bool:
    """Check whether an image has received both labels."""
    return len({one.label for one in said}) > 1


def unknown_inspection(inspection_id: str) -> UnknownRecordError:
    """Return the error that says so."""
    return UnknownRecordError(
        f"no inspection has the id {inspection_id!r} (wrong id, or deleted by pruning); GET /inspections lists the "
        "inspections"
    )


def _said(row: FeedbackRow) -> Said:
    return Said(**{name: getattr(row, name) for name in Said.__dataclass_fields__})
