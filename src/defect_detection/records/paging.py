"""Find inspections page by page, under a filter and in an order.

A filter that few inspections match is answered by its own index, and they are sorted; every other one by an index of the order, which
the search walks until the page is full. A search of texts has no index: one page looks through so many inspections only, and its
cursor says where the next page goes on.
"""

import base64
import binascii
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from sqlalchemy import ColumnElement, Select, exists, func, literal, not_, or_, select
from sqlalchemy.orm import Session

from defect_detection.records.database import READ_S, Database, unindexed
from defect_detection.records.inspections import Recorded, recorded_of
from defect_detection.records.tables import FeedbackRow, InspectionRow
from defect_detection.records.tallies import is_about_inspection
from defect_detection.text import has_control

FEW = 5_000  # inspections: sorting them takes as long as a walk that finds a page among a million with more
MOST_SEARCHED = 5_000  # inspections of which one page compares the texts: under a tenth of a second
Order = Literal["newest", "uncertain", "novel"]
_EQUAL = ("product", "verdict", "model_version", "line", "station", "group", "part")
_BEFORE = frozenset({"product"})  # in the indexes of groups and parts
_PagePlace = tuple[Any, str]  # in the order: the value of its column and the id, of one inspection
_ORDERED_BY: Mapping[Order, str] = {"newest": "at", "uncertain": "margin", "novel": "novelty"}


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

    @property
    def is_about_labels(self) -> bool:
        """Whether only labelled images are wanted."""
        return bool(self.labelled or self.label or self.defect_type)


@dataclass(frozen=True, slots=True)
class InspectionPage:
    """`next` is the cursor of the page after this one; None on the last. A page of a search may be short before the last."""

    inspections: tuple[Recorded, ...]
    next: str | None


def find_page(database: Database, wanted: Filter, cursor: str | None, limit: int) -> InspectionPage:
    """Return at most `limit` inspections: the newest, the least certain or the most novel first.

    Pages don't shift when inspections are added meanwhile: the cursor names the last one that was looked at.

    Raises:
        ValueError: the cursor is none that `next` of a page with this order was.
        SlowReadError: it takes too long. RecordsError: the database can't be reached.
    """
    after = None if cursor is None else _read_cursor(cursor, wanted.order)
    with database.reading(READ_S) as session:
        query = _PageQuery(wanted, _few_by(session, wanted))
        found = query.beyond(query.matching(), after)
        edge = None if wanted.search is None else query.edge_after(session, after)
        if wanted.search is not None:
            found = query.up_to(found.where(_contains(wanted.search)), edge)
        rows = list(session.scalars(query.in_order(found).limit(limit + 1)))
        shown = rows[:limit]
        last = (getattr(shown[-1], query.by), shown[-1].id) if len(rows) > limit else edge
        return InspectionPage(
            tuple(recorded_of(session, shown)), None if last is None else _cursor_after(last, wanted.order)
        )


def _few_by(session: Session, wanted: Filter) -> frozenset[str]:
    """Return the columns of the filters that few inspections of the product match."""
    row, narrow = InspectionRow, dict[str, ColumnElement[bool]]()
    if wanted.product is None:
        return frozenset()
    for name in ("group", "part"):
        if (value := getattr(wanted, name)) is not None:
            narrow[name] = (row.product == wanted.product) & (getattr(row, name) == value)
    if wanted.is_about_labels:
        narrow["sha256"] = row.sha256.in_(_labelled(wanted))
    return frozenset(name for name, condition in narrow.items() if _do_few_match(session, condition))


def _do_few_match(session: Session, condition: ColumnElement[bool]) -> bool:
    some = select(literal(1)).select_from(InspectionRow).where(condition).limit(FEW + 1).subquery()
    return (session.scalar(select(func.count()).select_from(some)) or 0) <= FEW


def _labelled(wanted: Filter) -> Select[Any]:
    """Return the query for the images that ever got such a label."""
    named = {name: getattr(wanted, name) for name in ("product", "label", "defect_type")}
    conditions = [getattr(FeedbackRow, name) == value for name, value in named.items() if value is not None]
    return select(FeedbackRow.sha256).where(*conditions)


