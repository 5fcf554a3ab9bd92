"""Maintain sums of inspections by quarter hour and by day, so views need not read all rows.

A sum of a line and station has the inspections there; the sum without both has all of the product. So views of a whole product
read as much with one line as with a thousand. Sums change in the transaction that changes the inspections or their labels.
`count_again` makes them anew from the rows.
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import (
    ColumnElement,
    DateTime,
    ScalarSelect,
    Select,
    bindparam,
    delete,
    func,
    select,
    type_coerce,
)
from sqlalchemy.orm import Session

from defect_detection.records.bins import LATENCY_BINS, SCORE_BINS, latency_bin, score_bin
from defect_detection.records.database import Database, alone_with_labels, insert_or_replace
from defect_detection.records.tables import FeedbackRow, InspectionRow, TallyRow

QUARTER_S = 900  # the offset of every time zone is a multiple of it
DAY_S = 86_400
SPANS_S = (QUARTER_S, DAY_S)
VERDICTS = ("ok", "defective", "review")
LABELS = (None, "ok", "defective")
SCORES_AT = len(VERDICTS) * len(LABELS)
LATENCIES_AT = SCORES_AT + SCORE_BINS
N_COUNTS = LATENCIES_AT + LATENCY_BINS

BEGINNING = datetime.min.replace(tzinfo=UTC)
STORED = "<u4"  # each count in the database

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_STREAMED = {"yield_per": 5_000}  # rows in memory
_KEY: tuple[Any, ...] = (
    TallyRow.product,
    TallyRow.line,
    TallyRow.station,
    TallyRow.span_s,
    TallyRow.begin_s,
    TallyRow.model_name,
    TallyRow.model_version,
    TallyRow.threshold,
)
# Of the tables, and made once: each batch of inspections runs these
_FEEDBACK, _TALLIES = FeedbackRow.__table__.c, TallyRow.__table__.c
_LABELS = (
    select(_FEEDBACK.product, _FEEDBACK.sha256, _FEEDBACK.label)
    .where(_FEEDBACK.sha256.in_(bindparam("contents", expanding=True)))
    .order_by(_FEEDBACK.id)
)
_TALLY = select(*(_TALLIES[column.key] for column in _KEY), _TALLIES.counts, _TALLIES.first_at)
_OF_BEGINS = _TALLY.where(
    _TALLIES.product.in_(bindparam("products", expanding=True)),
    _TALLIES.line.in_(bindparam("lines", expanding=True)),
    _TALLIES.station.in_(bindparam("stations", expanding=True)),
    _TALLIES.span_s.in_(SPANS_S),
    _TALLIES.begin_s.in_(bindparam("begins", expanding=True)),
)
_MODEL = (_TALLIES.begin_s, _TALLIES.model_name, _TALLIES.model_version, _TALLIES.threshold)
_SUM = select(
    *_MODEL, type_coerce(_TALLIES.first_at, DateTime), _TALLIES.counts
)  # of first_at, the zone comes later
IS_WHOLE = (TallyRow.line == "") & (TallyRow.station == "")  # the sums of all places of a product


class Counted(NamedTuple):
    """The counted facts of one inspection. `label`: the current label of its image."""

    at: datetime
    model_name: str
    model_version: int
    threshold: float
    verdict: str
    score: float
    latency_ms: float
    product: str
    line: str
    station: str
    label: str | None


class SumKey(NamedTuple):
    """What one sum is about. `begin_s`: where its span begins, in seconds since 1970."""

    product: str
    line: str
    station: str
    span_s: int
    begin_s: int
    model_name: str
    model_version: int
    threshold: float

    @property
    def is_whole(self) -> bool:
        """Whether it is the sum of all places."""
        return not (self.line or self.station)


Counts = NDArray[np.int64]
Found = tuple[SumKey, Counts, datetime]


class Tally:
    """Sums over one span and one model. `first_at`: when the first inspection was."""

    __slots__ = ("counts", "first_at")

    def __init__(self, first_at: datetime) -> None:
        self.counts = [0] * N_COUNTS
        self.first_at = first_at


# Places in the counts: first the verdicts, each with each label
JUDGED_AT = {pair: place for place, pair in enumerate(itertools.product(VERDICTS, LABELS))}


def tallied(rows: Iterable[Counted]) -> dict[SumKey, Tally]:
    """Sum inspections by quarter hour and model: of each product as a whole, and of each line and station."""
    found: dict[SumKey, Tally] = {}
    for at, name, version, threshold, verdict, score, latency_ms, product, line, station, label in rows:
        places = (
            JUDGED_AT[verdict, label],
            SCORES_AT + score_bin(score),
            LATENCIES_AT + latency_bin(latency_ms),
        )
        for tally in _tallies_of(found, at, (product, line, station), (name, version, threshold)):
            for place in places:
                tally.counts[place] += 1
    return found


def _tallies_of(
    found: dict[SumKey, Tally], at: datetime, where: tuple[str, str, str], model: tuple[str, int, float]
) -> Iterator[Tally]:
    """Yield the sum of the product, and that of the line and station if there are any."""
    begin_s, whole = begin_of(at, QUARTER_S), (where[0], "", "")
    for place in (whole,) if where == whole else (whole, where):
        key = SumKey(*place, QUARTER_S, begin_s, *model)
        tally = found.get(key)
        if tally is None:
            tally = found[key] = Tally(at)
        elif at < tally.first_at:
            tally.first_at = at
        yield tally


def begin_of(at: datetime, span_s: int) -> int:
    """Return the second since 1970 at which the span of a moment begins."""
    return int(at.timestamp() // span_s) * span_s


def moment_of(second: float) -> datetime:
    """Return the moment of a second since 1970."""
    return _EPOCH + timedelta(seconds=second)


def counted_rows() -> Select[*tuple[Any, ...]]:
    """Return the query for the columns of `Counted`."""
    row = InspectionRow
    facts = (row.at, row.model_name, row.model_version, row.threshold, row.verdict, row.score, row.latency_ms)
    return select(*facts, row.product, row.line, row.station, label_that_counts())


def label_that_counts() -> ScalarSelect[str]:
    """Return the query for the label of an inspection's image that counts: the last by its id, since a clock may be set back."""
    said = select(FeedbackRow.label).where(is_about_inspection())
    return said.order_by(FeedbackRow.id.desc()).limit(1).scalar_subquery()


