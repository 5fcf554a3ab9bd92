"""Count what was inspected in a time: verdicts, latencies and scores, and how far people agreed."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Integer, Select, and_, case, cast, extract, func, select
from sqlalchemy.orm import Session

from defect_detection.records.database import Database
from defect_detection.records.tables import FeedbackRow, InspectionRow

QUANTILES = (50, 95)  # in percent, of latencies
SCORE_BINS = 20  # of equal width over [0, 1]

Row = InspectionRow


@dataclass(frozen=True, slots=True)
class Decided:
    """A model that decided in a period, with its decision threshold."""

    name: str
    version: int
    threshold: float


@dataclass(slots=True)
class Period:
    """One of the equal parts of the time.

    p50_ms, p95_ms: latencies; None when nothing was inspected. models: those that decided, in the order of their first inspection.
    """

    since: datetime
    ok: int = 0
    defective: int = 0
    review: int = 0
    p50_ms: float | None = None
    p95_ms: float | None = None
    models: list[Decided] = field(default_factory=list)

    @property
    def inspected(self) -> int:
        return self.ok + self.defective + self.review


@dataclass(frozen=True, slots=True)
class Judged:
    """What people said of the inspections: the label that counts, beside the verdict.

    labelled: inspections with a label. escapes: called ok, and are defective. overkill: called defective, and are OK.
    """

    labelled: int
    escapes: int
    overkill: int


@dataclass(frozen=True, slots=True)
class Statistics:
    """`scores`: inspections by P(defective), in `SCORE_BINS` bins. `p50_ms`, `p95_ms`: latencies of the whole time."""

    periods: tuple[Period, ...]
    scores: tuple[int, ...]
    p50_ms: float | None
    p95_ms: float | None
    judged: Judged


def count_inspections(database: Database, since: datetime, until: datetime, n_periods: int) -> Statistics:
    """Count the inspections from `since` until before `until`, in periods of equal length.

    Raises:
        RecordsError: the database can't be reached.
    """
    width_s = (until - since) / timedelta(seconds=1) / n_periods
    within = and_(Row.at >= since, Row.at < until)
    number = _floor((extract("epoch", Row.at) - since.timestamp()) / width_s)
    periods = tuple(Period(since + timedelta(seconds=width_s * i)) for i in range(n_periods))
    with database.reading() as session:
        _count_verdicts(session, periods, number, within)
        _name_models(session, periods, number, within)
        for at, percent, value in _quantiles(session, number, within):
            setattr(periods[_clamped(at, n_periods)], f"p{percent}_ms", value)
        overall = {
            f"p{percent}_ms": value for _, percent, value in _quantiles(session, cast(0, Integer), within)
        }
        return Statistics(
            periods,
            _count_scores(session, within),
            overall.get("p50_ms"),
            overall.get("p95_ms"),
            _judge(session, within),
        )


def _count_verdicts(
    session: Session, periods: Sequence[Period], number: ColumnElement[int], within: ColumnElement[bool]
) -> None:
    counted = select(number.label("period"), Row.verdict).where(within).subquery()
    query = select(counted.c.period, counted.c.verdict, func.count()).group_by(
        counted.c.period, counted.c.verdict
    )
    for at, verdict, count in session.execute(query):
        period = periods[_clamped(at, len(periods))]
        setattr(period, verdict, getattr(period, verdict) + count)


def _name_models(
    session: Session, periods: Sequence[Period], number: ColumnElement[int], within: ColumnElement[bool]
) -> None:
    rows = (
        select(number.label("period"), Row.at.label("at"), Row.model_name, Row.model_version, Row.threshold)
        .where(within)
        .subquery()
    )
    model = (rows.c.period, rows.c.model_name, rows.c.model_version, rows.c.threshold)
    for at, *facts in session.execute(select(*model).group_by(*model).order_by(func.min(rows.c.at))):
        periods[_clamped(at, len(periods))].models.append(Decided(*facts))


def _quantiles(
    session: Session, number: ColumnElement[int], within: ColumnElement[bool]
) -> list[tuple[int, int, float]]:
    """Return (period, percent, latency in ms): the least latency that so many percent don't exceed."""
    numbered = select(number.label("period"), Row.latency_ms.label("ms")).where(within).subquery()
    ranked = select(
        numbered,
        func.row_number().over(partition_by=numbered.c.period, order_by=numbered.c.ms).label("rank"),
        func.count().over(partition_by=numbered.c.period).label("n"),
    ).subquery()
    found = []
    for percent in QUANTILES:
        at_rank = ranked.c.rank == cast((ranked.c.n * percent + 99) // 100, Integer)
        query = select(ranked.c.period, ranked.c.ms).where(at_rank)
        found += [(int(period), percent, float(ms)) for period, ms in session.execute(query)]
    return found


def _count_scores(session: Session, within: ColumnElement[bool]) -> tuple[int, ...]:
    binned = select(_floor(Row.score * SCORE_BINS).label("bin")).where(within).subquery()
    counts = [0] * SCORE_BINS
    for at, count in session.execute(select(binned.c.bin, func.count()).group_by(binned.c.bin)):
        counts[_clamped(at, SCORE_BINS)] += count  # a score of 1 belongs into the last bin
    return tuple(counts)


def _judge(session: Session, within: ColumnElement[bool]) -> Judged:
    latest = _latest_labels().subquery()
    pairs = (
        select(Row.verdict, latest.c.label, func.count())
        .join(latest, and_(latest.c.sha256 == Row.sha256, latest.c.rank == 1))
        .where(within)
        .group_by(Row.verdict, latest.c.label)
    )
    counts = {(verdict, label): count for verdict, label, count in session.execute(pairs)}
    return Judged(
        sum(counts.values()), counts.get(("ok", "defective"), 0), counts.get(("defective", "ok"), 0)
    )


def _latest_labels() -> Select[tuple[str, str, int]]:
    row = FeedbackRow
    rank = func.row_number().over(partition_by=row.sha256, order_by=(row.at.desc(), row.id.desc()))
    return select(row.sha256, row.label, rank.label("rank"))


def _floor(value: ColumnElement[Any]) -> ColumnElement[int]:
    """Round down: a cast rounds to the nearest in PostgreSQL, and SQLite may lack floor()."""
    whole = cast(value, Integer)
    return case((whole > value, whole - 1), else_=whole)


def _clamped(number: int, n: int) -> int:
    """Return an index: SQLite counts whole seconds, which may fall before the first period."""
    return min(max(int(number), 0), n - 1)
