"""Count the inspections of a period: verdicts, latencies, scores and agreement with labels.

Whole quarter hours and days come from their sums; only what lies between a bound of a period and the next whole quarter hour is
read one by one.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from sqlalchemy import ColumnElement, and_, between, bindparam, or_, select, true
from sqlalchemy.orm import Session

from defect_detection.records.bins import latency_of
from defect_detection.records.clock import doubt_of_clock
from defect_detection.records.database import READ_S, Database
from defect_detection.records.tables import InspectionRow, TallyRow
from defect_detection.records.tallies import (
    DAY_S,
    IS_WHOLE,
    JUDGED_AT,
    LATENCIES_AT,
    N_COUNTS,
    QUARTER_S,
    SCORES_AT,
    VERDICTS,
    Counted,
    Counts,
    begin_of,
    counted_rows,
    find_sums,
    find_tallies,
    moment_of,
    tallied,
)

MOST_PLACES = 200
MOST_ROWS = 10_000  # that are read one by one: about a tenth of a second,
MOST_RANGES = 100  # in so many parts of quarter hours

Range = tuple[datetime, datetime]  # from the first moment until before the second


@dataclass(frozen=True, slots=True)
class Decided:
    """A model that decided in a period, with its decision threshold."""

    name: str
    version: int
    threshold: float


@dataclass(slots=True)
class Period:
    """One part of the time.

    p50_ms, p95_ms: latencies, within 5 %; None when nothing was inspected.
    models: those that decided, in the order of their first inspection.
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
    """The labels of inspections beside their verdicts. Only the current label of an image counts.

    labelled: inspections with a label. escapes: called ok, and are defective. overkill: called defective, and are OK.
    """

    labelled: int
    escapes: int
    overkill: int


@dataclass(frozen=True, slots=True)
class Statistics:
    """What was counted from `since` until before `until`.

    rounded: whether the bounds of periods were moved to whole quarter hours.
    scores: inspections by P(defective), in `SCORE_BINS` bins.
    p50_ms, p95_ms: latencies of the whole period. clock: why the clock of this server may be wrong, or "".
    lines, stations: of the product in these days, whichever was chosen; `MOST_PLACES` of each at most.
    """

    since: datetime
    until: datetime
    rounded: bool
    periods: tuple[Period, ...]
    scores: tuple[int, ...]
    p50_ms: float | None
    p95_ms: float | None
    judged: Judged
    clock: str = ""
    lines: tuple[str, ...] = ()
    stations: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Chosen:
    """Which inspections are counted; None where everything is wanted."""

    product: str | None = None
    line: str | None = None
    station: str | None = None
    model_version: int | None = None

    def of(self, row: type[InspectionRow | TallyRow]) -> ColumnElement[bool]:
        """Return the condition for inspections, or for their sums."""
        wanted = {
            name: value for name in self.__dataclass_fields__ if (value := getattr(self, name)) is not None
        }
        chosen = and_(true(), *(getattr(row, name) == value for name, value in wanted.items()))
        is_whole = row is TallyRow and not (self.line or self.station)
        return chosen & IS_WHOLE if is_whole else chosen


ALL = Chosen()


def count_inspections(
    database: Database, since: datetime, until: datetime, n_periods: int, chosen: Chosen = ALL
) -> Statistics:
    """Count the inspections from `since` until before `until`, in periods of equal length.

    Where more than `MOST_ROWS` inspections would have to be read one by one, or in more than `MOST_RANGES` queries, the bounds of the
    periods move to whole quarter hours: `since` to the one before, all others to the one after. Periods that would be empty then are
    left out.

    Raises:
        SlowReadError: it takes too long. RecordsError: the database can't be reached.
    """
    bounds = [since + (until - since) * i / n_periods for i in range(n_periods)] + [until]
    with database.reading(READ_S) as session:
        singly = list(_beside_quarters(bounds))
        rounded = len(singly) > MOST_RANGES or _count_at_most(session, singly, chosen) > MOST_ROWS
        if rounded:
            bounds = sorted({_quarter_before(since), *(_quarter_after(bound) for bound in bounds[1:])})
            singly = []
        sums = _Sums(bounds, chosen)
        if singly:
            sums.add_rows(_rows_in(session, singly, chosen))
        sums.add_whole(session)
        found = sums.statistics(rounded)
        lines, stations = (_places(session, found, name, chosen.product) for name in ("line", "station"))
        return replace(found, clock=doubt_of_clock(session), lines=lines, stations=stations)


def _rows_in(session: Session, ranges: Sequence[Range], chosen: Chosen) -> Iterator[Counted]:
    """Yield the inspections in some parts of the time: a query for each, because SQLite reads all if one names many."""
    query = counted_rows().where(is_between(InspectionRow.at), chosen.of(InspectionRow))
    for since, until in ranges:
        for row in session.connection().execute(query, {"since": since, "until": until}):
            yield Counted(*row)


def is_between(column: Any) -> ColumnElement[bool]:
    """Return the condition that a time is in a range, whose bounds come with each execution: `since` and `until`."""
    since, until = (bindparam(name, type_=column.type) for name in ("since", "until"))
    return (column >= since) & (column < until)


def _places(session: Session, found: Statistics, name: str, product: str | None) -> tuple[str, ...]:
    """Return the lines, or the stations, of a product in the days of a period."""
    column, row = getattr(TallyRow, name), TallyRow
    days = row.begin_s.between(begin_of(found.since, DAY_S), begin_of(found.until, DAY_S))
    query = select(column).distinct().where(row.span_s == DAY_S, days, column != "")
    query = query if product is None else query.where(row.product == product)
    return tuple(session.scalars(query.order_by(column).limit(MOST_PLACES)))