def is_about_inspection() -> ColumnElement[bool]:
    """Return the condition that a label is about an inspection: about its image, as one of the same product."""
    return (FeedbackRow.sha256 == InspectionRow.sha256) & (FeedbackRow.product == InspectionRow.product)


def current_labels(session: Session, contents: Iterable[str]) -> dict[tuple[str, str], str]:
    """Return the current label of each image that has one, by product and sha256."""
    rows = session.connection().execute(_LABELS, {"contents": list(contents)})
    return {(row.product, row.sha256): row.label for row in rows}


def count_in(session: Session, rows: Iterable[Counted]) -> None:
    """Add inspections that were just inserted. The transaction is `alone_with_labels`."""
    _add(session, tallied(rows), 1)


def count_out(session: Session, ids: Iterable[str]) -> None:
    """Subtract inspections that are about to be deleted. The transaction is `alone_with_labels`."""
    rows = session.execute(counted_rows().where(InspectionRow.id.in_(ids)))
    _add(session, tallied(Counted(*row) for row in rows), -1)


def count_label(session: Session, product: str, sha256: str, before: str | None, label: str) -> None:
    """Move all inspections of a product's image to its new label. The transaction is `alone_with_labels`."""
    row = InspectionRow
    model = (row.model_name, row.model_version, row.threshold)
    query = select(row.at, row.verdict, row.line, row.station, *model)
    changes: dict[SumKey, Tally] = {}
    of_image = query.where(row.sha256 == sha256, row.product == product)
    for one in session.execute(of_image, execution_options=_STREAMED):
        at, verdict, line, station, name, version, threshold = one
        for tally in _tallies_of(changes, at, (product, line, station), (name, version, threshold)):
            tally.counts[JUDGED_AT[verdict, before]] -= 1
            tally.counts[JUDGED_AT[verdict, label]] += 1
    _add(session, changes, 1)


