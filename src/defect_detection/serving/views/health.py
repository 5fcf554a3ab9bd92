"""``/health/live``, ``/health/ready`` and ``/metrics``: the state of the server, for monitoring programs."""

from http import HTTPStatus
from typing import Literal

from flask import Response
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag
from pydantic import BaseModel, Field

from defect_detection.errors import DefectDetectionError
from defect_detection.serving.answer import as_json
from defect_detection.serving.of_product import is_named, project
from defect_detection.serving.problems import described, for_caller, problem
from defect_detection.serving.prometheus import MEDIA_TYPE
from defect_detection.serving.services import services

HEALTH = Tag(name="health", description="For load balancers and supervisors")

health_api = APIBlueprint("api", __name__)


class Live(BaseModel):
    """The process responds."""

    status: Literal["live"] = "live"


class Ready(BaseModel):
    """A promoted model is loaded, and inspections can be kept."""

    status: Literal["ready"] = "ready"
    name: str = Field(description="registered model", examples=["Production_Reg"])
    version: int = Field(description="the version that is served", examples=[3])
    problem: str | None = Field(description="why the promoted version is not served; absent if it is")
    drift: str | None = Field(
        description="the alarm that the line has drifted, of any product if none is named; null: no alarm"
    )


@health_api.get(
    "/health/live", summary="Report that the process is running", tags=[HEALTH], responses={200: Live}
)
def live() -> Response:
    return as_json(Live())


@health_api.get(
    "/health/ready",
    summary="Report whether a model is loaded and inspections can be recorded",
    tags=[HEALTH],
    responses={200: Ready, 503: described(503)},
)
def ready() -> Response:
    readiness = services().readiness
    try:
        champion, why_not_another = readiness.check(project() if is_named() else None)
    except DefectDetectionError as error:
        return problem(HTTPStatus.SERVICE_UNAVAILABLE, for_caller(str(error)))
    served, problem_of_another = champion.reference, why_not_another and for_caller(why_not_another)
    alarm = project().line_watch.alarm if is_named() else services().products.alarm
    return as_json(
        Ready(
            name=served.name,
            version=served.version,
            problem=problem_of_another,
            drift=alarm and for_caller(alarm),
        )
    )


@health_api.get(
    "/metrics",
    summary="Figures for Prometheus",
    tags=[HEALTH],
    responses={
        200: {"description": "text format 0.0.4", "content": {"text/plain": {"schema": {"type": "string"}}}}
    },
)
def metrics() -> Response:
    figures = services().metrics
    return Response(figures.text(), content_type=MEDIA_TYPE)