def _quarter_before(moment: datetime) -> datetime:
    return moment_of(begin_of(moment, QUARTER_S))


def _quarter_after(moment: datetime) -> datetime:
    before = _quarter_before(moment)
    return before if before == moment else before + timedelta(seconds=QUARTER_S)


def _beside_quarters(bounds: Sequence[datetime]) -> Iterator[Range]:
    """Yield the parts of those quarter hours that a bound cuts."""
    for quarter in sorted({_quarter_before(bound) for bound in bounds if _quarter_before(bound) != bound}):
        yield max(quarter, bounds[0]), min(quarter + timedelta(seconds=QUARTER_S), bounds[-1])


def _count_at_most(session: Session, ranges: Sequence[Range], chosen: Chosen) -> int:
    """Count the inspections in quarter hours that are only partly inside the period."""
    begins = [begin_of(from_, QUARTER_S) for from_, _ in ranges]
    found = find_tallies(
        session, chosen.of(TallyRow) & (TallyRow.span_s == QUARTER_S) & TallyRow.begin_s.in_(begins)
    )
    return sum(int(counts[:SCORES_AT].sum()) for _, counts, _ in found)


class _Sums:
    """Counts of each period, and since when each model decided in it."""

    def __init__(self, bounds: Sequence[datetime], chosen: Chosen) -> None:
        self._bounds = bounds
        self._bounds_s = np.array([bound.timestamp() for bound in bounds])
        self._chosen = chosen
        self._counts = np.zeros((len(bounds) - 1, N_COUNTS), np.int64)
        self._models: list[dict[Decided, datetime]] = [{} for _ in bounds[1:]]

    def add_rows(self, rows: Iterable[Counted]) -> None:
        by_period: dict[int, list[Counted]] = {}
        for row in rows:
            by_period.setdefault(bisect_right(self._bounds, row.at) - 1, []).append(row)
        for place, own in by_period.items():
            for key, tally in tallied(own).items():
                if key.is_whole:
                    self._counts[place] += np.array(tally.counts)
                    self._decided(place, Decided(*key[-3:]), tally.first_at)

    def add_whole(self, session: Session) -> None:
        """Add the days that no bound cuts, and of the others the quarter hours that none cuts."""
        since, until = self._bounds[0], self._bounds[-1]
        self._add_uncut(session, DAY_S, [(since, until)])
        cut = sorted(
            {begin_of(bound, DAY_S) for bound in self._bounds if moment_of(begin_of(bound, DAY_S)) != bound}
        )
        days = [(moment_of(day), moment_of(day + DAY_S)) for day in cut]
        self._add_uncut(session, QUARTER_S, [(max(since, a), min(until, b)) for a, b in days])

    def _add_uncut(self, session: Session, span_s: int, ranges: Sequence[Range]) -> None:
        if not ranges:
            return
        begin = TallyRow.begin_s
        within = or_(*(between(begin, begin_of(a, QUARTER_S), begin_of(b, QUARTER_S)) for a, b in ranges))
        chosen = self._chosen.of(TallyRow) & (TallyRow.span_s == span_s) & within
        rows, counts = find_sums(session, chosen)
        begins = np.array([row[0] for row in rows], np.int64)
        places = np.searchsorted(self._bounds_s, begins, "right") - 1
        ends = np.append(self._bounds_s, 0)[places + 1]  # beyond the last: in no period
        inside = np.flatnonzero((places >= 0) & (begins + span_s <= ends))
        for place in np.unique(places[inside]):
            self._counts[place] += counts[inside[places[inside] == place]].sum(axis=0)
        firsts: dict[tuple[int, str, int, float], datetime] = {}
        for number, place in zip(inside.tolist(), places[inside].tolist(), strict=True):
            _, *model, at, _ = rows[number]
            key = (place, *model)
            if key not in firsts or at < firsts[key]:
                firsts[key] = at
        for (place, *model), at in firsts.items():
            self._decided(place, Decided(*model), at.replace(tzinfo=UTC))

    def _decided(self, place: int, model: Decided, first_at: datetime) -> None:
        models = self._models[place]
        models[model] = min(first_at, models.get(model, first_at))

    def statistics(self, rounded: bool) -> Statistics:
        whole = self._counts.sum(axis=0)
        return Statistics(
            self._bounds[0],
            self._bounds[-1],
            rounded,
            tuple(self._period(place) for place in range(len(self._models))),
            tuple(whole[SCORES_AT:LATENCIES_AT].tolist()),
            *_quantiles(whole),
            _judged(whole),
        )

    def _period(self, place: int) -> Period:
        counts, models = self._counts[place], self._models[place]
        ok, defective, review = counts[:SCORES_AT].reshape(len(VERDICTS), -1).sum(axis=1).tolist()
        in_order = sorted(models, key=lambda one: models[one])
        return Period(self._bounds[place], ok, defective, review, *_quantiles(counts), in_order)


def _quantiles(counts: Counts) -> tuple[float | None, float | None]:
    """Return the latencies that half, and 95 %, do not exceed."""
    up_to = counts[LATENCIES_AT:].cumsum()
    if not up_to[-1]:
        return None, None
    p50, p95 = (np.searchsorted(up_to, -(-int(up_to[-1]) * percent // 100)) for percent in (50, 95))
    return latency_of(int(p50)), latency_of(int(p95))


def _judged(counts: Counts) -> Judged:
    labelled = sum(int(counts[place]) for (_, label), place in JUDGED_AT.items() if label)
    escapes, overkill = JUDGED_AT["ok", "defective"], JUDGED_AT["defective", "ok"]
    return Judged(labelled, int(counts[escapes]), int(counts[overkill]))
