"""``GET /statistics``: statistics of the inspections of a period."""

from datetime import UTC, datetime, timedelta

from flask import Response
from flask_openapi3.blueprint import APIBlueprint
from pydantic import BaseModel, Field
from werkzeug.exceptions import BadRequest

from defect_detection.evaluation.control import ControlLimits, p_chart
from defect_detection.records.counts import (
    MOST_RANGES,
    MOST_ROWS,
    Chosen,
    Period,
    Statistics,
    count_inspections,
)
from defect_detection.serving.answer import as_json
from defect_detection.serving.of_product import product_name
from defect_detection.serving.problems import described
from defect_detection.serving.services import services
from defect_detection.serving.strict import Moment, Query, Words
from defect_detection.serving.views.records import INSPECTIONS

LONGEST = timedelta(days=800)

statistics_api = APIBlueprint("statistics", __name__)


class StatisticsQuery(Query):
    """The time range, and the number of equal periods: see `rounded`."""

    since: Moment | None = Field(
        None, description="start, ISO 8601, by default UTC; default: a day before `until`"
    )
    until: Moment | None = Field(None, description="end, excluded; default: now")
    periods: int = Field(24, ge=1, le=200)
    line: Words | None = None
    station: Words | None = None
    model_version: int | None = Field(None, ge=1, le=2**31 - 1)

    @property
    def chosen(self) -> Chosen:
        """Which inspections of the request's product are counted."""
        return Chosen(product_name(), self.line or None, self.station or None, self.model_version)


class ModelShown(BaseModel):
    """A model that decided."""

    name: str
    version: int
    threshold: float = Field(description="an image is defective when score >= threshold")


class PeriodShown(BaseModel):
    """One period. The rate and its limits are null without inspections."""

    since: datetime
    inspected: int
    ok: int
    defective: int
    review: int
    reject_rate: float | None = Field(description="defective / inspected")
    low: float | None = Field(description="lower control limit of the reject rate, three sigma")
    high: float | None = Field(description="upper control limit")
    p50_ms: float | None = Field(description="median latency, within 5 %")
    p95_ms: float | None
    models: list[ModelShown] = Field(description="models of the period, ordered by their first inspection")

    @classmethod
    def of(cls, period: Period, limits: ControlLimits | None) -> "PeriodShown":
        counts = {name: getattr(period, name) for name in ("since", "ok", "defective", "review", "inspected")}
        return cls(
            **counts,
            reject_rate=period.defective / period.inspected if period.inspected else None,
            low=limits.low if limits else None,
            high=limits.high if limits else None,
            p50_ms=period.p50_ms,
            p95_ms=period.p95_ms,
            models=[
                ModelShown(name=one.name, version=one.version, threshold=one.threshold)
                for one in period.models
            ],
        )


class StatisticsShown(BaseModel):
    since: datetime
    until: datetime
    rounded: bool = Field(
        description=f"whether the bounds of periods were moved to whole quarter hours, because more than {MOST_ROWS} "
        f"inspections would have to be read one by one, or more than {MOST_RANGES} quarter hours are cut. Empty periods are "
        "then left out"
    )
    inspected: int
    ok: int
    defective: int
    review: int
    reject_rate: float | None = Field(description="defective / inspected: the centre line of the p-chart")
    p50_ms: float | None = Field(description="median latency, within 5 %")
    p95_ms: float | None
    scores: list[int] = Field(description="histogram of the scores, in bins of equal width from 0 to 1")
    labelled: int = Field(description="inspections whose image has a label")
    escapes: int = Field(description="verdict ok, label defective")
    overkill: int = Field(description="verdict defective, label ok")
    clock: str | None = Field(
        description="why the clock may be wrong, according to the dates of inspections; null: no sign"
    )
    lines: list[str] = Field(description="lines of the product in these days, whichever was chosen")
    stations: list[str] = Field(description="stations of the product in these days")
    periods: list[PeriodShown]


@statistics_api.get(
    "/statistics",
    summary="Count verdicts, latencies and scores over time",
    tags=[INSPECTIONS],
    responses={200: StatisticsShown, **{status: described(status) for status in (400, 401, 403, 503)}},
)
def statistics(query: StatisticsQuery) -> Response:
    since, until = time_of(query)
    with services().reads.page():
        counted = count_inspections(services().records.database, since, until, query.periods, query.chosen)
    return as_json(_shown(counted))


def time_of(query: StatisticsQuery) -> tuple[datetime, datetime]:
    """Return start and end of a query.

    Raises:
        BadRequest: they are too near or too far.
    """
    until = query.until or datetime.now(UTC)
    since = query.since or until - timedelta(days=1)
    if not timedelta(minutes=1) <= until - since <= LONGEST:
        raise BadRequest(
            f"since, until: expected a period from 1 minute to {LONGEST.days} days, received {query.since} to {query.until}"
        )
    return since, until


def _shown(counted: Statistics) -> StatisticsShown:
    periods = counted.periods
    centre, limits = p_chart([one.defective for one in periods], [one.inspected for one in periods])
    totals = {
        name: sum(getattr(one, name) for one in periods)
        for name in ("inspected", "ok", "defective", "review")
    }
    judged = {name: getattr(counted.judged, name) for name in ("labelled", "escapes", "overkill")}
    return StatisticsShown(
        since=counted.since,
        until=counted.until,
        rounded=counted.rounded,
        clock=counted.clock or None,
        lines=list(counted.lines),
        stations=list(counted.stations),
        **totals,
        **judged,
        reject_rate=centre,
        p50_ms=counted.p50_ms,
        p95_ms=counted.p95_ms,
        scores=list(counted.scores),
        periods=[PeriodShown.of(one, limit) for one, limit in zip(periods, limits, strict=True)],
    )