def count_all(session: Session) -> int:
    """Return the number of all inspections."""
    days = find_tallies(session, (TallyRow.span_s == DAY_S) & IS_WHOLE)
    return sum(int(counts[:SCORES_AT].sum()) for _, counts, _ in days)


def count_again(database: Database) -> int:
    """Recompute all sums from the inspections, one day per transaction, and return the number of days.

    Raises:
        RecordsError: the database can't be written.
    """
    since, days = BEGINNING, 0
    while True:
        with database.writing() as session:
            alone_with_labels(session)
            after = count_next_day(session, since)
        if after is None:
            return days
        since, days = after, days + 1


def count_next_day(session: Session, since: datetime) -> datetime | None:
    """Recompute the sums of the first day with inspections, and remove those of the days before it down to `since`.

    Returns:
        when that day ends; None: nothing was inspected after `since`, and no sums are left there.
    """
    row, begin = InspectionRow, TallyRow.begin_s
    first = session.scalar(select(func.min(row.at)).where(row.at >= since))
    stale = delete(TallyRow).where(begin >= begin_of(since, QUARTER_S))
    if first is None:
        session.execute(stale)
        return None
    after_s = begin_of(first, DAY_S) + DAY_S
    session.execute(stale.where(begin < after_s))
    day = counted_rows().where(row.at >= since, row.at < moment_of(after_s))
    rows = session.execute(day, execution_options=_STREAMED)
    _add(session, tallied(Counted(*row) for row in rows), 1)
    return moment_of(after_s)


def _add(session: Session, changes: Mapping[SumKey, Tally], sign: int) -> None:
    """Add to the sums of the quarter hours and their days; empty rows are deleted."""
    if not changes:
        return
    known = {key: (counts, first_at) for key, counts, first_at in _known(session, changes)}
    changed: dict[SumKey, tuple[Counts, datetime]] = {}
    for quarter, tally in changes.items():
        for span_s in SPANS_S:
            key = quarter._replace(span_s=span_s, begin_s=quarter.begin_s // span_s * span_s)
            counts, first_at = changed.get(key) or known.get(key) or (0, tally.first_at)
            changed[key] = counts + sign * np.array(tally.counts), min(first_at, tally.first_at)
    _write(session, changed)


def _known(session: Session, changes: Iterable[SumKey]) -> list[Found]:
    """Return the sums that there are of the places and times of some."""
    keys = list(changes)
    wanted = {
        f"{name}s": list({getattr(key, name) for key in keys}) for name in ("product", "line", "station")
    }
    wanted["begins"] = list({key.begin_s // span_s * span_s for key in keys for span_s in SPANS_S})
    return _found(session.connection().execute(_OF_BEGINS, wanted))


def find_tallies(session: Session, chosen: ColumnElement[bool]) -> list[Found]:
    """Return sums with the keys of `TallyRow`, and when the first inspection of each was."""
    return _found(session.connection().execute(_TALLY.where(chosen)))


def find_sums(session: Session, chosen: ColumnElement[bool]) -> tuple[Sequence[Any], Counts]:
    """Return what many sums are about, without their places, and their counts as one array of shape (n_sums, N_COUNTS).

    What a sum is about: begin_s, model_name, model_version, threshold, first_at without a zone.
    """
    rows = session.connection().execute(_SUM.where(chosen)).all()
    counts = np.frombuffer(b"".join(row[-1] for row in rows), STORED)
    return rows, counts.reshape(-1, N_COUNTS).astype(np.int64)


def _found(rows: Iterable[Any]) -> list[Found]:
    return [(SumKey(*key), np.frombuffer(counts, STORED).astype(np.int64), at) for *key, counts, at in rows]


def _write(session: Session, tallies: Mapping[SumKey, tuple[Counts, datetime]]) -> None:
    kept = []
    for key, (counts, first_at) in tallies.items():
        row: dict[str, Any] = key._asdict()
        if counts.any():
            kept.append(row | {"counts": counts.clip(0).astype(STORED).tobytes(), "first_at": first_at})
        else:
            session.execute(delete(TallyRow).filter_by(**row))
    insert_or_replace(session, TallyRow, kept)
