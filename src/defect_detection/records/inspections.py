"""Write inspections, and read them back: one, or page by page under a filter."""

import base64
import binascii
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from sqlalchemy import ColumnElement, Select, and_, bindparam, exists, func, or_, select
from sqlalchemy.orm import Session

from defect_detection.config.products import DEFAULT
from defect_detection.records.database import READ_S, Database, alone_with_labels, insert_missing
from defect_detection.records.feedback import Said, said_about, unknown_inspection
from defect_detection.records.senders import network_of
from defect_detection.records.tables import FeedbackRow, ImageRow, InspectionRow
from defect_detection.records.tallies import (
    Counted,
    count_in,
    is_about_inspection,
    label_that_counts,
    labels_of,
)
from defect_detection.text import has_control

DOUBTFUL_MARGIN = (
    0.1  # a score that is nearer to its threshold is doubtful: the image is kept longer than others
)

Order = Literal["newest", "uncertain", "novel"]
_ORDERED_BY: Mapping[Order, str] = {"newest": "at", "uncertain": "margin", "novel": "novelty"}


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


@dataclass(frozen=True, slots=True)
class Filter:
    """Which inspections; None where everything is wanted. `since` counts, `until` doesn't.

    search: a substring of the name, group, line, station or part; case is ignored. label, defect_type: of the label that counts.
    """

    verdict: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    model_version: int | None = None
    labelled: bool | None = None
    order: Order = "newest"
    search: str | None = None
    line: str | None = None
    group: str | None = None
    part: str | None = None
    label: str | None = None
    product: str | None = None
    station: str | None = None
    defect_type: str | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """`next` is the cursor of the page after this one; None on the last."""

    inspections: tuple[Recorded, ...]
    next: str | None


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
    insert_missing(session, InspectionRow, [_row_of(one) for one in new])
    alone_with_labels(session)  # as late as possible: other servers wait
    labels = labels_of(session, [one.sha256 for one in new])
    count_in(session, (_counted(one, labels) for one in new))


def _counted(one: Inspected, labels: Mapping[tuple[str, str], str]) -> Counted:
    facts = {name: getattr(one, name) for name in Counted._fields if name != "label"}
    return Counted(**facts, label=labels.get((one.product, one.sha256)))


def _row_of(one: Inspected) -> dict[str, Any]:
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
        return _recorded(session, [row])[0]


def find_page(database: Database, wanted: Filter, cursor: str | None, limit: int) -> Page:
    """Return at most `limit` inspections: the newest, the least certain or the most novel first.

    Pages don't shift when inspections are added meanwhile: the cursor names the last one that was shown.

    Raises:
        ValueError: the cursor is none that `next` of a page with this order was.
        SlowReadError: it takes too long. RecordsError: the database can't be reached.
    """
    query = _in_order(_filtered(wanted), wanted, cursor).limit(limit + 1)
    with database.reading(READ_S) as session:
        rows = list(session.scalars(query))
        shown = rows[:limit]
        more = _cursor_after(shown[-1], wanted.order) if len(rows) > limit else None
        return Page(tuple(_recorded(session, shown)), more)


def _filtered(wanted: Filter) -> Select[InspectionRow]:
    row = InspectionRow
    query = select(row)
    for name in ("verdict", "model_version", "line", "station", "group", "part"):
        if (value := getattr(wanted, name)) is not None:
            query = query.where(getattr(row, name) == value)
    product, at = (_seen_by(wanted, column) for column in (row.product, row.at))
    if wanted.product is not None:
        query = query.where(product == wanted.product)
    if wanted.since is not None:
        query = query.where(at >= wanted.since)
    if wanted.until is not None:
        query = query.where(at < wanted.until)
    if wanted.search is not None:
        query = query.where(_contains(wanted.search))
    if wanted.label is not None:
        query = query.where(label_that_counts() == wanted.label)
    if wanted.defect_type is not None:
        query = query.where(_has_type(wanted.defect_type, wanted.product))
    if wanted.labelled is None:
        return query
    has_label = exists().where(is_about_inspection())
    return query.where(has_label if wanted.labelled else ~has_label)


def _has_type(defect_type: str, product: str | None) -> ColumnElement[bool]:
    """Return the condition that the label that counts says a type."""
    named = select(FeedbackRow.sha256).where(FeedbackRow.defect_type == defect_type)
    named = named if product is None else named.where(FeedbackRow.product == product)
    says = select(FeedbackRow.defect_type).where(is_about_inspection())
    counts = says.order_by(FeedbackRow.id.desc()).limit(1).scalar_subquery()
    return InspectionRow.sha256.in_(named) & (counts == defect_type)


def _seen_by(wanted: Filter, column: Any) -> Any:
    """Return a column, or, for a defect type, one for which the database finds no index.

    Few images have a label. Their inspections are then looked for by their content, and not all of a product one by one.
    """
    return column if wanted.defect_type is None else func.coalesce(column, column)


def _contains(search: str) -> ColumnElement[bool]:
    row = InspectionRow
    # SQLite knows upper and lower case of ASCII only
    forms = {search} if search.isascii() else {search, search.lower(), search.upper()}
    texts = (row.name, row.group, row.line, row.station, row.part)
    return or_(*(text.icontains(form, autoescape=True) for text in texts for form in forms))


def _in_order(query: Select[InspectionRow], wanted: Filter, cursor: str | None) -> Select[InspectionRow]:
    order, last = wanted.order, InspectionRow.id
    column = _seen_by(wanted, getattr(InspectionRow, _ORDERED_BY[order]))
    if order == "novel":
        query = query.where(column.is_not(None))
    if cursor is not None:
        value, last_id = _read_cursor(cursor, order)
        after = column > value if order == "uncertain" else column < value
        after_it = last > last_id if order == "uncertain" else last < last_id
        query = query.where(or_(after, and_(column == value, after_it)))
    return (
        query.order_by(column, last) if order == "uncertain" else query.order_by(column.desc(), last.desc())
    )


def _cursor_after(row: InspectionRow, order: Order) -> str:
    value = getattr(row, _ORDERED_BY[order])
    value = value.isoformat() if isinstance(value, datetime) else value
    return base64.urlsafe_b64encode(json.dumps([order, value, row.id]).encode()).decode()


def _read_cursor(cursor: str, order: Order) -> tuple[Any, str]:
    try:
        of_order, value, last_id = json.loads(base64.urlsafe_b64decode(cursor.encode()))
        value = datetime.fromisoformat(value).astimezone(UTC) if order == "newest" else float(value)
    except (ValueError, TypeError, OverflowError, binascii.Error):
        of_order, value, last_id = None, None, None
    if of_order != order or not isinstance(last_id, str) or has_control(last_id):
        raise ValueError(
            f"cursor: expected 'next' of a page with the same order ({order}), received {cursor[:80]!r}"
        )
    return value, last_id


def _recorded(session: Session, rows: Sequence[InspectionRow]) -> list[Recorded]:
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
