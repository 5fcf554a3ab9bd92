"""Write inspections, and read one back."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from defect_detection.config.products import DEFAULT
from defect_detection.records.database import Database, alone_with_labels, insert_missing
from defect_detection.records.feedback import Said, said_about, unknown_inspection
from defect_detection.records.senders import network_of
from defect_detection.records.tables import FeedbackRow, ImageRow, InspectionRow
from defect_detection.records.tallies import (
    Counted,
    count_in,
    current_labels,
)

DOUBTFUL_MARGIN = (
    0.1  # a score that is nearer to its threshold is doubtful: the image is kept longer than others
)


@dataclass(frozen=True, slots=True)
class Inspected:
    """One verdict on one image, as it is recorded.

    name: of the file name given by the sender. group: images of one group stay on one side of a split; where it is "", those of
    one `part` do. reason: how the image is unlike the training images; None where it is not, or where it was not recorded.
    sent_by: name of the key, or the address of a caller without one; "" of what earlier versions recorded.
    novelty, brightness and the rest: see `Inspection` and `Camera`; None of what earlier versions recorded.
    boxes: where the defects are, a list as JSON; None where there are none. defect_type, defect_types: by the model, the strongest
    and all as JSON; None where it names none.
    """

    id: str
    sha256: str  # of the image's bytes, hex
    name: str
    verdict: str  # ok, defective or review
    score: float  # P(defective)
    threshold: float
    model_name: str
    model_version: int
    latency_ms: float
    group: str = ""
    line: str = ""
    part: str = ""
    reason: str | None = None
    sent_by: str = ""
    novelty: float | None = None
    brightness: float | None = None
    contrast: float | None = None
    sharpness: float | None = None
    colour_balance: float | None = None
    boxes: str | None = None
    product: str = DEFAULT
    station: str = ""
    defect_type: str | None = None
    defect_types: str | None = None
    at: datetime = field(default_factory=lambda: datetime.now(UTC))


_THERE = select(InspectionRow.__table__.c.id).where(
    InspectionRow.__table__.c.id.in_(bindparam("ids", expanding=True))
)
_FACTS = tuple(Inspected.__dataclass_fields__)


@dataclass(frozen=True, slots=True)
class Recorded:
    """One stored inspection. `said`: all labels of its image, latest first.

    image_suffix: of its image; None when the image isn't kept (any more).
    """

    inspected: Inspected
    image_suffix: str | None
    said: tuple[Said, ...]


def add_inspections(
    session: Session, inspections: Sequence[Inspected], images: Iterable[Mapping[str, Any]]
) -> None:
    """Insert inspections and images. Existing rows stay, so a repeated write has no effect.

    Args:
        images: rows of those images that lie in the folder, see `row_of_image`.
    """
    insert_missing(session, ImageRow, list(images))
    there = set(session.connection().scalars(_THERE, {"ids": [one.id for one in inspections]}))
    new = {one.id: one for one in inspections if one.id not in there}.values()
    insert_missing(session, InspectionRow, [row_of(one) for one in new])
    alone_with_labels(session)  # as late as possible: other servers wait
    labels = current_labels(session, [one.sha256 for one in new])
    count_in(session, (_counted(one, labels) for one in new))


def _counted(one: Inspected, labels: Mapping[tuple[str, str], str]) -> Counted:
    facts = {name: getattr(one, name) for name in Counted._fields if name != "label"}
    return Counted(**facts, label=labels.get((one.product, one.sha256)))


def row_of(one: Inspected) -> dict[str, Any]:
    """Return the row of an inspection."""
    row = {name: getattr(one, name) for name in _FACTS}
    row["in_group"], row["margin"] = row.pop("group"), _margin(one)
    return row


def row_of_image(one: Inspected, suffix: str, n_bytes: int) -> dict[str, Any]:
    """Return the row of an image that was written for an inspection."""
    doubtful = one.verdict == "review" or _margin(one) < DOUBTFUL_MARGIN
    facts = {name: getattr(one, name) for name in ("sha256", "at", "line")}
    sender = network_of(one.sent_by) or one.sent_by
    return {**facts, "suffix": suffix, "n_bytes": n_bytes, "sent_by": sender, "doubtful": doubtful}


def _margin(one: Inspected) -> float:
    return 0.0 if one.reason else abs(one.score - one.threshold)  # the score of an unlike image is not used


def find_inspection(database: Database, inspection_id: str) -> Recorded:
    """Return one inspection.

    Raises:
        UnknownRecordError: there is none of that id.
        RecordsError: the database can't be reached.
    """
    with database.reading() as session:
        row = session.get(InspectionRow, inspection_id)
        if row is None:
            raise unknown_inspection(inspection_id)
        return recorded_of(session, [row])[0]


def recorded_of(session: Session, rows: Sequence[InspectionRow]) -> list[Recorded]:
    """Return stored inspections with the images and labels that are known of them."""
    contents = {row.sha256 for row in rows}
    images = select(ImageRow.sha256, ImageRow.suffix).where(ImageRow.sha256.in_(contents))
    suffixes = {row.sha256: row.suffix for row in session.execute(images)}
    said = said_about(session, FeedbackRow.sha256.in_(contents))
    return [
        Recorded(_inspected(row), suffixes.get(row.sha256), tuple(said.get((row.product, row.sha256), ())))
        for row in rows
    ]


def _inspected(row: InspectionRow) -> Inspected:
    return Inspected(**{name: getattr(row, name) for name in _FACTS})
