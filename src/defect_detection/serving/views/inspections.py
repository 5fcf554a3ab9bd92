"""``GET /inspections`` and ``/inspections.csv``: list inspections with filters."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, Literal

from flask import Response
from flask_openapi3.blueprint import APIBlueprint
from pydantic import BaseModel, Field
from werkzeug.exceptions import BadRequest

from defect_detection.records.database import Database
from defect_detection.records.inspections import Recorded
from defect_detection.records.paging import MOST_SEARCHED, Filter, InspectionPage, find_page
from defect_detection.serving.answer import CSV, as_csv, as_json
from defect_detection.serving.of_product import product_name
from defect_detection.serving.problems import described
from defect_detection.serving.routes import PARAMETER
from defect_detection.serving.services import services
from defect_detection.serving.strict import Moment, Query, Words
from defect_detection.serving.views.records import INSPECTIONS, InspectionShown

OF_INSPECTION = ["id", "at", "name", "verdict", "score", "threshold", "reason"]
OF_LABEL = ["label", "defect_type", "comment", "labelled_by"]
OF_REST = ["group", "line", "part", "sent_by", "model_name", "model_version", "latency_ms", "sha256"]
OF_IMAGE = ["novelty", "brightness", "contrast", "sharpness", "colour_balance", "boxes"]
OF_PLACE = ["station", "product", "defect_types"]  # at the end: programs may know the others by their place
_COLUMNS = (*OF_INSPECTION, *OF_LABEL, *OF_REST, *OF_IMAGE, *OF_PLACE)
_ROWS = 500  # read at a time

inspections_api = APIBlueprint("inspections", __name__)


class InspectionsFilter(Query):
    """Which inspections."""

    search: Words | None = Field(
        None,
        description="substring of the name, group, line, station or part; case is ignored. One page looks through "
        f"{MOST_SEARCHED} inspections: it may be short or empty, with a cursor in `next`",
    )
    verdict: Literal["ok", "defective", "review"] | None = None
    line: Words | None = None
    group: Words | None = None
    part: Words | None = None
    station: Words | None = None
    defect_type: Words | None = Field(None, description="defect type of the current label")
    label: Literal["ok", "defective"] | None = Field(None, description="the current label")
    labelled: bool | None = Field(None, description="whether its image has a label")
    since: Moment | None = Field(None, description="start (ISO 8601, by default UTC), included")
    until: Moment | None = Field(None, description="end, excluded")
    model_version: int | None = Field(None, ge=1, le=2**31 - 1)
    order: Literal["newest", "uncertain", "novel"] = Field(
        "newest",
        description="uncertain: images unlike the training images first, then scores closest to their threshold. novel: highest "
        "novelty first, without inspections whose novelty is unknown; set model_version too, because versions cannot be compared",
    )

    def wanted(self) -> Filter:
        """Return the query of the database, for the product of the request."""
        facts = {name: getattr(self, name) for name in Filter.__dataclass_fields__ if name != PARAMETER}
        return Filter(**facts, product=product_name())


class InspectionsQuery(InspectionsFilter):
    """Which inspections, and how many of them."""

    cursor: str | None = Field(None, max_length=500, description="`next` of the previous page")
    limit: int = Field(50, ge=1, le=500)


class InspectionsPage(BaseModel):
    inspections: list[InspectionShown]
    next: str | None = Field(description="cursor of the next page; null on the last")


@inspections_api.get(
    "/inspections",
    summary="List inspections, newest, most uncertain or most novel first",
    tags=[INSPECTIONS],
    responses={200: InspectionsPage, **{status: described(status) for status in (400, 401, 403, 503)}},
)
def inspections(query: InspectionsQuery) -> Response:
    with services().reads.page():
        page = _page(services().records.database, query.wanted(), query.cursor, query.limit)
    shown = InspectionsPage(inspections=[InspectionShown.of(one) for one in page.inspections], next=page.next)
    return as_json(shown)


@inspections_api.get(
    "/inspections.csv",
    summary="Save inspections as a table",
    description="All matching inspections. A text that a spreadsheet would run as a formula gets an apostrophe in front.",
    tags=[INSPECTIONS],
    responses={
        200: CSV,
        **{status: described(status) for status in (401, 403, 503)},
    },
)
def inspections_csv(query: InspectionsFilter) -> Response:
    wanted, database = query.wanted(), services().records.database
    with ExitStack() as place:
        place.enter_context(services().reads.table())
        first = _page(database, wanted, None, _ROWS)  # a lost database is reported by the status
        held = place.pop_all()  # until the last line is sent
    answer = as_csv("inspections", _COLUMNS, _rows(database, wanted, first))
    answer.call_on_close(held.close)
    return answer


def _rows(database: Database, wanted: Filter, page: InspectionPage) -> Iterator[list[list[Any]]]:
    yield [_row(one) for one in page.inspections]
    while page.next is not None:
        page = find_page(database, wanted, page.next, _ROWS)
        yield [_row(one) for one in page.inspections]


def _row(recorded: Recorded) -> list[Any]:
    one, said = recorded.inspected, recorded.said[0] if recorded.said else None
    label = (said.label, said.defect_type, said.comment, said.by) if said else ("",) * len(OF_LABEL)
    facts = [getattr(one, name) for name in OF_INSPECTION]
    return [*facts, *label, *(getattr(one, name) for name in (*OF_REST, *OF_IMAGE, *OF_PLACE))]


def _page(database: Database, wanted: Filter, cursor: str | None, limit: int) -> InspectionPage:
    try:
        return find_page(database, wanted, cursor, limit)
    except ValueError as error:
        raise BadRequest(str(error)) from error
