"""``GET /statistics/types``: the types of defects over time and by line."""

from collections import Counter
from datetime import datetime
from itertools import accumulate

from flask import Response
from flask_openapi3.blueprint import APIBlueprint
from pydantic import BaseModel, Field

from defect_detection.records.type_counts import TypeCounts, count_types
from defect_detection.serving.answer import as_json
from defect_detection.serving.problems import described
from defect_detection.serving.services import services
from defect_detection.serving.views.records import INSPECTIONS
from defect_detection.serving.views.statistics import StatisticsQuery, time_of

type_statistics_api = APIBlueprint("type statistics", __name__)


class TypeCount(BaseModel):
    """How often a type was the strongest one that the model named."""

    type: str = Field(examples=["scratch"])
    count: int
    share: float = Field(description="share of all inspections with a type")
    cumulative: float = Field(description="share of this type and all more frequent types")


class TypesOfLine(BaseModel):
    line: str = Field(description="empty: inspections without a line")
    counts: dict[str, int] = Field(examples=[{"scratch": 12, "dent": 3}])


class TypesOfPeriod(BaseModel):
    since: datetime
    counts: dict[str, int]


class TypesShown(BaseModel):
    since: datetime
    until: datetime
    typed: int = Field(description="inspections that are not ok, by a model that names types")
    types: list[TypeCount] = Field(description="the most frequent first")
    lines: list[TypesOfLine] = Field(description="the line with the most inspections first")
    periods: list[TypesOfPeriod]


@type_statistics_api.get(
    "/statistics/types",
    summary="Count the types of defects over time and by line",
    tags=[INSPECTIONS],
    responses={200: TypesShown, **{status: described(status) for status in (400, 401, 403, 503)}},
)
def type_statistics(query: StatisticsQuery) -> Response:
    since, until = time_of(query)
    bounds = [since + (until - since) * i / query.periods for i in range(query.periods)] + [until]
    with services().reads.page():
        counted = count_types(services().records.database, bounds, query.chosen)
    return as_json(_shown(counted, bounds))


def _shown(counted: TypeCounts, bounds: list[datetime]) -> TypesShown:
    lines = sorted(counted.lines.items(), key=lambda one: (-one[1].total(), one[0]))
    return TypesShown(
        since=bounds[0],
        until=bounds[-1],
        typed=counted.total.total(),
        types=_pareto(counted.total),
        lines=[TypesOfLine(line=line, counts=dict(counts)) for line, counts in lines],
        periods=[
            TypesOfPeriod(since=since, counts=dict(counts))
            for since, counts in zip(bounds, counted.periods, strict=False)
        ],
    )


def _pareto(counts: Counter[str]) -> list[TypeCount]:
    ranked, total = sorted(counts.items(), key=lambda one: (-one[1], one[0])), counts.total()
    sums = accumulate(count for _, count in ranked)
    return [
        TypeCount(type=name, count=count, share=count / total, cumulative=up_to / total)
        for (name, count), up_to in zip(ranked, sums, strict=True)
    ]
