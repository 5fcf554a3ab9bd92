"""``GET /monitoring``: whether the line has drifted from the training images."""

from datetime import datetime
from typing import Literal

from flask import Response
from flask_openapi3.blueprint import APIBlueprint
from pydantic import BaseModel, Field

from defect_detection.serving.answer import as_json
from defect_detection.serving.of_product import project
from defect_detection.serving.problems import described
from defect_detection.serving.services import services
from defect_detection.serving.views.records import INSPECTIONS
from defect_detection.use_cases.monitoring import State

monitoring_api = APIBlueprint("monitoring", __name__)


class SpreadShown(BaseModel):
    """Of the images, 5 % are below `low`, half below `middle`, 95 % below `high`."""

    low: float
    middle: float
    high: float


class DifferenceShown(BaseModel):
    """The two-sample test of the newest window."""

    distance: float = Field(description="share of the parts by which it differs, above the tolerance")
    p: float = Field(description="p-value of the Kolmogorov-Smirnov test")
    sign: Literal[-1, 1] = Field(description="1: higher than usual, -1: lower")


class FigureShown(BaseModel):
    """One figure of the newest window beside the OK training images."""

    name: str = Field(examples=["brightness"])
    usual: SpreadShown
    now: SpreadShown
    difference: DifferenceShown
    in_a_row: int = Field(description="windows from the newest on that differ in the same direction")
    alarm: bool


class WindowShown(BaseModel):
    since: datetime
    until: datetime


class MovedShown(BaseModel):
    """An inspection of the newest window, far from what is usual."""

    id: str
    name: str
    figure: str
    value: float


class ComparedShown(BaseModel):
    """One station of a line, compared on its own; all of the product where both are empty."""

    line: str
    station: str
    state: State
    cause: Literal["camera", "parts"] | None
    message: str
    inspections: int
    needed: int


class LineShown(BaseModel):
    """Whether the line has drifted, as of the last full hour. The values beside `places` are those of the whole product; during an
    alarm of a single station, those of that station.
    """

    model: str
    version: int
    line: str = Field(description="empty: all lines of the product")
    station: str = Field(description="empty: all stations")
    state: State = Field(description="differs: some windows differ, but not enough in a row for an alarm")
    cause: Literal["camera", "parts"] | None = Field(
        description="cause of an alarm. camera: clean the lens and check the light; parts: the parts have changed"
    )
    message: str = Field(description="the state in words, and what to do")
    compared_at: datetime
    next_at: datetime
    inspections: int = Field(description="inspections that are compared, or wait until a window is full")
    needed: int = Field(description="inspections that an alarm needs")
    level: float | None = Field(description="significance level of each test; null without a baseline")
    windows: list[WindowShown] = Field(description="newest first")
    figures: list[FigureShown]
    moved_most: list[MovedShown] = Field(description="images of the newest window that differ most")
    asks_for_labels: bool = Field(description="whether Review shows the most novel images first")

    places: list[ComparedShown] = Field(
        description="all of the product, then each station (monitoring.by_station)"
    )


@monitoring_api.get(
    "/monitoring",
    summary="Compare the line with the training images of the model",
    description="Compared at the full hour (monitoring.every_h). `defect monitor --json` prints the same record.",
    tags=[INSPECTIONS],
    responses={200: LineShown, **{status: described(status) for status in (401, 403, 503)}},
)
def monitoring() -> Response:
    with services().reads.page():
        return as_json(LineShown(**project().line_watch.look().to_json()))