@dataclass(frozen=True, slots=True)
class _PageQuery:
    """The parts of one query. few: columns of filters that few inspections match; the database finds no index for the others then."""

    wanted: Filter
    few: frozenset[str]

    @property
    def by(self) -> str:
        return _ORDERED_BY[self.wanted.order]

    def _seen(self, name: str) -> Any:
        column, by_index = (
            getattr(InspectionRow, name),
            self.few | _BEFORE if self.few - {"sha256"} else self.few,
        )
        return column if not self.few or name in by_index else unindexed(column)

    def matching(self) -> Select[InspectionRow]:
        """Return the query for what matches all filters but the search."""
        wanted, query = self.wanted, select(InspectionRow)
        for name in _EQUAL:
            if (value := getattr(wanted, name)) is not None:
                query = query.where(self._seen(name) == value)
        if wanted.since is not None:
            query = query.where(self._seen("at") >= wanted.since)
        if wanted.until is not None:
            query = query.where(self._seen("at") < wanted.until)
        if wanted.order == "novel":
            query = query.where(self._seen(self.by).is_not(None))
        return query.where(*self._labels())

    def _labels(self) -> Iterator[ColumnElement[bool]]:
        wanted = self.wanted
        if "sha256" in self.few:
            yield InspectionRow.sha256.in_(_labelled(wanted))
        if wanted.label is not None:
            yield _last_said(FeedbackRow.label) == wanted.label
        if wanted.defect_type is not None:
            yield _last_said(FeedbackRow.defect_type) == wanted.defect_type
        if wanted.labelled is not None:
            has_label = exists().where(is_about_inspection())
            yield has_label if wanted.labelled else ~has_label

    def beyond(self, query: Select[Any], after: _PagePlace | None) -> Select[Any]:
        """Return what comes after a place in the order."""
        return query if after is None else query.where(self._is_behind(after))

    def up_to(self, query: Select[Any], edge: _PagePlace | None) -> Select[Any]:
        """Return what comes before a place in the order, or at it."""
        return query if edge is None else query.where(not_(self._is_behind(edge)))

    def edge_after(self, session: Session, after: _PagePlace | None) -> _PagePlace | None:
        """Return the place of the last inspection that a search looks at; None if it looks at all that are left."""
        keys = self.matching().with_only_columns(getattr(InspectionRow, self.by), InspectionRow.id)
        query = self.in_order(self.beyond(keys, after)).offset(MOST_SEARCHED - 1).limit(1)
        found = session.execute(query).first()
        return None if found is None else (found[0], found[1])

    def in_order(self, query: Select[Any]) -> Select[Any]:
        column, last = self._seen(self.by), InspectionRow.id
        rising = self.wanted.order == "uncertain"
        return query.order_by(column, last) if rising else query.order_by(column.desc(), last.desc())

    def _is_behind(self, place: _PagePlace) -> ColumnElement[bool]:
        column, last, (value, last_id) = self._seen(self.by), InspectionRow.id, place
        rising = self.wanted.order == "uncertain"
        behind = column > value if rising else column < value
        return or_(behind, (column == value) & (last > last_id if rising else last < last_id))


def _last_said(column: Any) -> Any:
    """Return what the label that counts says: the last by its id."""
    return (
        select(column).where(is_about_inspection()).order_by(FeedbackRow.id.desc()).limit(1).scalar_subquery()
    )


def _contains(search: str) -> ColumnElement[bool]:
    row = InspectionRow
    # SQLite knows upper and lower case of ASCII only
    forms = {search} if search.isascii() else {search, search.lower(), search.upper()}
    texts = (row.name, row.group, row.line, row.station, row.part)
    return or_(*(text.icontains(form, autoescape=True) for text in texts for form in forms))


def _cursor_after(place: _PagePlace, order: Order) -> str:
    value, last_id = place
    value = value.isoformat() if isinstance(value, datetime) else value
    return base64.urlsafe_b64encode(json.dumps([order, value, last_id]).encode()).decode()


def _read_cursor(cursor: str, order: Order) -> _PagePlace:
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
